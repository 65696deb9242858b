/** The stage: an image to look at and to work on with tools. */

import { stroke } from "./brush.js";
import { Camera } from "./camera.js";
import { byId } from "./elements.js";
import { clipPoint } from "./geometry.js";
import { markAt } from "./marks.js";
import { Painter } from "./painting.js";
import { Pointers } from "./pointer.js";
import { Preview } from "./preview.js";
import { toPicture } from "./view.js";

const BRUSH = { least: 1, first: 12, most: 400 }; // radius in pixels of the picture

/** Shows the editor's image and turns pointers into its deeds. */
export class Stage {
  /** "click", "brush", "eraser" or "hand". */
  tool = "click";
  /** What a plain click adds: 1 a point in, 0 a point out. */
  label = 1;
  /** Of the brush, in pixels of the image. */
  radius = BRUSH.first;
  camera = new Camera(() => this.#painter.stale("picture", "marks", "work"));
  #element = byId("stage");
  #image = null;
  #isHidden = false;
  #editor;
  #painter;
  #pointers;
  #preview;
  #hint;
  #box = null;
  #path = null;
  #live = null; // the mask in work while a stroke goes on
  #cursor = null;
  #onPaint = [];

  /**
   * @param {object} options
   * @param {import("./editor.js").Editor} options.editor
   * @param {import("./decoding.js").Decoding} options.decoding
   * @param {() => {color: (name: string) => string, name: string}} options.classes colors, and
   *   the class of new marks
   * @param {(text: string) => void} options.hint says what to do instead
   */
  constructor({ editor, decoding, classes, hint }) {
    this.#editor = editor;
    this.#hint = hint;
    this.#preview = new Preview(decoding, () => this.#painter.stale("work"));
    this.#painter = new Painter(
      () => ({ ...classes(), ...this.#seen() }),
      (names) => {
        if (names.has("work")) this.#onPaint.splice(0).forEach((told) => told());
      },
    );
    this.#pointers = new Pointers(this.#element, {
      tool: () => this.tool,
      click: (place, isOut, event) => this.#click(place, isOut, event),
      box: (from, to, isDone) => this.#dragBox(from, to, isDone),
      stroke: (place, phase) => this.#stroke(place, phase),
      pan: (by) => this.camera.pan(by),
      zoom: (factor, at) => this.camera.zoom(factor, at),
      hover: (place, event) => this.#hover(place, event),
    });
    new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.#element;
      this.#painter.resize(width, height);
      this.camera.resize({ width, height });
    }).observe(this.#element);
  }

  /** Shows an image, whole. @param {ImageBitmap | null} image */
  open(image) {
    this.#image?.close();
    this.#image = image;
    this.#preview.drop();
    [this.#box, this.#path, this.#live] = [null, null, null];
    this.camera.open(this.#editor.size);
  }

  /**
   * The scene has changed: paints what differs.
   * @param {import("./scene.js").Scene} scene
   * @param {import("./scene.js").Scene} before
   * @param {() => void} [painted] called once it can be seen
   */
  refresh(scene, before, painted) {
    if (scene.draft || scene.selected) this.#preview.drop();
    if (painted) this.#onPaint.push(painted);
    const marksChanged =
      scene.marks !== before.marks ||
      scene.selected !== before.selected ||
      scene.draft?.of !== before.draft?.of;
    this.#painter.stale("work", ...(marksChanged ? ["marks"] : []));
  }

  /** Colors have changed. */
  repaint() {
    this.#painter.stale("marks", "work");
  }

  /** @param {string} tool; @param {0 | 1} [label] */
  take(tool, label = this.label) {
    [this.tool, this.label] = [tool, label];
    this.#preview.drop();
    this.#point("");
    this.#painter.stale("work");
  }

  /** Makes the brush larger or smaller. @param {number} factor */
  sizeBrush(factor) {
    const radius = Math.round(this.radius * factor * 10) / 10;
    this.radius = Math.min(BRUSH.most, Math.max(BRUSH.least, radius));
    this.#painter.stale("work");
  }

  toggleMarks() {
    this.#isHidden = !this.#isHidden;
    this.#painter.stale("marks");
  }

  /** @param {boolean} isDown whether the space bar is held */
  holdSpace(isDown) {
    this.#pointers.isSpaceDown = isDown;
    this.#point(isDown ? "hand" : "");
  }

  get #isPainting() {
    return this.tool === "brush" || this.tool === "eraser";
  }

  /** What there is to paint. */
  #seen() {
    const { scene, size } = this.#editor;
    return {
      image: this.#image,
      size,
      view: this.camera.view,
      hidden: this.#isHidden,
      scene: this.#live ? { ...scene, draft: this.#live } : scene,
      preview: this.#preview.bounds,
      box: this.#box,
      brush: this.#isPainting &&
        this.#cursor && {
          place: this.#cursor,
          radius: this.radius,
          erase: this.tool === "eraser",
        },
    };
  }

  #toPicture(place) {
    return toPicture(this.camera.view, place);
  }

  #isInside([x, y]) {
    const [height, width] = this.#editor.size;
    return Boolean(this.#image) && x >= 0 && y >= 0 && x < width && y < height;
  }

  /** The mark that a click would pick; none while a mask is in work, or with Shift. */
  #markAt(at, event) {
    const { marks, draft } = this.#editor.scene;
    return draft || event.shiftKey || this.#isHidden ? null : markAt(marks, at);
  }

  #click(place, isOut, event) {
    const at = this.#toPicture(place);
    if (!this.#isInside(at)) {
      this.#editor.pick(null);
      return;
    }
    const { draft, selected } = this.#editor.scene;
    const label = isOut ? 0 : this.label;
    const mark = this.#markAt(at, event);
    if (mark && mark.uid !== selected) {
      this.#editor.pick(mark.uid);
      if (label) return;
    } else if (!label && !draft && !selected) {
      this.#hint("To take something out, click a point in, or a mark, first");
      return;
    }
    this.#editor.addPoint(clipPoint(at, this.#editor.size), label);
  }

  #dragBox(from, to, isDone) {
    const { size } = this.#editor;
    const [[ax, ay], [bx, by]] = [from, to].map((place) => clipPoint(this.#toPicture(place), size));
    const box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    const isEmpty = box[2] - box[0] < 1 || box[3] - box[1] < 1;
    this.#preview.drop();
    this.#box = isDone || isEmpty ? null : box;
    this.#painter.stale("work");
    if (isDone && !isEmpty && this.#image) this.#editor.addBox(box);
  }

  #stroke(place, phase) {
    if (!this.#image) return;
    const at = this.#toPicture(place);
    this.#cursor = at;
    if (phase === "begin") this.#path = [at];
    else if (phase === "go") this.#path?.push(at);
    const erase = this.tool === "eraser";
    const covered = this.#path && stroke(this.#path, this.radius, this.#editor.size);
    if (phase === "end" && covered) this.#editor.addStroke(covered, erase);
    if (phase === "end" || phase === "drop") this.#path = null;
    this.#live = this.#path && this.#editor.strokePreview(covered, erase);
    this.#painter.stale("work", "marks");
  }

  #hover(place, event) {
    const at = place && this.#toPicture(place);
    this.#cursor = at;
    if (this.#isPainting) {
      this.#point("brush");
      this.#painter.stale("work");
      return;
    }
    const isFree = this.tool === "click" && at && this.#isInside(at);
    const mark = isFree ? this.#markAt(at, event) : null;
    const isHand = this.tool === "hand" || this.#pointers.isSpaceDown;
    this.#point(isHand ? "hand" : mark ? "pick" : "");
    const { draft, selected } = this.#editor.scene;
    const isTouch = event.pointerType === "touch";
    if (isFree && this.label && !mark && !draft && !selected && !isTouch) this.#preview.ask(at);
    else this.#preview.drop();
  }

  #point(cursor) {
    this.#element.dataset.cursor = cursor;
  }
}
