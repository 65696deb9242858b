/**
 * COCO's compressed run lengths, as pycocotools writes them: counts in turns outside and inside,
 * from the third on as the difference to the count two before, five bits a character.
 */

/**
 * A mask's bounds as COCO's `counts`.
 * @param {Uint32Array} bounds see runs.js
 * @param {[number, number]} size height, width
 * @returns {string}
 */
export function encodeRle(bounds, [height, width]) {
  const counts = [];
  let last = 0;
  for (const place of bounds) {
    counts.push(place - last);
    last = place;
  }
  if (last < height * width || !counts.length) counts.push(height * width - last);
  return counts.map((count, n) => encodeNumber(n > 2 ? count - counts[n - 2] : count)).join("");
}

function encodeNumber(number) {
  let text = "";
  let left = number;
  let more = true;
  while (more) {
    const bits = left & 0x1f;
    left >>= 5;
    more = bits & 0x10 ? left !== -1 : left !== 0;
    text += String.fromCharCode((more ? bits | 0x20 : bits) + 48);
  }
  return text;
}

/**
 * COCO's `counts` as a mask's bounds.
 * @param {string} text
 * @param {[number, number]} size height, width
 * @returns {Uint32Array} see runs.js
 * @throws {Error} where the counts don't fill the image
 */
export function decodeRle(text, [height, width]) {
  const bounds = [];
  let place = 0;
  decodeCounts(text).forEach((count, n) => {
    if (count < 0) throw new Error("run lengths: a count is below 0");
    if (n % 2 && count) {
      // What an empty run parts is one run.
      if (bounds[bounds.length - 1] === place) bounds.pop();
      else bounds.push(place);
      bounds.push(place + count);
    }
    place += count;
  });
  if (place !== height * width) {
    throw new Error(`run lengths: expected ${height * width} pixels, got ${place}`);
  }
  return Uint32Array.from(bounds);
}

function decodeCounts(text) {
  const counts = [];
  let [number, shift] = [0, 0];
  for (const letter of text) {
    const bits = letter.charCodeAt(0) - 48;
    number |= (bits & 0x1f) << shift;
    shift += 5;
    if (bits & 0x20) continue;
    if (bits & 0x10 && shift < 32) number |= -1 << shift;
    counts.push(counts.length > 2 ? number + counts[counts.length - 2] : number);
    [number, shift] = [0, 0];
  }
  return counts;
}
