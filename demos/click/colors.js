/**
 * Masks that agree with the colors of the image; the twin of perception/predictor/refine/color_model.py, which says
 * why. The same to a thousandth of a chance: both sum many numbers, each in an order of its own.
 */

import { createGuidedFilter } from "./guided_filter.js";
import { createPalette } from "./histogram.js";
import { logit, sigmoid } from "./log_odds.js";

/** How many times as wide as the filter's radius all cells are. */
const RADII = 32;

/** The least probability of a cell, and of its opposite. */
const LEAST = 1e-4;

/**
 * What makes masks agree with an image's colors.
 * @param {ArrayBuffer} bytes what the image's cells show: their colors' bins, 16 bits each, then
 *   red, green and blue, 8 bits each
 * @param {[number, number]} size rows and columns of the cells that show the image
 * @param {number} cells along a side of the logits
 * @param {[number, number]} first row and column of the first cell that shows the image
 * @returns {(logits: Float32Array) => Float32Array} cells * cells logits of one mask, mended
 */
export function createColors(bytes, size, cells, [top, left] = [0, 0]) {
  const [rows, columns] = size;
  const place = (row) => (row + top) * cells + left;
  const bins = new Uint16Array(bytes, 0, rows * columns);
  const agreeing = createPalette(bins);
  const smooth = createGuidedFilter(
    new Uint8Array(bytes, bins.byteLength),
    size,
    Math.round(cells / RADII),
  );
  return (logits) => {
    const network = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      network.set(logits.subarray(place(row), place(row) + columns), row * columns);
    }
    const chances = smooth(sigmoid(agreeing(network)));
    // The filter may have moved a chance beyond 0 and 1.
    const found = withoutSpecks(logit(chances, LEAST), network, columns);
    const mended = logits.slice(); // What shows none of the picture stays as it is.
    for (let row = 0; row < rows; row += 1) {
      mended.set(found.subarray(row * columns, (row + 1) * columns), place(row));
    }
    return mended;
  };
}

/**
 * Mended logits; those of parts in which the network saw nothing are its own again. If it saw
 * nothing in any of them, they stay mended.
 */
function withoutSpecks(mended, network, columns) {
  const { part, count } = connectedParts(mended, columns);
  const known = new Uint8Array(count + 1);
  for (let n = 0; n < part.length; n += 1) if (part[n] && network[n] > 0) known[part[n]] = 1;
  if (!known.includes(1)) return mended;
  return mended.map((value, n) => (part[n] && !known[part[n]] ? network[n] : value));
}

/**
 * Which part each cell above 0 is of, from 1 on; cells that touch at a corner are of one part.
 * @param {Float32Array} logits
 * @param {number} columns
 * @returns {{part: Int32Array, count: number}}
 */
export function connectedParts(logits, columns) {
  const part = new Int32Array(logits.length);
  const reached = new Int32Array(logits.length);
  let count = 0;
  for (let first = 0; first < part.length; first += 1) {
    if (part[first] || !(logits[first] > 0)) continue;
    count += 1;
    part[first] = count;
    reached[0] = first;
    for (let next = 1; next > 0; ) {
      next -= 1;
      const column = reached[next] % columns;
      const start = reached[next] - column;
      const [left, right] = [Math.max(0, column - 1), Math.min(columns - 1, column + 1)];
      const [top, bottom] = [Math.max(0, start - columns), start + columns];
      for (let row = top; row <= bottom && row < part.length; row += columns) {
        for (let n = row + left; n <= row + right; n += 1) {
          if (part[n] || !(logits[n] > 0)) continue;
          part[n] = count;
          reached[next] = n;
          next += 1;
        }
      }
    }
  }
  return { part, count };
}
