/** Class names on marks, each at its mark's top, moved down where another one is in the way. */

import { inkOn } from "./palette.js";
import { box } from "./runs.js";
import { boundsOf } from "./shapes.js";
import { toStage } from "./view.js";

const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const HEIGHT = 18;
const PADDING = 6;
const WIDEST = 180;

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels of the stage
 * @param {import("./marks.js").Mark[]} marks
 * @param {object} seen
 * @param {import("./view.js").View} seen.view
 * @param {(name: string) => string} seen.colour of a class
 * @param {{width: number, height: number}} seen.stage
 * @param {string | null} seen.selected
 */
export function paintLabels(context, marks, { view, colour, stage, selected }) {
  context.font = FONT;
  context.textBaseline = "middle";
  const taken = [];
  for (const mark of marks) {
    const text = shortened(context, mark.class);
    const width = context.measureText(text).width + 2 * PADDING;
    const spot = freeSpot(anchorOf(mark, view), width, taken, stage);
    if (!spot) continue;
    taken.push(spot);
    context.globalAlpha = selected && mark.uid !== selected ? 0.75 : 1;
    context.fillStyle = colour(mark.class);
    context.beginPath();
    context.roundRect(spot.x, spot.y, width, HEIGHT, 4);
    context.fill();
    context.fillStyle = inkOn(colour(mark.class));
    context.fillText(text, spot.x + PADDING, spot.y + HEIGHT / 2 + 0.5);
  }
  context.globalAlpha = 1;
}

/** The middle of the top of a mark's box, and its foot, on the stage. */
function anchorOf(mark, view) {
  const [x0, y0, x1, y1] = box(boundsOf(mark.rle), mark.rle.size[0]);
  const [x, top] = toStage(view, [(x0 + x1) / 2, y0]);
  return { x, top, bottom: toStage(view, [x1, y1])[1] };
}

/** The first free place above, at or in the mark; none where it is out of sight. */
function freeSpot({ x, top, bottom }, width, taken, stage) {
  if (bottom < 0 || top > stage.height || x < -width || x > stage.width + width) return null;
  const left = Math.min(Math.max(x - width / 2, 2), stage.width - width - 2);
  const first = Math.max(top - HEIGHT - 3, 2);
  for (let y = first; y <= Math.max(first, bottom + 3); y += HEIGHT + 1) {
    const spot = { x: left, y, width };
    if (!taken.some((other) => overlap(spot, other))) return spot;
  }
  return { x: left, y: first, width };
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
