/** Masks in the forms that are worth keeping: bounds of run lengths, paths of bounds. */

import { outline, thinned } from "./outline.js";
import { decodeRle } from "./rle.js";

const bounds = new WeakMap();
const paths = new WeakMap();

/**
 * The bounds of a mark's run lengths, decoded once.
 * @param {{size: [number, number], counts: string}} rle
 * @returns {Uint32Array} see runs.js
 */
export function boundsOf(rle) {
  if (!bounds.has(rle)) bounds.set(rle, decodeRle(rle.counts, rle.size));
  return bounds.get(rle);
}

/**
 * The outline of a mask in pixels of the image, made once for each fineness; filled by the
 * even-odd rule it is the mask, to within one pixel of the screen.
 * @param {Uint32Array} mask its bounds
 * @param {number} height of the image
 * @param {number} scale pixels of the screen for one of the image
 * @returns {Path2D}
 */
export function pathOf(mask, height, scale) {
  const step = 2 ** Math.max(0, Math.floor(-Math.log2(scale)));
  const known = paths.get(mask);
  if (known?.step === step) return known.path;
  const rings = outline(mask, height);
  const path = pathAround(step > 1 ? rings.map((ring) => thinned(ring, step)) : rings);
  paths.set(mask, { step, path });
  return path;
}

function pathAround(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0], ring[1]);
    for (let n = 2; n < ring.length; n += 2) path.lineTo(ring[n], ring[n + 1]);
    path.closePath();
  }
  return path;
}
