/**
 * The stage: three canvases on each other, the image, its marks, and the work on them. Each is
 * painted again only when something on it has changed, at most once a frame.
 */

import { byId } from "./elements.js";
import { paintLabels } from "./labels.js";
import { inkOn } from "./palette.js";
import { boundsOf, pathOf } from "./shapes.js";
import { toStage } from "./view.js";

const DASH = [6, 4];

/** Paints what it is told about when it is told that it has changed. */
export class Painter {
  #layers;
  #stale = new Set();
  #size = { width: 1, height: 1 };

  /**
   * @param {() => object} look gives what there is to see: {image, size, view, scene, color, name,
   *   preview, box, brush, hidden}, see app.js
   * @param {() => void} painted called after each frame
   */
  constructor(look, painted) {
    const layers = { picture: paintPicture, marks: paintMarks, work: paintWork };
    this.#layers = Object.entries(layers).map(([name, paint]) => ({
      name,
      paint,
      canvas: byId(`layer-${name}`),
    }));
    this.look = look;
    this.painted = painted;
  }

  /** @param {number} width of the stage in CSS pixels; @param {number} height */
  resize(width, height) {
    this.#size = { width, height };
    for (const { canvas } of this.#layers) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.stale("picture", "marks", "work");
  }

  /** Says that layers have changed. @param {...string} names */
  stale(...names) {
    if (!this.#stale.size) requestAnimationFrame(() => this.#paint());
    names.forEach((name) => this.#stale.add(name));
  }

  #paint() {
    const names = new Set(this.#stale);
    this.#stale.clear();
    const seen = this.look();
    for (const { name, canvas, paint } of this.#layers) {
      if (!names.has(name)) continue;
      const context = canvas.getContext("2d");
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (seen.image) paint(context, { ...seen, stage: this.#size });
    }
    this.painted(names);
  }
}

function paintPicture(context, { image, size: [height, width], view }) {
  // Enlarged pixels are shown as they are, so that a brush can tell them apart.
  context.imageSmoothingEnabled = view.scale < 3;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, view.x, view.y, width * view.scale, height * view.scale);
}

function paintMarks(context, seen) {
  const { scene, size, view, color, hidden, stage } = seen;
  if (hidden) return;
  const shown = scene.marks.filter((mark) => mark.uid !== scene.draft?.of);
  for (const mark of shown) {
    const isPicked = mark.uid === scene.selected;
    const look = isPicked ? { fill: 0.5, line: 2.5 } : { fill: 0.3, line: 1.5 };
    const path = pathOf(boundsOf(mark.rle), size[0], fineness(view));
    paintMask(context, path, view, { ...look, color: color(mark.class) });
  }
  paintLabels(context, shown, { view, color, stage, selected: scene.selected });
}

function paintWork(context, seen) {
  const { scene, size, view, preview, box, brush, color, name } = seen;
  const { draft } = scene;
  const own = color(scene.marks.find((mark) => mark.uid === draft?.of)?.class ?? name);
  if (draft?.bounds) {
    const look = { color: own, fill: 0.42, line: 2, isOpen: true, isDashed: draft.answer?.coarse };
    paintMask(context, pathOf(draft.bounds, size[0], fineness(view)), view, look);
  } else if (preview) {
    const look = { color: own, fill: 0.3, line: 1.5, isDashed: true };
    paintMask(context, pathOf(preview, size[0], fineness(view)), view, look);
  }
  if (draft?.box) paintBox(context, draft.box, view, own);
  if (box) paintBox(context, box, view, own);
  draft?.points.forEach((place, n) => paintPoint(context, toStage(view, place), draft.labels[n]));
  if (brush) paintBrush(context, brush, view);
}

/** Pixels of the screen for one of the image. */
function fineness(view) {
  return view.scale * devicePixelRatio;
}

/** A mask with an outline of the same width at any zoom, dark around it so that it shows. */
function paintMask(context, path, view, { color, fill, line, isDashed, isOpen }) {
  context.save();
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  context.fillStyle = color;
  context.globalAlpha = fill;
  context.fill(path, "evenodd");
  // Round corners cost more than all the rest, and can't be seen where pixels are small.
  context.lineJoin = fineness(view) < 1 ? "bevel" : "round";
  context.globalAlpha = isOpen ? 0.9 : 0.55;
  context.strokeStyle = isOpen ? "#ffffff" : "#0b0d10";
  context.lineWidth = (line + 2) / view.scale;
  context.stroke(path);
  context.globalAlpha = 1;
  context.strokeStyle = color;
  context.lineWidth = line / view.scale;
  if (isDashed) context.setLineDash(DASH.map((length) => length / view.scale));
  context.stroke(path);
  context.restore();
}

function paintBox(context, [x0, y0, x1, y1], view, color) {
  const [left, top] = toStage(view, [x0, y0]);
  const [right, bottom] = toStage(view, [x1, y1]);
  context.save();
  for (const [style, dash, width] of [
    ["#0b0d10", [], 3],
    [color, DASH, 1.5],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.restore();
}

/** A plus for a point inside, a minus for one outside: not by color alone. */
function paintPoint(context, [x, y], label) {
  const color = label ? "#34d17c" : "#ff5c5c";
  context.save();
  context.beginPath();
  context.arc(x, y, 7, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3.5, y);
  context.lineTo(x + 3.5, y);
  if (label) {
    context.moveTo(x, y - 3.5);
    context.lineTo(x, y + 3.5);
  }
  context.strokeStyle = inkOn(color);
  context.stroke();
  context.restore();
}

function paintBrush(context, { place, radius, erase }, view) {
  const [x, y] = toStage(view, place);
  context.save();
  for (const [style, width] of [
    ["#0b0d10", 3],
    [erase ? "#ff8a8a" : "#ffffff", 1.5],
  ]) {
    context.beginPath();
    context.arc(x, y, Math.max(radius, 0.5) * view.scale, 0, 2 * Math.PI);
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke();
  }
  context.restore();
}
