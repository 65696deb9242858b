/**
 * Answers of the decoder that may be asked for again: other candidates, or fed back as the earlier
 * mask. The oldest go first.
 *
 * @typedef {{logits: Float32Array, quality: Float32Array}} Answer 4 x cells x cells, and 4
 */

const MOST = 48;

/** @returns {{keep: (answer: Answer) => number, get: (id: number) => Answer | undefined}} */
export function createAnswers() {
  const kept = new Map();
  let last = 0;
  return {
    keep(answer) {
      last += 1;
      kept.set(last, answer);
      if (kept.size > MOST) kept.delete(kept.keys().next().value);
      return last;
    },
    get: (id) => kept.get(id),
  };
}

/**
 * One of an answer's four masks.
 * @param {Answer} answer
 * @param {number} candidate 0 to 3
 * @returns {Float32Array} cells x cells logits
 */
export function logitsOf(answer, candidate) {
  const length = answer.logits.length / 4;
  return answer.logits.subarray(candidate * length, (candidate + 1) * length);
}
