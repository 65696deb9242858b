/**
 * One axis of a bilinear upsampling in steps; the twin of perception/upsampling.py.
 *
 * @typedef {{low: Int32Array, weight: Float32Array}} Taps
 *   Where each output lies between inputs: after input `low`, by `weight` of the way.
 */

/**
 * The first `count` of `outputs` that are spread over `inputs`, half-pixel centres. What lies
 * outside the first and last input's centre takes that input's value.
 * @param {number} inputs
 * @param {number} outputs
 * @param {number} count
 * @returns {Taps}
 */
export function linearTaps(inputs, outputs, count) {
  const low = new Int32Array(count);
  const weight = new Float32Array(count);
  const ratio = inputs / outputs;
  for (let n = 0; n < count; n += 1) {
    const place = Math.min(Math.max((n + 0.5) * ratio - 0.5, 0), inputs - 1);
    low[n] = Math.floor(place);
    weight[n] = place - low[n];
  }
  return { low, weight };
}

/**
 * The steps from a mask's cells to the image's pixels along one axis: up to the model's side,
 * whose padding is cut off, then to the image's size. The second one changes nothing where the
 * image is as large as the model's input.
 * @param {number} cells of the mask along this axis
 * @param {number} side of the model's input
 * @param {number} resized the part of it that the image covers
 * @param {number} size of the image
 * @returns {[Taps, Taps]}
 */
export function axisSteps(cells, side, resized, size) {
  return [linearTaps(cells, side, resized), linearTaps(resized, size, size)];
}

/**
 * The outputs, start and stop, in which the inputs from first to last have a part.
 * @param {Taps[]} steps
 * @param {number} first
 * @param {number} last
 * @returns {[number, number]}
 */
export function reach(steps, first, last) {
  let [from, to] = [first, last];
  for (const { low } of steps) {
    const start = firstNotBelow(low, from - 1);
    const stop = firstNotBelow(low, to + 1);
    if (start >= stop) return [0, 0];
    [from, to] = [start, stop - 1];
  }
  return [from, to + 1];
}

/**
 * The inputs that outputs start to stop need, and each step's taps into what it needs.
 * @param {Taps[]} steps
 * @param {number} start
 * @param {number} stop
 * @returns {{start: number, stop: number, steps: Taps[]}}
 */
export function needed(steps, start, stop) {
  const parts = [];
  let [from, to] = [start, stop];
  for (const { low, weight } of [...steps].reverse()) {
    const some = low.slice(from, to);
    const offset = some[0];
    parts.unshift({ low: some.map((place) => place - offset), weight: weight.slice(from, to) });
    // Two inputs from each "low"; behind the last input there is none.
    [from, to] = [offset, some[some.length - 1] + 2];
  }
  return { start: from, stop: to, steps: parts };
}

/**
 * The outputs of all steps, in runs whose inputs begin with the same one.
 * @param {Taps[]} steps
 * @param {number} inputs of the first step
 * @returns {{start: number, stop: number, first: number, last: number}[]}
 *   Outputs start to stop (exclusive) need the inputs from first to last (inclusive).
 */
export function outputRuns(steps, inputs) {
  const counts = [inputs, ...steps.map(({ low }) => low.length)];
  const runs = [];
  for (let n = 0; n < counts[steps.length]; n += 1) {
    let [first, last] = [n, n];
    for (let step = steps.length - 1; step >= 0; step -= 1) {
      const { low } = steps[step];
      [first, last] = [low[first], Math.min(low[last] + 1, counts[step] - 1)];
    }
    const run = runs[runs.length - 1];
    if (run && run.first === first) [run.stop, run.last] = [n + 1, last];
    else runs.push({ start: n, stop: n + 1, first, last });
  }
  return runs;
}

/** The first index of a sorted array whose value is not below `value`. */
function firstNotBelow(sorted, value) {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}
