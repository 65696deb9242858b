/** The box prior; the twin of perception/predictor/refine/box_prior.py. */

import { clipBox, ratioXy } from "./geometry.js";

/** Share of a box's width and height over which the prior falls to its minimum. */
const REACH = 0.15;

/** Subtracted from the logits there and farther away. */
const MAX_PENALTY = 6;

/**
 * Adds the box prior to the logits of masks.
 * @param {Float32Array} logits of masks of cells * cells each; changed in place
 * @param {number[]} box x0, y0, x1, y1 in pixels of the image
 * @param {[number, number]} imageHw
 * @param {number} side of the model's input in pixels
 * @param {number} cells along a side of a mask
 */
export function addBoxPrior(logits, box, imageHw, side, cells) {
  const [ratioX, ratioY] = ratioXy(imageHw, side);
  const [x0, y0, x1, y1] = clipBox(box, imageHw);
  const across = beyond(x0 * ratioX, x1 * ratioX, cells / side, cells);
  const down = beyond(y0 * ratioY, y1 * ratioY, cells / side, cells);
  for (let n = 0; n < logits.length; n += 1) {
    const share = Math.max(across[n % cells], down[Math.floor(n / cells) % cells]);
    logits[n] -= MAX_PENALTY * Math.min(1, Math.max(0, share));
  }
}

/** How far the middles of cells are beyond a span of the model's input, as a share of the reach. */
function beyond(from, to, scale, cells) {
  const [low, high] = [from * scale, to * scale];
  const reach = Math.max((high - low) * REACH, 1); // a cell at least: a mask knows no less
  const middles = Float64Array.from({ length: cells }, (_, n) => n + 0.5);
  return middles.map((middle) => Math.max(low - middle, middle - high) / reach);
}
