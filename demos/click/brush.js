/** What a round brush covers, as bounds (see runs.js). */

import { combine, EMPTY } from "./runs.js";

/**
 * The pixels whose centres a disc passes over on its way from one place to another.
 * @param {number[]} from x, y in pixels of the image
 * @param {number[]} to x, y
 * @param {number} radius in pixels of the image; at least the pixel under the brush is covered
 * @param {[number, number]} imageHw
 * @returns {Uint32Array}
 */
export function capsule(from, to, radius, [height, width]) {
  const reach = Math.max(radius, 0.5);
  const left = Math.max(0, Math.floor(Math.min(from[0], to[0]) - reach));
  const right = Math.min(width - 1, Math.ceil(Math.max(from[0], to[0]) + reach));
  const bounds = [];
  for (let x = left; x <= right; x += 1) {
    const [low, high] = columnOf(x + 0.5, from, to, reach);
    const start = Math.max(0, Math.ceil(low - 0.5));
    const stop = Math.min(height, Math.floor(high - 0.5) + 1);
    if (start >= stop) continue;
    if (bounds[bounds.length - 1] === x * height + start) bounds.pop();
    else bounds.push(x * height + start);
    bounds.push(x * height + stop);
  }
  return bounds.length ? Uint32Array.from(bounds) : pixelUnder(to, [height, width]);
}

/**
 * All that a stroke covers.
 * @param {number[][]} places x, y of the pointer's path
 * @param {number} radius
 * @param {[number, number]} imageHw
 * @returns {Uint32Array}
 */
export function stroke(places, radius, imageHw) {
  return places.reduce((covered, place, n) => {
    const part = capsule(places[Math.max(0, n - 1)], place, radius, imageHw);
    return combine(covered, part, "union");
  }, EMPTY);
}

/** The part of a column, from and to, that lies in a capsule; nowhere is Infinity, -Infinity. */
function columnOf(x, [ax, ay], [bx, by], radius) {
  const ys = [];
  for (const [cx, cy] of [
    [ax, ay],
    [bx, by],
  ]) {
    const square = radius ** 2 - (x - cx) ** 2;
    if (square >= 0) ys.push(cy - Math.sqrt(square), cy + Math.sqrt(square));
  }
  const length = Math.hypot(bx - ax, by - ay);
  for (const turn of length ? [-1, 1] : []) {
    const [dx, dy] = [(-turn * radius * (by - ay)) / length, (turn * radius * (bx - ax)) / length];
    const along = (x - ax - dx) / (bx - ax);
    if (along >= 0 && along <= 1) ys.push(ay + dy + along * (by - ay));
  }
  return [Math.min(...ys), Math.max(...ys)];
}

function pixelUnder([x, y], [height, width]) {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= width || row >= height) return EMPTY;
  return Uint32Array.of(column * height + row, column * height + row + 1);
}
