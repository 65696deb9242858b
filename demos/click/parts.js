/**
 * The connected parts of a mask, from its runs alone, and where in a part a label belongs.
 *
 * Two runs of neighboring columns are connected where they share a row (4-connectivity).
 */

import { EMPTY, box, eachRun } from "./runs.js";

/** Cells along the longer side of a part's box, in which its distance transform is made. */
const MAX_CELLS = 96;

/** Steps of the distance transform, straight and diagonal (Borgefors' 3-4 chamfer). */
const STRAIGHT = 3;
const DIAGONAL = 4;

/** A place this near to the largest distance is as good, if it is nearer to the middle. */
const NEARLY = 0.85;

/**
 * The largest connected part of a mask.
 * @param {Uint32Array} bounds see runs.js
 * @param {number} height of the image
 * @returns {Uint32Array} its bounds; empty for an empty mask, the first of equally large ones
 */
export function largestPart(bounds, height) {
  const runs = [];
  eachRun(bounds, height, (x, start, stop) => runs.push([x, start, stop]));
  if (!runs.length) return EMPTY;
  const parents = connected(runs);
  const areas = new Map();
  runs.forEach(([, start, stop], n) => {
    const root = rootOf(parents, n);
    areas.set(root, (areas.get(root) ?? 0) + stop - start);
  });
  let largest = rootOf(parents, 0);
  for (const [root, pixels] of areas) if (pixels > areas.get(largest)) largest = root;
  const out = [];
  runs.forEach(([x, start, stop], n) => {
    if (rootOf(parents, n) !== largest) return;
    if (out[out.length - 1] === x * height + start) out.pop();
    else out.push(x * height + start);
    out.push(x * height + stop);
  });
  return Uint32Array.from(out);
}

/**
 * A place well inside a part: where the distance to its edge is largest, to within a cell.
 * @param {Uint32Array} part bounds of a connected mask with at least one pixel
 * @param {number} height of the image
 * @returns {[number, number]} x, y of a pixel's center, which is inside
 */
export function innerPlace(part, height) {
  const [x0, y0, x1, y1] = box(part, height);
  const side = Math.max(1, Math.max(x1 - x0, y1 - y0) / MAX_CELLS);
  const [columns, rows] = [Math.ceil((x1 - x0) / side), Math.ceil((y1 - y0) / side)];
  const sampleX = (n) => Math.min(x1 - 1, x0 + Math.floor((n + 0.5) * side));
  const sampleY = (n) => Math.min(y1 - 1, y0 + Math.floor((n + 0.5) * side));
  const width = columns + 2; // with a rim that is outside
  const distances = new Int32Array(width * (rows + 2));
  const columnAt = new Map(Array.from({ length: columns }, (_, n) => [sampleX(n), n]));
  let longest = [x0, 0, 0];
  eachRun(part, height, (x, start, stop) => {
    if (stop - start > longest[2] - longest[1]) longest = [x, start, stop];
    const column = columnAt.get(x);
    if (column === undefined) return;
    const first = Math.max(0, Math.floor((start - y0) / side - 0.5));
    for (let row = first; row < rows && sampleY(row) < stop; row += 1) {
      if (sampleY(row) >= start) distances[(row + 1) * width + column + 1] = 2 ** 30;
    }
  });
  const at = farthest(distances, width);
  // Where every cell's center is outside, the part is thinner than a cell.
  if (at < 0) return [longest[0] + 0.5, Math.floor((longest[1] + longest[2]) / 2) + 0.5];
  return [sampleX((at % width) - 1) + 0.5, sampleY(Math.floor(at / width) - 1) + 0.5];
}

/** The parent of each run, so that connected runs have one root. */
function connected(runs) {
  const parents = Int32Array.from(runs, (_, n) => n);
  let before = 0; // the first run of the column before that may still meet this one
  for (let n = 1; n < runs.length; n += 1) {
    const [x, start, stop] = runs[n];
    while (runs[before][0] < x - 1 || (runs[before][0] === x - 1 && runs[before][2] <= start)) {
      before += 1;
    }
    for (let m = before; m < n && runs[m][0] === x - 1 && runs[m][1] < stop; m += 1) {
      parents[rootOf(parents, n)] = rootOf(parents, m);
    }
  }
  return parents;
}

function rootOf(parents, n) {
  let root = n;
  while (parents[root] !== root) {
    parents[root] = parents[parents[root]];
    root = parents[root];
  }
  return root;
}

/**
 * Of the inner cells that are about farthest from the outside, whose cells are 0, the one nearest to
 * the middle; -1 where none is inside.
 */
function farthest(distances, width) {
  const last = distances.length - width - 1;
  const pass = (from, to, step) => {
    const beside = [
      [step, STRAIGHT],
      [step * width, STRAIGHT],
      [step * (width + 1), DIAGONAL],
      [step * (width - 1), DIAGONAL],
    ];
    for (let at = from; at !== to; at -= step) {
      if (!distances[at]) continue;
      for (const [by, cost] of beside) {
        distances[at] = Math.min(distances[at], distances[at + by] + cost);
      }
    }
  };
  pass(width, last + 1, -1);
  pass(last, width - 1, 1);
  const most = distances.reduce((a, b) => Math.max(a, b), 0);
  const [middleX, middleY] = [(width - 1) / 2, (distances.length / width - 1) / 2];
  let [best, nearest] = [-1, Infinity];
  for (let at = width; at <= last; at += 1) {
    if (!distances[at] || distances[at] < NEARLY * most) continue;
    const off = Math.hypot((at % width) - middleX, Math.floor(at / width) - middleY);
    if (off < nearest) [best, nearest] = [at, off];
  }
  return best;
}
