/** Class names on marks, each on its mark's largest part, or beside another one's label there. */

import { inkOn } from "./palette.js";
import { innerPlace, largestPart } from "./parts.js";
import { box, contains } from "./runs.js";
import { boundsOf } from "./shapes.js";
import { toPicture, toStage } from "./view.js";

const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const HEIGHT = 18;
const PADDING = 6;
const WIDEST = 180;
/** A part that is less high would be hidden by a label on it. */
const LEAST_ROOM = 3 * HEIGHT;

const anchors = new WeakMap();

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels of the stage
 * @param {import("./marks.js").Mark[]} marks
 * @param {object} seen
 * @param {import("./view.js").View} seen.view
 * @param {(name: string) => string} seen.color of a class
 * @param {{width: number, height: number}} seen.stage
 * @param {string | null} seen.selected
 */
export function paintLabels(context, marks, { view, color, stage, selected }) {
  context.font = FONT;
  context.textBaseline = "middle";
  const taken = [];
  for (const mark of marks) {
    const text = shortened(context, mark.class);
    const width = context.measureText(text).width + 2 * PADDING;
    const spot = freeSpot(mark, width, taken, { view, stage });
    if (!spot) continue;
    taken.push(spot);
    context.globalAlpha = selected && mark.uid !== selected ? 0.75 : 1;
    context.fillStyle = color(mark.class);
    context.beginPath();
    context.roundRect(spot.x, spot.y, width, HEIGHT, 4);
    context.fill();
    context.fillStyle = inkOn(color(mark.class));
    context.fillText(text, spot.x + PADDING, spot.y + HEIGHT / 2 + 0.5);
  }
  context.globalAlpha = 1;
}

/**
 * Where a mark's label belongs: in its largest part, so that it never lies in a gap or on a crumb.
 * @param {{size: [number, number], counts: string}} rle
 * @returns {{place: number[], box: number[]} | null} in pixels of the image: a place inside the
 *   largest part, and that part's x0, y0, x1, y1; null for an empty mask
 */
export function anchorOf(rle) {
  if (!anchors.has(rle)) {
    const [height] = rle.size;
    const part = largestPart(boundsOf(rle), height);
    const isEmpty = !part.length;
    anchors.set(rle, isEmpty ? null : { place: innerPlace(part, height), box: box(part, height) });
  }
  return anchors.get(rle);
}

/**
 * The first free spot for a label: on the part, where that has room for it, else above it, so that
 * a small thing isn't covered; then further down and up along the part.
 * @param {object} mark its rle
 * @param {number} width of the label
 * @param {{x: number, y: number, width: number}[]} taken
 * @param {{view: import("./view.js").View, stage: {width: number, height: number}}} seen
 * @returns {{x: number, y: number, width: number} | null} null where the part is out of sight
 */
export function freeSpot({ rle }, width, taken, { view, stage }) {
  const anchor = anchorOf(rle);
  if (!anchor) return null;
  const [x, y] = toStage(view, anchor.place);
  const [left, top] = toStage(view, anchor.box.slice(0, 2));
  const [right, bottom] = toStage(view, anchor.box.slice(2));
  if (right < 0 || bottom < 0 || left > stage.width || top > stage.height) return null;
  const isRoomy = right - left >= width + 2 * PADDING && bottom - top >= LEAST_ROOM;
  const within = (at, most) => Math.min(Math.max(at, 2), most);
  const spotAt = (at) => ({
    x: within(x - width / 2, stage.width - width - 2),
    y: within(at, stage.height - HEIGHT - 2),
    width,
  });
  const first = spotAt(isRoomy ? y - HEIGHT / 2 : top - HEIGHT - 3);
  // Looked at so closely that its inner place is out of sight, the label comes along, if it can.
  const middle = toPicture(view, [first.x + width / 2, first.y + HEIGHT / 2]);
  const isMoved = x < 0 || y < 0 || x > stage.width || y > stage.height;
  if (isMoved && !contains(boundsOf(rle), rle.size[0], middle)) return null;
  const down = steps(first.y, Math.min(bottom + 3, stage.height), HEIGHT + 1);
  const up = steps(first.y, Math.max(top - HEIGHT - 3, 0), -HEIGHT - 1);
  const free = [...down, ...up]
    .map(spotAt)
    .find((spot) => !taken.some((other) => overlap(spot, other)));
  return free ?? first;
}

function steps(from, to, by) {
  return Array.from({ length: Math.max(1, (to - from) / by + 1) }, (_, n) => from + n * by);
}

function overlap(a, b) {
  const apart = a.x + a.width <= b.x || b.x + b.width <= a.x;
  return !apart && Math.abs(a.y - b.y) < HEIGHT;
}

function shortened(context, name) {
  if (context.measureText(name).width <= WIDEST) return name;
  let length = name.length;
  while (length > 1 && context.measureText(`${name.slice(0, length)}…`).width > WIDEST) length -= 1;
  return `${name.slice(0, length)}…`;
}
