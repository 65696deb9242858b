/**
 * The frame: how an image lies in the model's square input. The twin of perception/frame.py and
 * perception/segmenter/prompts.py: the same numbers, to the last bit, tied by a test.
 *
 * @typedef {[number, number]} Size height and width in pixels
 * @typedef {{points: number[][], labels: number[], box: number[] | null}} Prompt
 *   In pixels of the image. points K x 2 (x, y); labels K: 1 in, 0 out; box x0, y0, x1, y1.
 */

const PAD = -1;
const TOP_LEFT = 2;
const BOTTOM_RIGHT = 3;

/**
 * The part of the model's input that the image covers, rounded as SAM rounds.
 * @param {Size} imageHw
 * @param {number} side of the model's input in pixels
 * @returns {Size}
 */
export function resizedHw(imageHw, side) {
  const scale = side / Math.max(...imageHw);
  return imageHw.map((length) => Math.max(1, Math.floor(length * scale + 0.5)));
}

/**
 * Model pixels per image pixel along x and y: they differ by rounding.
 * @param {Size} imageHw
 * @param {number} side
 * @returns {[number, number]} float32 values
 */
export function ratioXy(imageHw, side) {
  const [height, width] = imageHw;
  const [resizedH, resizedW] = resizedHw(imageHw, side);
  return [Math.fround(resizedW / width), Math.fround(resizedH / height)];
}

/**
 * Places of the image in pixels of the model's input.
 * @param {number[][]} places K x 2 (x, y)
 * @param {Size} imageHw
 * @param {number} side
 * @returns {Float32Array} K * 2
 */
export function pointsToModel(places, imageHw, side) {
  const [ratioX, ratioY] = ratioXy(imageHw, side);
  return Float32Array.from(
    places.flatMap(([x, y]) => [Math.fround(x) * ratioX, Math.fround(y) * ratioY]),
  );
}

/**
 * A box, cut at the image's edges.
 * @param {number[]} box x0, y0, x1, y1
 * @param {Size} imageHw
 * @returns {number[]}
 */
export function clipBox(box, [height, width]) {
  const [x0, y0, x1, y1] = box;
  const within = (value, limit) => Math.min(Math.max(value, 0), limit);
  return [within(x0, width), within(y0, height), within(x1, width), within(y1, height)];
}

/**
 * The nearest place inside an image: pixel i covers [i, i + 1), so x = width is outside.
 * @param {number[]} place x, y
 * @param {Size} imageHw
 * @returns {[number, number]}
 */
export function clipPoint([x, y], [height, width]) {
  const within = (value, limit) => Math.min(Math.max(value, 0), limit - 0.01);
  return [within(x, width), within(y, height)];
}

/**
 * One prompt as a decoder takes it: points, then the corners of a box; points without a box are
 * closed by a padding place, as SAM was trained.
 * @param {Prompt} prompt
 * @param {Size} imageHw
 * @param {number} side
 * @returns {{coords: Float32Array, labels: Float32Array}} K * 2 in model pixels, and K
 */
export function promptRows(prompt, imageHw, side) {
  const labels = [...prompt.labels];
  const places = [...prompt.points];
  if (prompt.box) {
    const [x0, y0, x1, y1] = clipBox(prompt.box, imageHw);
    places.push([x0, y0], [x1, y1]);
    labels.push(TOP_LEFT, BOTTOM_RIGHT);
  }
  const coords = pointsToModel(places, imageHw, side);
  if (prompt.box) return { coords, labels: Float32Array.from(labels) };
  return {
    coords: Float32Array.from([...coords, 0, 0]),
    labels: Float32Array.from([...labels, PAD]),
  };
}

/**
 * Whether a prompt can mean a part, a thing or a group: one lone point.
 * @param {Prompt} prompt
 * @param {boolean} hasEarlier whether an earlier mask goes with it
 * @returns {boolean}
 */
export function isAmbiguous(prompt, hasEarlier) {
  return prompt.points.length === 1 && !prompt.box && !hasEarlier;
}
