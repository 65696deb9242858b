/**
 * Low-resolution logits become a mask of the picture; the twin of `Frame.logits_to_masks`.
 *
 * SAM's two bilinear steps, a column of the picture at a time and only where the mask can be. A
 * value is `a + weight * (b - a)`, rounded to float32 where Python rounds it, so that both agree on
 * every pixel.
 */

import { axisSteps, needed, reach } from "./axis.js";
import { resizedHw } from "./geometry.js";

/** More than what rounding can add to a value, as a share of the largest input. */
const ROUNDING = 1e-5;
/** More than what rounding can move a value between two others, as a share of their distance. */
const SIGN_MARGIN = 1e-6;
const [OUTSIDE, INSIDE, EITHER] = [0, 1, 2];

/**
 * The mask where the upsampled logits are above 0.
 * @param {Float32Array} logits cells x cells of one mask; they cover the padded square
 * @param {number} cells along a side
 * @param {[number, number]} imageHw
 * @param {number} side of the model's input
 * @returns {Uint32Array} the mask's bounds, see runs.js
 */
export function logitsToBounds(logits, cells, imageHw, side) {
  const [resizedH, resizedW] = resizedHw(imageHw, side);
  const xSteps = axisSteps(cells, side, resizedW, imageHw[1]);
  const ySteps = axisSteps(cells, side, resizedH, imageHw[0]);
  const [x0, y0, x1, y1] = windowAbove(logits, cells, xSteps, ySteps);
  if (x0 >= x1 || y0 >= y1) return new Uint32Array(0);
  const x = needed(xSteps, x0, x1);
  const y = needed(ySteps, y0, y1);
  const inputs = columnsOf(logits, cells, x, y);
  const columns = inputs.map((column) => y.steps.reduce(stretch, column));
  return crossings(columns, x.steps, [x0, y0], y1 - y0, imageHw[0]);
}

/** The part of the picture, x0, y0, x1, y1, outside which no upsampled logit is above 0. */
function windowAbove(logits, cells, xSteps, ySteps) {
  let largest = 0;
  for (const value of logits) largest = Math.max(largest, Math.abs(value));
  const level = -ROUNDING * largest;
  let [left, top, right, bottom] = [cells, cells, -1, -1];
  for (let row = 0, at = 0; row < cells; row += 1) {
    for (let column = 0; column < cells; column += 1, at += 1) {
      if (logits[at] <= level) continue;
      if (column < left) left = column;
      if (column > right) right = column;
      if (row < top) top = row;
      bottom = row;
    }
  }
  if (right < 0) return [0, 0, 0, 0];
  const [x0, x1] = reach(xSteps, left, right);
  const [y0, y1] = reach(ySteps, top, bottom);
  return [x0, y0, x1, y1];
}

/** The needed cells, one Float32Array for each column. */
function columnsOf(logits, cells, x, y) {
  const columns = [];
  const [right, bottom] = [Math.min(x.stop, cells), Math.min(y.stop, cells)];
  for (let column = x.start; column < right; column += 1) {
    const values = new Float32Array(bottom - y.start);
    for (let row = y.start; row < bottom; row += 1) {
      values[row - y.start] = logits[row * cells + column];
    }
    columns.push(values);
  }
  return columns;
}

/** One step along a column: n values to k. */
function stretch(values, { low, weight }) {
  const last = values.length - 1;
  const outputs = new Float32Array(low.length);
  for (let n = 0; n < low.length; n += 1) {
    const base = values[low[n]];
    const change = Math.fround(values[Math.min(low[n] + 1, last)] - base);
    outputs[n] = Math.fround(change * weight[n]) + base;
  }
  return outputs;
}

/** `a + weight * (b - a)` of two columns. */
function between(a, b, weight) {
  const outputs = new Float32Array(a.length);
  for (let n = 0; n < a.length; n += 1) {
    outputs[n] = Math.fround(Math.fround(b[n] - a[n]) * weight) + a[n];
  }
  return outputs;
}

/** A function that gives column n after a step, and remembers the last two of them. */
function stepped(columnAt, { low, weight }, count) {
  const kept = new Map();
  return (n) => {
    if (!kept.has(n)) {
      const next = Math.min(low[n] + 1, count - 1);
      if (kept.size > 1) kept.delete(kept.keys().next().value);
      kept.set(n, between(columnAt(low[n]), columnAt(next), weight[n]));
    }
    return kept.get(n);
  };
}

/** Where the mask begins and ends, column by column, as flat places in the picture. */
function crossings(columns, steps, [x0, y0], height, imageH) {
  let columnAt = (n) => columns[n];
  let count = columns.length;
  for (const step of steps.slice(0, -1)) {
    columnAt = stepped(columnAt, step, count);
    count = step.low.length;
  }
  const { low, weight } = steps[steps.length - 1];
  const bounds = [];
  let [base, next, spans, at] = [columns[0], columns[0], [], -1];
  for (let n = 0; n < low.length; n += 1) {
    if (low[n] !== at) {
      at = low[n];
      base = columnAt(at);
      next = columnAt(Math.min(at + 1, count - 1));
      spans = signs(base, next);
    }
    pushColumn(bounds, { base, next, spans, weight: weight[n] }, (x0 + n) * imageH + y0, height);
  }
  return Uint32Array.from(bounds);
}

/** Where all between two columns is outside, inside, or either: start, kind, start, kind ... */
function signs(a, b) {
  const spans = [];
  let last = -1;
  for (let y = 0; y < a.length; y += 1) {
    const low = a[y] < b[y] ? a[y] : b[y];
    const high = a[y] < b[y] ? b[y] : a[y];
    const margin = SIGN_MARGIN * (high - low);
    const kind = low > margin ? INSIDE : high < -margin ? OUTSIDE : EITHER;
    if (kind !== last) spans.push(y, kind);
    last = kind;
  }
  return spans;
}

/** Adds the runs of one column; what goes on from the foot of the last one stays one run. */
function pushColumn(bounds, { base, next, spans, weight }, start, height) {
  let inside = false;
  const turn = (y) => {
    inside = !inside;
    if (inside && bounds[bounds.length - 1] === start + y) bounds.pop();
    else bounds.push(start + y);
  };
  for (let n = 0; n < spans.length; n += 2) {
    const [y0, kind] = [spans[n], spans[n + 1]];
    if (kind !== EITHER) {
      if (inside !== (kind === INSIDE)) turn(y0);
      continue;
    }
    const y1 = n + 2 < spans.length ? spans[n + 2] : height;
    for (let y = y0; y < y1; y += 1) {
      const value = base[y] + Math.fround(Math.fround(next[y] - base[y]) * weight);
      if (value > 0 !== inside) turn(y);
    }
  }
  if (inside) bounds.push(start + height);
}
