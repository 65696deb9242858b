/**
 * How frequent each color is, in bins along L, a and b; the twin of `Palette` in
 * perception/colors.py.
 */

import { sigmoid } from "./log_odds.js";

/** Of a histogram along each axis. */
const BINS = 16;

/** How often the colors are taken from the mask, and the mask from the colors. */
const ROUNDS = 2;

/** The largest log-likelihood ratio: colors don't outvote a network that is sure. */
const MOST = 3;

/** Cells that are added to every bin, so that a color seen seldom says little. */
const UNSEEN = 2;

const SHARED = shares();

/**
 * What the colors of an image say of its masks.
 * @param {Uint16Array} bins of each cell's color
 * @returns {(logits: Float32Array) => Float64Array} a mask's logits with what the colors say of it
 */
export function createPalette(bins) {
  const everywhere = histogram(bins, new Float64Array(bins.length).fill(1));
  return (logits) => {
    const answer = Float64Array.from(logits);
    for (let round = 0; round < ROUNDS; round += 1) {
      const inside = histogram(bins, sigmoid(answer));
      const ratio = logLikelihoodRatio(inside, everywhere.map((cells, bin) => cells - inside[bin]));
      for (let n = 0; n < answer.length; n += 1) answer[n] = logits[n] + ratio[bins[n]];
    }
    return answer;
  };
}

/** What each bin has; neighbouring bins share it, as noise and shade spread a color. */
function histogram(bins, weights) {
  let cube = new Float64Array(BINS ** 3);
  for (let n = 0; n < bins.length; n += 1) cube[bins[n]] += weights[n];
  for (const step of [BINS ** 2, BINS, 1]) cube = shared(cube, step);
  return cube;
}

/** Bins that share what they have along one axis; `step`: from a bin to the next one there. */
function shared(cube, step) {
  const sums = new Float64Array(cube.length);
  for (let bin = 0; bin < cube.length; bin += 1) {
    const place = Math.floor(bin / step) % BINS;
    const last = Math.min(BINS - 1, place + 2);
    for (let other = Math.max(0, place - 2); other <= last; other += 1) {
      sums[bin] += SHARED[place][other] * cube[bin + (other - place) * step];
    }
  }
  return sums;
}

/** What bin i gets of what is in bin j, along one axis: a Gaussian as wide as a bin. */
function shares() {
  const places = [...Array(BINS).keys()];
  const weight = (i, j) => (Math.abs(i - j) <= 2 ? Math.exp(-((i - j) ** 2) / 2) : 0);
  const totals = places.map((j) => places.reduce((sum, i) => sum + weight(i, j), 0));
  return places.map((i) => places.map((j) => weight(i, j) / totals[j]));
}

/** Of each bin: how much more frequent its color is in a mask than around it. */
function logLikelihoodRatio(inside, around) {
  const [within, without] = [total(inside), total(around)];
  const unseen = UNSEEN / (within + without);
  return inside.map((cells, bin) => {
    const here = cells / Math.max(within, 1e-6) + unseen;
    const there = around[bin] / Math.max(without, 1e-6) + unseen;
    return Math.min(MOST, Math.max(-MOST, Math.log(here / there)));
  });
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
