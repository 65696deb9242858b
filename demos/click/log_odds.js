/** Chances and their logits, as arrays; the twin of perception/log_odds.py. */

/**
 * The chances in 0..1 that logits stand for.
 * @param {Float32Array | Float64Array} logits
 * @returns {Float64Array}
 */
export function sigmoid(logits) {
  const chances = new Float64Array(logits.length);
  for (let n = 0; n < logits.length; n += 1) chances[n] = 1 / (1 + Math.exp(-logits[n]));
  return chances;
}

/**
 * The log-odds of chances; none, nor its opposite, is taken as less than `least`.
 * @param {Float64Array} chances
 * @param {number} least
 * @returns {Float32Array}
 */
export function logit(chances, least) {
  const logits = new Float32Array(chances.length);
  for (let n = 0; n < logits.length; n += 1) {
    const within = Math.min(1 - least, Math.max(least, chances[n]));
    logits[n] = Math.log(within / (1 - within));
  }
  return logits;
}
