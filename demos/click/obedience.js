/**
 * Clicks that are obeyed; the twin of perception/predictor/obedience.py, which says why. All places
 * are in cells of the logits.
 *
 * @typedef {{places: number[][], labels: number[]}} CellClicks K (x, y) and 1 = in, 0 = out
 */

import { connectedParts } from "./colors.js";

/** The log-odds of a click's own cell, at least. */
const SURE = 2;

/** Cells around a click that go with it whatever their color. */
const CORE = 1.5;

/** Of the way from a click to the border that it moves: the spread of what it bends. */
const HALF_WAY = 0.5;

/** Cells; no click bends with a greater spread. */
const WIDEST = 12;

/** The spread of colors, in CIELAB on 0..255, that go with a click. */
const ALIKE = 12;

/** So far from the new click a change may begin to be taken over, as a share of the mask's size. */
const REACH = 0.1;

/**
 * How many of some clicks a mask doesn't obey.
 * @param {Float32Array} logits cells * cells
 * @param {number} cells along a side
 * @param {CellClicks} clicks
 * @returns {number}
 */
export function disobeyed(logits, cells, { places, labels }) {
  return places.filter((place, n) => logits[cellOf(place, cells)] > 0 !== labels[n] > 0).length;
}

/**
 * A mask as its clicks have it.
 * @param {Float32Array} logits cells * cells, refined
 * @param {number} cells along a side
 * @param {CellClicks} clicks
 * @param {Float32Array | null} before the logits of the mask that the last click corrects
 * @param {Float32Array | null} lab cells * cells * 3 in CIELAB; null: colors say nothing
 * @returns {Float32Array} new logits
 */
export function obedient(logits, cells, clicks, before, lab) {
  let out = before ? merged(logits, cells, before, clicks) : logits;
  clicks.places.forEach((place, n) => {
    const one = { places: [place], labels: [clicks.labels[n]] };
    if (disobeyed(out, cells, one)) out = bentOnce(out, cells, place, clicks.labels[n], lab);
  });
  return withCores(out, cells, clicks);
}

/** The answer to the last click, and the mask before where they differ far from it. */
function merged(logits, cells, before, { places }) {
  const changed = logits.map((value, n) => (value > 0 !== before[n] > 0 ? 1 : 0));
  const { part, count } = connectedParts(changed, cells);
  if (!count) return logits;
  const size = Math.sqrt(Math.max(countInside(logits), countInside(before)));
  const away = distances(places[places.length - 1], cells);
  const reach = Math.max(REACH * size, CORE);
  const taken = new Uint8Array(count + 1);
  taken[0] = 1;
  for (let n = 0; n < part.length; n += 1) if (away[n] <= reach) taken[part[n]] = 1;
  return logits.map((value, n) => (taken[part[n]] ? value : before[n]));
}

function bentOnce(logits, cells, place, label, lab) {
  const sign = label ? 1 : -1;
  const own = cellOf(place, cells);
  const away = distances(place, cells);
  let border = Infinity; // to what is on the click's side already
  for (let n = 0; n < away.length; n += 1) {
    if (logits[n] > 0 === label > 0) border = Math.min(border, away[n]);
  }
  if (border === Infinity) border = WIDEST / HALF_WAY;
  const spread = Math.min(Math.max(HALF_WAY * border, 1), WIDEST);
  const alike = lab && likeness(lab, cells, own);
  const needed = SURE - sign * logits[own];
  return logits.map((value, n) => {
    const weight = Math.exp(-(away[n] ** 2) / (2 * spread ** 2)) * (alike ? alike[n] : 1);
    return value + sign * needed * weight;
  });
}

/** How alike each cell's color is to those around a click, smoothed over 3 x 3 cells. */
function likeness(lab, cells, own) {
  const [row, column] = [Math.floor(own / cells), own % cells];
  const around = [[], [], []];
  for (let y = Math.max(row - 1, 0); y < Math.min(row + 2, cells); y += 1) {
    for (let x = Math.max(column - 1, 0); x < Math.min(column + 2, cells); x += 1) {
      for (let c = 0; c < 3; c += 1) around[c].push(lab[3 * (y * cells + x) + c]);
    }
  }
  const middle = around.map(median);
  const same = new Float64Array(cells * cells);
  for (let n = 0; n < same.length; n += 1) {
    let step = 0;
    for (let c = 0; c < 3; c += 1) step += (lab[3 * n + c] - middle[c]) ** 2;
    same[n] = Math.exp(-step / (2 * ALIKE ** 2));
  }
  // Beyond the edge the cells are mirrored at it, as OpenCV does.
  const at = (n) => (n < 0 ? -n : n >= cells ? 2 * cells - 2 - n : n);
  return same.map((_, n) => {
    const [y, x] = [Math.floor(n / cells), n % cells];
    let sum = 0;
    for (let dy = -1; dy <= 1; dy += 1) {
      for (let dx = -1; dx <= 1; dx += 1) sum += same[at(y + dy) * cells + at(x + dx)];
    }
    return sum / 9;
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Every click's cell surely on its side, and those around it where one of them isn't. */
function withCores(logits, cells, { places, labels }) {
  const out = logits.slice();
  const least = (n, sign) => (out[n] = sign * Math.max(sign * out[n], SURE));
  places.forEach((place, k) => {
    const sign = labels[k] ? 1 : -1;
    const away = distances(place, cells);
    const core = [];
    for (let n = 0; n < away.length; n += 1) if (away[n] <= CORE) core.push(n);
    if (core.some((n) => sign * out[n] < 0)) core.forEach((n) => least(n, sign));
  });
  places.forEach((place, k) => least(cellOf(place, cells), labels[k] ? 1 : -1));
  return out;
}

function countInside(logits) {
  let count = 0;
  for (let n = 0; n < logits.length; n += 1) if (logits[n] > 0) count += 1;
  return count;
}

function cellOf([x, y], cells) {
  const within = (value) => Math.min(Math.max(Math.floor(value), 0), cells - 1);
  return within(y) * cells + within(x);
}

/** How far the middle of each cell is from a place. */
function distances([x, y], cells) {
  return Float32Array.from({ length: cells * cells }, (_, n) =>
    Math.hypot((n % cells) + 0.5 - x, Math.floor(n / cells) + 0.5 - y),
  );
}

/** Linear light of an 8-bit sRGB value. */
const LINEAR = Float64Array.from({ length: 256 }, (_, n) => {
  const share = n / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
});

/**
 * Colors in CIELAB on 0..255 each, as OpenCV scales them (D65).
 * @param {Uint8Array} rgb rows * columns * 3
 * @param {[number, number]} size rows and columns
 * @param {number} cells along a side of the logits
 * @param {[number, number]} first row and column of the first cell that shows the image
 * @returns {Float32Array} cells * cells * 3; gray where nothing is shown
 */
export function labCells(rgb, [rows, columns], cells, [top, left]) {
  const lab = new Float32Array(cells * cells * 3).fill(128);
  const cube = (t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  for (let n = 0; n < rows * columns; n += 1) {
    const [r, g, b] = [0, 1, 2].map((c) => LINEAR[rgb[3 * n + c]]);
    const x = cube((0.412453 * r + 0.35758 * g + 0.180423 * b) / 0.950456);
    const light = 0.212671 * r + 0.71516 * g + 0.072169 * b;
    const y = cube(light);
    const z = cube((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.088754);
    const lightness = light > 0.008856 ? 116 * y - 16 : 903.3 * light;
    const at = 3 * ((Math.floor(n / columns) + top) * cells + (n % columns) + left);
    lab[at] = Math.round((lightness * 255) / 100);
    lab[at + 1] = Math.round(500 * (x - y) + 128);
    lab[at + 2] = Math.round(200 * (y - z) + 128);
  }
  return lab;
}
