/**
 * Where the image lies on the stage: a place p of the image is at `p * scale + offset`.
 *
 * @typedef {{scale: number, x: number, y: number}} View stage pixels (CSS) per image pixel, and
 *   where the image's corner is
 */

const MOST = 40; // stage pixels for one pixel of the picture
const MARGIN = 14;

/**
 * The whole image in the middle of the stage, beside or below the tools.
 * @param {[number, number]} imageHw
 * @param {{width: number, height: number}} stage
 * @param {{left: number, top: number}} [taken] stage pixels that the tools take
 * @returns {View}
 */
export function fitted([height, width], stage, { left, top } = { left: 0, top: 0 }) {
  const room = { x: stage.width - left, y: stage.height - top };
  const scale = Math.min(
    Math.max(1, room.x - 2 * MARGIN) / width,
    Math.max(1, room.y - 2 * MARGIN) / height,
    8,
  );
  return { scale, x: left + (room.x - width * scale) / 2, y: top + (room.y - height * scale) / 2 };
}

/**
 * Larger or smaller, while one place of the stage keeps its place of the image.
 * @param {View} view
 * @param {number} factor
 * @param {number[]} at x, y on the stage
 * @param {View} fit the view of the whole image, which bounds how small it gets
 * @returns {View}
 */
export function zoomed(view, factor, [x, y], fit) {
  const least = Math.min(fit.scale, 1) / 4;
  const scale = Math.min(MOST, Math.max(least, view.scale * factor));
  const by = scale / view.scale;
  return { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
}

/**
 * Moved by a distance on the stage; some of the image stays in sight.
 * @param {View} view
 * @param {number[]} by dx, dy
 * @param {[number, number]} imageHw
 * @param {{width: number, height: number}} stage
 * @returns {View}
 */
export function moved(view, [dx, dy], [height, width], stage) {
  const within = (at, length, room) => Math.min(room - 40, Math.max(40 - length, at));
  return {
    scale: view.scale,
    x: within(view.x + dx, width * view.scale, stage.width),
    y: within(view.y + dy, height * view.scale, stage.height),
  };
}

/**
 * A place of the stage as one of the image; it may lie outside.
 * @param {View} view
 * @param {number[]} place x, y
 * @returns {[number, number]}
 */
export function toPicture(view, [x, y]) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

/**
 * A place of the image as one of the stage.
 * @param {View} view
 * @param {number[]} place x, y
 * @returns {[number, number]}
 */
export function toStage(view, [x, y]) {
  return [x * view.scale + view.x, y * view.scale + view.y];
}
