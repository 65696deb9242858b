/** Single-precision numbers to half precision, as an earlier mask travels to the service. */

const LARGEST = 65504;

const asFloat = new Float32Array(1);
const asBits = new Uint32Array(asFloat.buffer);

/**
 * @param {Float32Array} floats N
 * @returns {Uint16Array} N bit patterns, rounded to the nearest; what is too large is the largest
 */
export function floatsToHalves(floats) {
  return Uint16Array.from(floats, halfOf);
}

function halfOf(value) {
  asFloat[0] = Math.min(LARGEST, Math.max(-LARGEST, value));
  const sign = (asBits[0] >>> 16) & 0x8000;
  const size = Math.abs(asFloat[0]);
  if (size < 2 ** -14) return sign | roundHalfEven(size * 2 ** 24);
  // Ten bits of fraction stay; a carry goes on into the exponent, as it should.
  const bits = asBits[0] & 0x7fffffff;
  return sign | roundHalfEven((bits - (112 << 23)) / 2 ** 13);
}

function roundHalfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}
