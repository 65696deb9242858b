/**
 * Answers of the decoder that may be asked for again: other candidates, or fed back as the earlier
 * mask. The oldest go first.
 *
 * @typedef {{logits: Float32Array, quality: Float32Array}} Answer 4 x cells x cells, and 4
 */

const MOST = 48;

/**
 * @returns {{keep: (answer: Answer, mend: (logits: Float32Array) => Float32Array) => number,
 *   mask: (id: number, candidate: number) => Float32Array | null}}
 *   keep(answer, mend): its number; mend makes one of its masks, cells x cells logits, as it is
 *   shown. mask(id, candidate): one of its four masks, mended; null if it is no longer kept
 */
export function createAnswers() {
  const kept = new Map();
  let last = 0;
  return {
    keep(answer, mend) {
      last += 1;
      kept.set(last, { answer, mend, masks: [] });
      if (kept.size > MOST) kept.delete(kept.keys().next().value);
      return last;
    },
    mask(id, candidate) {
      const one = kept.get(id);
      if (!one) return null;
      one.masks[candidate] ??= one.mend(logitsOf(one.answer, candidate));
      return one.masks[candidate];
    },
  };
}

function logitsOf({ logits }, candidate) {
  const length = logits.length / 4;
  return logits.subarray(candidate * length, (candidate + 1) * length);
}
