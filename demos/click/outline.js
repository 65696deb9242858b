/**
 * The outline of a mask along the edges of its pixels, from its runs alone.
 *
 * Every run has a horizontal edge at its head and one at its foot. Along the line between two
 * columns the ends of these edges, sorted, are the ends of the vertical edges, in pairs.
 */

import { eachRun } from "./runs.js";

/**
 * The closed rings around a mask and around its holes; filled by the even-odd rule they are it.
 * @param {Uint32Array} bounds see runs.js
 * @param {number} height of the image
 * @returns {Int32Array[]} rings of x, y, x, y ... in whole pixels, without the first place again
 */
export function outline(bounds, height) {
  const edges = horizontalEdges(bounds, height);
  return rings(edges, verticalPartners(edges));
}

/**
 * A ring without the places that are nearer than a step to the last one: what can't be seen of it
 * from afar costs as much to paint as what can.
 * @param {Int32Array} ring x, y, x, y ...
 * @param {number} step in pixels, along x or y
 * @returns {Int32Array} three places at least, or the ring as it is
 */
export function thinned(ring, step) {
  const kept = [ring[0], ring[1]];
  for (let n = 2; n < ring.length; n += 2) {
    const [x, y] = [ring[n], ring[n + 1]];
    const far = Math.max(Math.abs(x - kept[kept.length - 2]), Math.abs(y - kept[kept.length - 1]));
    if (far >= step) kept.push(x, y);
  }
  return kept.length < 6 ? ring : Int32Array.from(kept);
}

/** Where the heads and feet of all runs are, sorted by column, then by row. */
function horizontalEdges(bounds, height) {
  const [xs, ys] = [[], []];
  eachRun(bounds, height, (x, start, stop) => {
    xs.push(x, x);
    ys.push(start, stop);
  });
  return { xs, ys };
}

/** For each end of an edge, 2 * edge for its left and 2 * edge + 1 for its right, the other end. */
function verticalPartners({ xs, ys }) {
  const partners = new Int32Array(2 * xs.length);
  let [left, right] = [0, 0]; // edges that end at a line, and edges that begin there
  while (left < xs.length) {
    const line = right < xs.length ? Math.min(xs[right], xs[left] + 1) : xs[left] + 1;
    let open = -1;
    while (
      (left < xs.length && xs[left] + 1 === line) ||
      (right < xs.length && xs[right] === line)
    ) {
      const fromLeft = left < xs.length && xs[left] + 1 === line;
      const fromRight = right < xs.length && xs[right] === line;
      const takeLeft = fromLeft && (!fromRight || ys[left] <= ys[right]);
      const end = takeLeft ? 2 * left++ + 1 : 2 * right++;
      if (open < 0) open = end;
      else {
        [partners[open], partners[end]] = [end, open];
        open = -1;
      }
    }
  }
  return partners;
}

/** Follows edges and partners around, until every edge belongs to a ring. */
function rings({ xs, ys }, partners) {
  const seen = new Uint8Array(xs.length);
  const all = [];
  for (let first = 0; first < xs.length; first += 1) {
    if (seen[first]) continue;
    const ring = [];
    let end = 2 * first;
    do {
      const edge = end >> 1;
      seen[edge] = 1;
      end ^= 1; // along the edge
      pushPlace(ring, xs[edge] + 1 - (end & 1), ys[edge]);
      pushPlace(ring, xs[edge] + (end & 1), ys[edge]);
      end = partners[end];
    } while (end !== 2 * first);
    all.push(Int32Array.from(ring));
  }
  return all;
}

/** Adds a place; one that goes straight on takes the last one's place. */
function pushPlace(ring, x, y) {
  const n = ring.length;
  const straight = n >= 4 && ring[n - 1] === y && ring[n - 3] === y;
  if (straight) ring[n - 2] = x;
  else if (n < 2 || ring[n - 2] !== x || ring[n - 1] !== y) ring.push(x, y);
}
