/**
 * The mask in work: what was clicked, dragged or painted for one mark that isn't made yet, or for
 * one that is corrected. Functions are pure and give new drafts.
 *
 * @typedef {{answer: number, candidate: number} | {bounds: Uint32Array} | null} Earlier
 *   What goes with the next prompt: an answer that the worker keeps, or a mask
 * @typedef {{id: number | null, quality: number[], candidate: number, ambiguous: boolean,
 *   coarse: boolean}} Answer coarse: predicted in the whole image, while the service was away
 *   id: null where the worker no longer keeps it
 * @typedef {{of: string | null, points: number[][], labels: number[], box: number[] | null,
 *   around: number[] | null, earlier: Earlier, ask: number, pending: boolean,
 *   answer: Answer | null,
 *   bounds: Uint32Array | null}} Draft
 *   of: the uid of the mark that is corrected; box: dragged by hand; around: the corrected mark's;
 *   ask: which question the answer belongs to
 */

import { box as boxAround, combine, EMPTY } from "./runs.js";

/** @returns {Draft} */
export function blankDraft() {
  return {
    of: null,
    points: [],
    labels: [],
    box: null,
    around: null,
    earlier: null,
    ask: 0,
    pending: false,
    answer: null,
    bounds: null,
  };
}

/**
 * A draft that begins as a mark's mask.
 * @param {string} uid
 * @param {Uint32Array} bounds the mark's mask
 * @param {number} height of the image
 * @returns {Draft}
 */
export function draftOf(uid, bounds, height) {
  return { ...blankDraft(), of: uid, bounds, around: boxAround(bounds, height) };
}

/**
 * What is asked for a draft. A correction's points refine the mark's box, which grows with them:
 * a mask that nobody clicked is held together by little else.
 * @param {Draft} draft
 * @returns {import("./geometry.js").Prompt}
 */
export function promptOf({ points, labels, box, around }) {
  const inside = points.filter((_, n) => labels[n]);
  return { points, labels, box: box ?? (around && inside.reduce(grown, around)) };
}

function grown([x0, y0, x1, y1], [x, y]) {
  return [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)];
}

/**
 * @param {Draft} draft
 * @param {number[]} place x, y in pixels of the image
 * @param {0 | 1} label 1 in, 0 out
 * @param {number} ask
 * @returns {Draft} one that waits for its answer
 */
export function withPoint(draft, place, label, ask) {
  const [points, labels] = [
    [...draft.points, place],
    [...draft.labels, label],
  ];
  return { ...draft, points, labels, earlier: fedBack(draft), ask, pending: true };
}

/**
 * A box says anew what is meant: nothing earlier goes with it.
 * @param {Draft} draft
 * @param {number[]} box x0, y0, x1, y1
 * @param {number} ask
 * @returns {Draft} one that waits for its answer
 */
export function withBox(draft, box, ask) {
  return { ...draft, box, earlier: null, ask, pending: true };
}

/**
 * @param {Draft} draft
 * @param {Uint32Array} covered by the brush
 * @param {boolean} erase
 * @returns {Draft}
 */
export function withStroke(draft, covered, erase) {
  const bounds = combine(draft.bounds ?? EMPTY, covered, erase ? "minus" : "union");
  return { ...draft, bounds, answer: null, ask: 0, pending: false };
}

/**
 * @param {Draft} draft
 * @param {Answer} answer
 * @param {Uint32Array} bounds the answer's mask
 * @returns {Draft}
 */
export function withAnswer(draft, answer, bounds) {
  return { ...draft, answer, bounds, pending: false };
}

/**
 * A draft as it is kept while another image is open. The worker forgets that image's answers,
 * so from now on the mask itself goes with the next prompt, and no other candidate can be shown.
 * @param {Draft} draft
 * @returns {Draft}
 */
export function withoutWorker(draft) {
  const answer = draft.answer && { ...draft.answer, id: null, ambiguous: false };
  const mask = draft.bounds?.length ? { bounds: draft.bounds } : null;
  const earlier = draft.earlier && (draft.earlier.bounds ? draft.earlier : mask);
  return { ...draft, answer, earlier, pending: false };
}

/** What goes with a draft's next prompt. */
function fedBack(draft) {
  if (draft.pending) return draft.earlier;
  if (draft.answer && draft.answer.id !== null)
    return { answer: draft.answer.id, candidate: draft.answer.candidate };
  return draft.bounds?.length ? { bounds: draft.bounds } : null;
}

/**
 * The candidate after, or before, the one that is shown.
 * @param {Answer} answer to a lone point
 * @param {1 | -1} step
 * @returns {number} from 0
 */
export function nextCandidate(answer, step) {
  const count = answer.quality.length;
  return (answer.candidate + step + count) % count;
}
