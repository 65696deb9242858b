/**
 * Low-resolution logits become a mask of the image; the twin of `Frame.logits_to_masks`.
 *
 * SAM's two bilinear steps, a strip of the image at a time and only where the mask can have an
 * edge. A value is `a + weight * (b - a)`, rounded to float32 where Python rounds it, so that both
 * agree on every pixel.
 */

import { outputRuns, axisSteps, needed, reach } from "./axis.js";
import { resizedHw } from "./geometry.js";
import { EITHER, INSIDE, kindsOf, openSpans, spansOf } from "./signs.js";
import { createStrip } from "./strip.js";

/** More than what rounding can add to a value, as a share of the largest input. */
const ROUNDING = 1e-5;

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
  const margin = ROUNDING * largestOf(logits);
  const [x0, y0, x1, y1] = windowAbove(logits, cells, -margin, [xSteps, ySteps]);
  if (x0 >= x1 || y0 >= y1) return new Uint32Array(0);
  const x = needed(xSteps, x0, x1);
  const y = needed(ySteps, y0, y1);
  const columns = columnsOf(logits, cells, x, y);
  return crossings(columns, margin, [x.steps, y.steps], [x0, y0], imageHw[0]);
}

/** The largest absolute value. */
function largestOf(logits) {
  let largest = 0;
  for (let n = 0; n < logits.length; n += 1) largest = Math.max(largest, Math.abs(logits[n]));
  return largest;
}

/** The part of the image, x0, y0, x1, y1, outside which no upsampled logit is above a level. */
function windowAbove(logits, cells, level, [xSteps, ySteps]) {
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

/** Where the mask begins and ends, column by column, as flat places in the image. */
function crossings(cells, margin, [xSteps, ySteps], [x0, y0], imageH) {
  const rows = outputRuns(ySteps, cells[0].length);
  const kinds = cells.map((column) => kindsOf(column, margin, rows));
  const strip = createStrip(cells, xSteps[0], ySteps);
  const { low, weight } = xSteps[1];
  const bounds = [];
  for (const { start, stop, first, last } of outputRuns(xSteps, cells.length)) {
    const spans = spansOf(kinds.slice(first, last + 1), rows);
    strip.move(first, last, openSpans(spans));
    for (let n = start; n < stop; n += 1) {
      const [base, next] = [strip.column(low[n]), strip.column(low[n] + 1)];
      pushColumn(bounds, spans, { base, next, weight: weight[n] }, (x0 + n) * imageH + y0);
    }
  }
  return new Uint32Array(bounds);
}

/** Adds the runs of one column; what goes on from the foot of the last one stays one run. */
function pushColumn(bounds, spans, { base, next, weight }, start) {
  let inside = bounds[bounds.length - 1] === start;
  if (inside) bounds.pop();
  let n = 0;
  for (; n + 2 < spans.length; n += 2) {
    const [y0, kind, y1] = [spans[n], spans[n + 1], spans[n + 2]];
    if (kind !== EITHER) {
      if (inside !== (kind === INSIDE)) bounds.push(start + y0);
      inside = kind === INSIDE;
      continue;
    }
    for (let y = y0; y < y1; y += 1) {
      const value = base[y] + Math.fround(Math.fround(next[y] - base[y]) * weight);
      if (value > 0 === inside) continue;
      inside = !inside;
      bounds.push(start + y);
    }
  }
  if (inside) bounds.push(start + spans[n]);
}
