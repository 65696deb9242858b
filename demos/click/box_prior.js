/** What a box says of the mask that it asks for; the twin of perception/box_prior.py. */

import { clipBox, ratioXy } from "./geometry.js";

/** Of a box's width and height: so far beyond it a thing is hardly ever. */
const REACH = 0.15;

/** What is taken from the log-odds there, and farther away. */
const MOST = 6;

/**
 * Takes from masks what lies beyond their box, less and less near its edges.
 * @param {Float32Array} logits of masks of cells * cells each; changed in place
 * @param {number[]} box x0, y0, x1, y1 in pixels of the picture
 * @param {[number, number]} imageHw
 * @param {number} side of the model's input in pixels
 * @param {number} cells along a side of a mask
 */
export function remindOfBox(logits, box, imageHw, side, cells) {
  const [ratioX, ratioY] = ratioXy(imageHw, side);
  const [x0, y0, x1, y1] = clipBox(box, imageHw);
  const across = beyond(x0 * ratioX, x1 * ratioX, cells / side, cells);
  const down = beyond(y0 * ratioY, y1 * ratioY, cells / side, cells);
  for (let n = 0; n < logits.length; n += 1) {
    const share = Math.max(across[n % cells], down[Math.floor(n / cells) % cells]);
    logits[n] -= MOST * Math.min(1, Math.max(0, share));
  }
}

/** How far the middles of cells are beyond a span of the model's input, as a share of the reach. */
function beyond(from, to, scale, cells) {
  const [low, high] = [from * scale, to * scale];
  const reach = Math.max((high - low) * REACH, 1); // a cell at least: a mask knows no less
  const middles = Float64Array.from({ length: cells }, (_, n) => n + 0.5);
  return middles.map((middle) => Math.max(low - middle, middle - high) / reach);
}
