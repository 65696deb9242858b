/** Half-precision numbers, as an embedding travels, to single precision. */

/** @type {Float32Array | null} the value of each of the 65536 halves, once it is asked for */
let table = null;

/**
 * @param {ArrayBuffer} bytes N halves, little-endian
 * @returns {Float32Array} N
 */
export function halvesToFloats(bytes) {
  if (typeof Float16Array === "function") return new Float32Array(new Float16Array(bytes));
  const halves = new Uint16Array(bytes);
  return lookUp(halves);
}

/**
 * What `halvesToFloats` does where the browser knows no Float16Array.
 *
 * @param {Uint16Array} halves N bit patterns
 * @returns {Float32Array} N
 */
export function lookUp(halves) {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => valueOf(bits));
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) floats[i] = table[halves[i]];
  return floats;
}

/**
 * @param {number} bits of one half
 * @returns {number} its value
 */
function valueOf(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
