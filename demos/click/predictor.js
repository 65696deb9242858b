/**
 * Prompts to masks in this page; the twin of perception/predictor (whole.py and zoom.py), which say
 * why. Tied to them by tests: the same windows, the same masks.
 *
 * @typedef {import("./geometry.js").Prompt} Prompt
 * @typedef {import("./predicted_mask.js").Window} Window
 * @typedef {import("./predicted_mask.js").LowResMask} LowResMask
 * @typedef {import("./predicted_mask.js").PredictedMask} PredictedMask
 * @typedef {{decode: (rows: {coords: Float32Array, labels: Float32Array,
 *   earlier: Float32Array | null}) => Promise<{logits: Float32Array, quality: Float32Array}>,
 *   refine: (logits: Float32Array) => Float32Array, lab: Float32Array | null}} Crop an encoded
 *   window of the image
 * @typedef {{kind: "whole" | "zoom", side: number, cells: number,
 *   imageHw: [number, number]}} Model
 */

import { addBoxPrior } from "./box_prior.js";
import { clipBox, isAmbiguous, promptRows } from "./geometry.js";
import { disobeyed } from "./obedience.js";
import {
  boundsInImage,
  logitsIn,
  obedientFirst,
  PredictedMask as Mask,
  windowHw,
} from "./predicted_mask.js";
import { box as boxAround } from "./runs.js";
import { logitsToBounds } from "./upsample.js";

const MASKS = 4;

/** Sides of the crops around a lone click, as shares of the image's longer side. */
const SCALES = [0.3, 0.1];

/** Pixels; the least side of a crop around a click, and around a box. */
const MIN_CLICK_CROP = 24;
const MIN_BOX_CROP = 16;

/** How many times the longer side of a box its crop is wide. */
const WIDER = 1.5;

/**
 * The candidate masks of one prompt, the one to show first.
 * @param {Model} model
 * @param {(window: Window) => Promise<Crop>} cropOf
 * @param {Prompt} prompt
 * @param {LowResMask | null} previous the mask that the last of the points corrects
 * @returns {Promise<PredictedMask[]>}
 */
export async function predict(model, cropOf, prompt, previous) {
  const checked = { ...prompt, box: prompt.box && clipBox(prompt.box, model.imageHw) };
  const one = { model, cropOf };
  if (model.kind === "whole") return predictIn(one, wholeOf(model), checked, previous);
  if (previous) return correct(one, checked, previous);
  let { candidates, used } = await begin(one, checked);
  for (used += 1; used <= checked.points.length; used += 1) {
    candidates = await correct(one, clicks(checked, used), candidates[0].lowRes);
  }
  return candidates;
}

/**
 * The candidates of a prompt in the whole image: a preview, and what is left without a service.
 * @param {Model} model
 * @param {(window: Window) => Promise<Crop>} cropOf
 * @param {Prompt} prompt
 * @param {LowResMask | null} previous
 * @returns {Promise<PredictedMask[]>}
 */
export function predictWhole(model, cropOf, prompt, previous) {
  return predictIn({ model, cropOf }, wholeOf(model), prompt, previous);
}

/** The candidates of the box, or of the clicks up to the first positive one, and how many. */
async function begin(one, prompt) {
  if (prompt.box) {
    const window = zoomWindow(prompt.box, one.model.imageHw);
    return { candidates: await predictIn(one, window, clicks(prompt, 0), null), used: 0 };
  }
  const positive = prompt.labels.indexOf(1);
  const used = positive < 0 ? prompt.points.length : positive + 1;
  const part = clicks(prompt, used);
  if (used === 1) return { candidates: await lone(one, part), used };
  return { candidates: await predictIn(one, wholeOf(one.model), part, null), used };
}

/** The best candidate at each scale, by falling quality. */
async function lone(one, prompt) {
  const windows = clickWindows(prompt.points[0], one.model.imageHw);
  const all = [wholeOf(one.model), ...windows];
  // What the service encodes, and what this page decodes, go on side by side.
  const found = await Promise.all(all.map((window) => predictIn(one, window, prompt, null)));
  const best = found.map(([first], n) => (n ? first.maybeCut() : first));
  best.sort((a, b) => b.quality - a.quality);
  return best;
}

/** In a crop around the previous mask, the box and the positive points. */
async function correct(one, prompt, previous) {
  const { side, cells, imageHw } = one.model;
  const own = logitsToBounds(previous.logits, cells, windowHw(previous.window), side);
  const bounds = boundsInImage(own, previous.window, imageHw);
  const around = bounds.length ? [boxAround(bounds, imageHw[0])] : [];
  const boxes = [...(prompt.box ? [prompt.box] : []), ...around];
  if (!boxes.length) return predictIn(one, wholeOf(one.model), prompt, null);
  const inside = prompt.points.filter((_, n) => prompt.labels[n] === 1);
  const grown = [...boxes, ...inside.map(boxOfPoint)].reduce(union);
  let window = zoomWindow(grown, imageHw);
  const shown = prompt.points.map(
    ([x, y]) => x >= window[0] && x < window[2] && y >= window[1] && y < window[3],
  );
  let near = {
    points: prompt.points.filter((_, n) => shown[n]),
    labels: prompt.labels.filter((_, n) => shown[n]),
    box: prompt.box,
  };
  if (!near.points.length && !near.box) {
    window = zoomWindow([grown, ...prompt.points.map(boxOfPoint)].reduce(union), imageHw);
    near = prompt;
    shown.fill(true);
  }
  // A last click far from all that is shown is no reason to change anything there.
  return predictIn(one, window, near, previous, shown.at(-1) ?? false);
}

/** stays: whether what is far from the last click stays as the previous mask has it. */
async function predictIn({ model, cropOf }, window, prompt, previous, stays = false) {
  const crop = await cropOf(window);
  const { side, cells } = model;
  const inWindow = moved(prompt, window);
  const rows = promptRows(inWindow, windowHw(window), side);
  const earlier = previous && logitsIn(previous, window, cells);
  const { logits, quality } = await crop.decode({ ...rows, earlier });
  if (model.kind === "zoom" && prompt.box && !prompt.points.length) {
    addBoxPrior(logits, inWindow.box, windowHw(window), side, cells);
  }
  let order = orderOf(quality, isAmbiguous(prompt, previous !== null));
  const maskOf = (n) => logits.subarray(n * cells * cells, (n + 1) * cells * cells);
  let obey = null;
  if (model.kind === "zoom" && prompt.points.length) {
    const clicks = inCells(rows, prompt, cells / side);
    const wrong = order.map((n) => disobeyed(maskOf(n), cells, clicks));
    order = order.map((n, at) => ({ n, wrong: wrong[at] }));
    order = order.sort((a, b) => a.wrong - b.wrong).map(({ n }) => n);
    obey = { clicks, before: stays ? earlier : null, lab: crop.lab };
  }
  const candidates = order.map(
    (n) =>
      new Mask({ window, logits: maskOf(n), refine: crop.refine, quality: quality[n], model, obey }),
  );
  if (model.kind === "zoom") return candidates;
  return obedientFirst(candidates, prompt.points, prompt.labels);
}

/** A prompt's points in cells of the logits. */
function inCells({ coords }, { points, labels }, scale) {
  const at = (n) => Math.fround(coords[n] * scale);
  return { places: points.map((_, n) => [at(2 * n), at(2 * n + 1)]), labels };
}

/** The three candidates of an ambiguous prompt, by falling quality; else all four in order. */
function orderOf(quality, ambiguous) {
  if (!ambiguous) return Array.from({ length: MASKS }, (_, n) => n);
  return [1, 2, 3].sort((a, b) => quality[b] - quality[a]);
}

const wholeOf = ({ imageHw: [height, width] }) => [0, 0, width, height];

const boxOfPoint = ([x, y]) => [x, y, x + 1, y + 1];

const union = (a, b) => [
  Math.min(a[0], b[0]),
  Math.min(a[1], b[1]),
  Math.max(a[2], b[2]),
  Math.max(a[3], b[3]),
];

const clicks = ({ points, labels, box }, count) => ({
  points: points.slice(0, count),
  labels: labels.slice(0, count),
  box,
});

/** A prompt in pixels of a window. */
function moved({ points, labels, box }, [x0, y0]) {
  const less = (value, start) => Math.fround(Math.fround(value) - start);
  return {
    points: points.map(([x, y]) => [less(x, x0), less(y, y0)]),
    labels,
    box: box && [less(box[0], x0), less(box[1], y0), less(box[2], x0), less(box[3], y0)],
  };
}

/**
 * The two square crops around a lone click, the larger one first.
 * @param {number[]} point x, y in pixels of the image
 * @param {[number, number]} imageHw
 * @returns {Window[]}
 */
export function clickWindows(point, imageHw) {
  const [x, y] = point.map(Math.fround);
  return SCALES.map((scale) => {
    const side = Math.max(rounded(Math.max(...imageHw) * scale), MIN_CLICK_CROP);
    const [left, top] = [Math.floor(x - side / 2), Math.floor(y - side / 2)];
    return [left, top, left + side, top + side];
  });
}

/** To the nearest whole number; of two that are equally near, the even one, as Python rounds. */
function rounded(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below + (below % 2);
}

/**
 * The square crop of an image with a box in its middle; it may reach beyond the image.
 * @param {number[]} box x0, y0, x1, y1
 * @param {[number, number]} imageHw
 * @returns {Window}
 */
export function zoomWindow(box, imageHw) {
  const [x0, y0, x1, y1] = clipBox(box.map(Math.fround), imageHw);
  const sides = [Math.fround(x1 - x0), Math.fround(y1 - y0)];
  if (Math.min(...sides) <= 0) return [0, 0, imageHw[1], imageHw[0]];
  const side = Math.max(Math.ceil(Math.max(...sides) * WIDER), MIN_BOX_CROP);
  const [x, y] = [
    [x0, x1],
    [y0, y1],
  ].map(([low, high]) => Math.floor(Math.fround(Math.fround(low + high) / 2) - side / 2));
  return [x, y, x + side, y + side];
}
