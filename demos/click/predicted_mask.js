/**
 * One predicted mask, in a window of the image; the twin of perception/predictor/predictions.py.
 *
 * @typedef {[number, number, number, number]} Window x0, y0, x1, y1 in whole pixels of the image;
 *   it may reach beyond the image
 * @typedef {{window: Window, logits: Float32Array}} LowResMask cells * cells logits in the frame of
 *   the window, a mask where they are above 0
 */

import { resizedHw } from "./geometry.js";
import { obedient } from "./obedience.js";
import { contains, eachRun } from "./runs.js";
import { logitsToBounds } from "./upsample.js";

/** Logits where a mask's window shows nothing: surely outside. */
const OUTSIDE = -10;

/** Logits of a cell that lies wholly inside; of one wholly outside, the negative. */
const SURE = 8;

/**
 * @param {Window} window
 * @returns {[number, number]} height and width
 */
export const windowHw = ([x0, y0, x1, y1]) => [y1 - y0, x1 - x0];

/** A candidate mask of a prompt, refined and upsampled when it is first needed. */
export class PredictedMask {
  #refine;
  #raw;
  #model;
  #predicted;
  #mayBeCut;
  #obey;
  #lowRes = null;
  #windowBounds = null;
  #bounds = null;

  /**
   * @param {object} options
   * @param {Window} options.window where it was predicted
   * @param {Float32Array} options.logits cells * cells, as the network gave them
   * @param {(logits: Float32Array) => Float32Array} options.refine
   * @param {number} options.quality the predicted IoU
   * @param {{side: number, cells: number, imageHw: [number, number]}} options.model
   * @param {boolean} [options.mayBeCut] whether the window was chosen without knowing the object
   * @param {{clicks: import("./obedience.js").CellClicks, before: Float32Array | null,
   *   lab: Float32Array | null} | null} [options.obey] what the mask has to obey
   */
  constructor({ window, logits, refine, quality, model, mayBeCut = false, obey = null }) {
    this.window = window;
    this.#raw = logits;
    this.#refine = refine;
    this.#predicted = quality;
    this.#model = model;
    this.#mayBeCut = mayBeCut;
    this.#obey = obey;
  }

  /** The same mask in a window that may cut the object. */
  maybeCut() {
    return new PredictedMask({
      window: this.window,
      logits: this.#raw,
      refine: this.#refine,
      quality: this.#predicted,
      model: this.#model,
      mayBeCut: true,
      obey: this.#obey,
    });
  }

  /** @returns {LowResMask} refined; what is fed back */
  get lowRes() {
    this.#lowRes ??= { window: this.window, logits: this.#obedient(this.#refine(this.#raw)) };
    return this.#lowRes;
  }

  #obedient(logits) {
    if (!this.#obey) return logits;
    const { clicks, before, lab } = this.#obey;
    return obedient(logits, this.#model.cells, clicks, before, lab);
  }

  /** @returns {Uint32Array} the mask of the window's pixels, see runs.js */
  get windowBounds() {
    const { side, cells } = this.#model;
    const hw = windowHw(this.window);
    this.#windowBounds ??= logitsToBounds(this.lowRes.logits, cells, hw, side);
    return this.#windowBounds;
  }

  /** @returns {Uint32Array} the mask of the image, see runs.js */
  get bounds() {
    this.#bounds ??= boundsInImage(this.windowBounds, this.window, this.#model.imageHw);
    return this.#bounds;
  }

  /** @returns {number} the predicted IoU, less the share of it that the window's edge cuts */
  get quality() {
    return this.#predicted * (1 - this.cut);
  }

  /** @returns {number} the share of the window's edge, inside the image, that the mask touches */
  get cut() {
    if (!this.#mayBeCut) return 0;
    const [x0, y0, x1, y1] = this.window;
    const [height, width] = windowHw(this.window);
    const touched = [0, 0, 0, 0];
    eachRun(this.windowBounds, height, (x, start, stop) => {
      if (x === 0) touched[0] += stop - start;
      if (x === width - 1) touched[2] += stop - start;
      if (start === 0) touched[1] += 1;
      if (stop === height) touched[3] += 1;
    });
    const [imageH, imageW] = this.#model.imageHw;
    const inside = [x0 > 0, y0 > 0, x1 < imageW, y1 < imageH];
    const lengths = [height, width, height, width];
    const shares = touched.map((pixels, n) => (inside[n] ? pixels / lengths[n] : 0));
    return shares.reduce((sum, share) => sum + share) / 4;
  }

  /**
   * Whether it contains every positive point and no negative one.
   * @param {number[][]} points x, y in pixels of the image
   * @param {number[]} labels 1 in, 0 out
   * @returns {boolean}
   */
  obeys(points, labels) {
    const [x0, y0, x1, y1] = this.window;
    return points.every(([x, y], n) => {
      const shown = x >= x0 && x < x1 && y >= y0 && y < y1;
      const place = [Math.floor(x) - x0, Math.floor(y) - y0];
      const inside = shown && contains(this.windowBounds, y1 - y0, place);
      return inside === (labels[n] === 1);
    });
  }
}

/**
 * The candidates, those first that obey the points; otherwise their order stays.
 * @param {PredictedMask[]} candidates
 * @param {number[][]} points
 * @param {number[]} labels
 * @returns {PredictedMask[]}
 */
export function obedientFirst(candidates, points, labels) {
  if (!points.length || candidates[0].obeys(points, labels)) return candidates;
  const obeying = candidates.filter((one) => one.obeys(points, labels));
  return [...obeying, ...candidates.filter((one) => !obeying.includes(one))];
}

/**
 * A window's mask as one of the image, less what lies beyond it.
 * @param {Uint32Array} bounds of the window
 * @param {Window} window
 * @param {[number, number]} imageHw
 * @returns {Uint32Array}
 */
export function boundsInImage(bounds, window, [height, width]) {
  const [x0, y0, x1, y1] = window;
  if (x0 === 0 && y0 === 0 && x1 === width && y1 === height) return bounds;
  const out = [];
  eachRun(bounds, y1 - y0, (x, start, stop) => {
    const [top, bottom] = [Math.max(0, start + y0), Math.min(height, stop + y0)];
    if (x + x0 < 0 || x + x0 >= width || top >= bottom) return;
    const [first, last] = [(x + x0) * height + top, (x + x0) * height + bottom];
    if (out[out.length - 1] === first) out[out.length - 1] = last;
    else out.push(first, last);
  });
  return Uint32Array.from(out);
}

/**
 * Logits as another window has them; OUTSIDE where the mask's own shows nothing.
 * @param {LowResMask} mask
 * @param {Window} window
 * @param {number} cells along a side
 * @returns {Float32Array} cells * cells
 */
export function logitsIn({ window: own, logits }, window, cells) {
  if (own.every((value, n) => value === window[n])) return logits;
  const length = (one) => Math.max(...windowHw(one)) / cells;
  const scale = length(window) / length(own);
  const steps = [0, 1].map((axis) => {
    const shift = (window[axis] - own[axis] + length(window) / 2) / length(own) - 0.5;
    return Float64Array.from({ length: cells }, (_, n) => n * scale + shift);
  });
  const at = (row, column) => {
    const isShown = row >= 0 && row < cells && column >= 0 && column < cells;
    return isShown ? logits[row * cells + column] : OUTSIDE;
  };
  return Float32Array.from({ length: cells * cells }, (_, n) => {
    const [x, y] = [steps[0][n % cells], steps[1][Math.floor(n / cells)]];
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const [right, down] = [x - left, y - top];
    const above = at(top, left) * (1 - right) + at(top, left + 1) * right;
    const below = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right;
    return above * (1 - down) + below * down;
  });
}

/**
 * A mask of the image as if a model had predicted it, so that one that was painted, or found by
 * text, can be corrected with clicks: how much of each cell it covers, from -SURE to SURE.
 * @param {Uint32Array} bounds see runs.js
 * @param {[number, number]} imageHw
 * @param {number} side of the model's input in pixels
 * @param {number} cells along a side of the logits
 * @returns {LowResMask}
 */
export function lowResOfBounds(bounds, imageHw, side, cells) {
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
  const logits = covered.map((share) => SURE * (2 * Math.min(1, share) - 1));
  return { window: [0, 0, width, height], logits };
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
