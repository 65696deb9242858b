/**
 * Predictions that may be asked for again: other candidates, or the mask that a click corrects. The
 * oldest go first.
 */

const MOST = 48;

/**
 * @returns {{keep: (candidates: import("./predicted_mask.js").PredictedMask[]) => number,
 *   get: (id: number, candidate: number) =>
 *     import("./predicted_mask.js").PredictedMask | null}}
 *   keep(candidates): their number; get(id, candidate): null if they are no longer kept
 */
export function createAnswers() {
  const kept = new Map();
  let last = 0;
  return {
    keep(candidates) {
      last += 1;
      kept.set(last, candidates);
      if (kept.size > MOST) kept.delete(kept.keys().next().value);
      return last;
    },
    get: (id, candidate) => kept.get(id)?.[candidate] ?? null,
  };
}
