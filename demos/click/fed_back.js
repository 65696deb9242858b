/**
 * A mask of the picture as if it were an earlier answer, so that a mark whose logits nobody has
 * kept (it was painted, or found by text) can be corrected with clicks.
 */

import { resizedHw } from "./geometry.js";
import { eachRun } from "./runs.js";

/** Logits of a cell that lies wholly inside; wholly outside it is the negative. */
const SURE = 8;

/**
 * Low-resolution logits of a mask: how much of each cell it covers, from -SURE to SURE.
 * @param {Uint32Array} bounds see runs.js
 * @param {[number, number]} imageHw
 * @param {number} side of the model's input in pixels
 * @param {number} cells along a side of the logits
 * @returns {Float32Array} cells * cells
 */
export function boundsToLogits(bounds, imageHw, side, cells) {
  const [height, width] = imageHw;
  const [resizedH, resizedW] = resizedHw(imageHw, side);
  const perX = (resizedW / width) * (cells / side);
  const perY = (resizedH / height) * (cells / side);
  const covered = new Float32Array(cells * cells);
  eachRun(bounds, height, (x, start, stop) => {
    const first = Math.min(cells - 1, Math.floor(x * perX));
    const last = Math.min(cells - 1, Math.ceil((x + 1) * perX) - 1);
    for (let column = first; column <= last; column += 1) {
      const share = overlap(x * perX, (x + 1) * perX, column);
      addColumn(covered, cells, column, share, start * perY, stop * perY);
    }
  });
  return covered.map((share) => SURE * (2 * Math.min(1, share) - 1));
}

/** How much of the cell from `cell` to `cell + 1` lies between two places. */
function overlap(from, to, cell) {
  return Math.max(0, Math.min(to, cell + 1) - Math.max(from, cell));
}

function addColumn(covered, cells, column, share, from, to) {
  const last = Math.min(cells - 1, Math.ceil(to) - 1);
  for (let row = Math.floor(from); row <= last; row += 1) {
    covered[row * cells + column] += share * overlap(from, to, row);
  }
}
