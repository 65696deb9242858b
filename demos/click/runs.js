/**
 * Masks as bounds: the places where a mask begins and ends, in turns and rising, as flat places
 * `x * height + y` of the image, column by column as COCO counts. A mask of a large image is a
 * few thousand numbers, and two masks meet in one sweep over both.
 *
 * @typedef {Uint32Array} Bounds even length: start, stop, start, stop ...; stops are exclusive
 */

/** Nothing. */
export const EMPTY = new Uint32Array(0);

const RULES = {
  union: (a, b) => a || b,
  minus: (a, b) => a && !b,
  common: (a, b) => a && b,
};

/**
 * Two masks of one image as one.
 * @param {Bounds} a
 * @param {Bounds} b
 * @param {"union" | "minus" | "common"} how
 * @returns {Bounds}
 */
export function combine(a, b, how) {
  const rule = RULES[how];
  const out = [];
  let [i, j, inside] = [0, 0, false];
  while (i < a.length || j < b.length) {
    const place = Math.min(i < a.length ? a[i] : Infinity, j < b.length ? b[j] : Infinity);
    while (a[i] === place) i += 1;
    while (b[j] === place) j += 1;
    if (rule(i % 2 === 1, j % 2 === 1) !== inside) {
      inside = !inside;
      out.push(place);
    }
  }
  return Uint32Array.from(out);
}

/**
 * How many pixels are inside.
 * @param {Bounds} bounds
 * @returns {number}
 */
export function area(bounds) {
  let pixels = 0;
  for (let n = 0; n < bounds.length; n += 2) pixels += bounds[n + 1] - bounds[n];
  return pixels;
}

/**
 * How much two masks have in common, as a share of what either covers; 0 for two empty ones.
 * @param {Bounds} a
 * @param {Bounds} b
 * @returns {number}
 */
export function iou(a, b) {
  const common = area(combine(a, b, "common"));
  const either = area(a) + area(b) - common;
  return either ? common / either : 0;
}

/**
 * The tight half-open box of a mask; all zeros for an empty one.
 * @param {Bounds} bounds
 * @param {number} height of the image
 * @returns {[number, number, number, number]} x0, y0, x1, y1
 */
export function box(bounds, height) {
  if (!bounds.length) return [0, 0, 0, 0];
  let [top, bottom] = [height, 0];
  eachRun(bounds, height, (_, start, stop) => {
    top = Math.min(top, start);
    bottom = Math.max(bottom, stop);
  });
  const last = bounds[bounds.length - 1] - 1;
  return [Math.floor(bounds[0] / height), top, Math.floor(last / height) + 1, bottom];
}

/**
 * Whether a place of the image is inside.
 * @param {Bounds} bounds
 * @param {number} height of the image
 * @param {number[]} place x, y
 * @returns {boolean}
 */
export function contains(bounds, height, [x, y]) {
  if (y < 0 || y >= height || x < 0) return false;
  const place = Math.floor(x) * height + Math.floor(y);
  let [from, to] = [0, bounds.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (bounds[middle] <= place) from = middle + 1;
    else to = middle;
  }
  return from % 2 === 1;
}

/**
 * Calls `visit(x, start, stop)` for every run, cut where it goes on in the next column.
 * @param {Bounds} bounds
 * @param {number} height of the image
 * @param {(x: number, start: number, stop: number) => void} visit
 */
export function eachRun(bounds, height, visit) {
  for (let n = 0; n < bounds.length; n += 2) {
    let start = bounds[n];
    while (start < bounds[n + 1]) {
      const x = Math.floor(start / height);
      const stop = Math.min(bounds[n + 1], (x + 1) * height);
      visit(x, start - x * height, stop - x * height);
      start = stop;
    }
  }
}
