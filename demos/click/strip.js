/**
 * The values of one strip of the image after another: columns of the model's input at the
 * image's rows, only in those rows where the mask can have an edge.
 */

/**
 * @param {Float32Array[]} cells columns of logits
 * @param {import("./axis.js").Taps} xStep from them to columns of the model's input
 * @param {import("./axis.js").Taps[]} ySteps two, from their rows to the image's
 * @returns {{move: Function, column: (n: number) => Float32Array}}
 *   move(first, last, open): on to the strip that needs these columns of cells (last is
 *   inclusive), and whose values matter in open spans of rows, see signs.js.
 *   column(n): column n of the model's input, in the open spans; valid until n + 2 is asked for.
 *   Behind the last column comes the last one again.
 */
export function createStrip(cells, xStep, [yStep, lastYStep]) {
  const height = lastYStep.low.length;
  const halfway = cells.map((column) => stretched(column, yStep));
  const [inputs, kept] = [[], [new Float32Array(height), new Float32Array(height)]];
  const held = [-1, -1];
  let [from, open] = [0, []];

  function move(first, last, spans) {
    [from, open] = [first, spans];
    held.fill(-1);
    for (let n = first; n <= last; n += 1) {
      inputs[n - first] ??= new Float32Array(height);
      stretch(halfway[n], lastYStep, open, inputs[n - first]);
    }
  }

  function column(n) {
    const at = Math.min(n, xStep.low.length - 1);
    const values = kept[at & 1];
    if (held[at & 1] !== at) {
      const low = xStep.low[at];
      const next = Math.min(low + 1, cells.length - 1);
      mix(inputs[low - from], inputs[next - from], xStep.weight[at], open, values);
      held[at & 1] = at;
    }
    return values;
  }

  return { move, column };
}

/** One whole step along a column. */
function stretched(values, taps) {
  const outputs = new Float32Array(taps.low.length);
  stretch(values, taps, [0, outputs.length], outputs);
  return outputs;
}

/** One step along a column: n values to k, of which those in spans are computed. */
function stretch(values, { low, weight }, spans, outputs) {
  const last = values.length - 1;
  for (let span = 0; span < spans.length; span += 2) {
    const stop = spans[span + 1];
    for (let n = spans[span]; n < stop; n += 1) {
      const at = low[n];
      const change = Math.fround(values[at < last ? at + 1 : last] - values[at]);
      outputs[n] = Math.fround(change * weight[n]) + values[at];
    }
  }
}

/** `a + weight * (b - a)` of two columns, in spans. */
function mix(a, b, weight, spans, outputs) {
  for (let span = 0; span < spans.length; span += 2) {
    const stop = spans[span + 1];
    for (let n = spans[span]; n < stop; n += 1) {
      outputs[n] = Math.fround(Math.fround(b[n] - a[n]) * weight) + a[n];
    }
  }
}
