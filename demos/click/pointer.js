/**
 * Pointers on the stage become deeds: a click, a dragged box, a stroke, a pan, a pinch.
 *
 * @typedef {object} Deeds called with places of the stage, x and y in CSS pixels
 * @property {() => string} tool "click", "brush", "eraser" or "hand"
 * @property {(place: number[], isOut: boolean, event: PointerEvent) => void} click
 * @property {(from: number[], to: number[], isDone: boolean) => void} box
 * @property {(place: number[], phase: "begin" | "go" | "end" | "drop") => void} stroke
 * @property {(by: number[]) => void} pan
 * @property {(factor: number, at: number[]) => void} zoom
 * @property {(place: number[] | null, event: PointerEvent) => void} hover null where it left
 */

const DRAG = 5; // CSS pixels until a click is a drag
const TOUCH_DRAG = 12;

/** Listens on the stage. */
export class Pointers {
  #stage;
  #deeds;
  #down = new Map();
  #deed = null;
  /** Whether the space bar is held, so that a drag moves the image. */
  isSpaceDown = false;

  /** @param {HTMLElement} stage; @param {Deeds} deeds */
  constructor(stage, deeds) {
    this.#stage = stage;
    this.#deeds = deeds;
    stage.addEventListener("pointerdown", (event) => this.#begin(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#end(event));
    stage.addEventListener("pointercancel", (event) => this.#cancel(event));
    stage.addEventListener("pointerleave", (event) => {
      if (!this.#down.size) deeds.hover(null, event);
    });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #place(event) {
    const { left, top } = this.#stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const step = Math.max(-240, Math.min(240, event.deltaY * lines));
    this.#deeds.zoom(Math.exp(-step * (event.ctrlKey ? 0.01 : 0.002)), this.#place(event));
  }

  #begin(event) {
    this.#stage.setPointerCapture(event.pointerId);
    const place = this.#place(event);
    this.#down.set(event.pointerId, place);
    if (this.#down.size > 1) {
      this.#dropDeed();
      this.#deed = { kind: "pinch" };
      return;
    }
    this.#deed = { kind: this.#kindOf(event), from: place, last: place, moved: false };
    if (this.#deed.kind === "stroke") this.#deeds.stroke(place, "begin");
    if (event.button === 1) event.preventDefault();
  }

  #kindOf(event) {
    const tool = this.#deeds.tool();
    if (event.button === 1 || this.isSpaceDown || (tool === "hand" && event.button === 0))
      return "pan";
    return tool === "click" || event.button === 2 ? "click" : "stroke";
  }

  #move(event) {
    const place = this.#place(event);
    const before = this.#down.get(event.pointerId);
    if (!before) {
      this.#deeds.hover(place, event);
      return;
    }
    if (this.#deed?.kind === "pinch") this.#pinch(event.pointerId, place);
    else if (this.#deed) this.#drag(event, place);
    this.#down.set(event.pointerId, place);
  }

  #drag(event, place) {
    const deed = this.#deed;
    const far = Math.hypot(place[0] - deed.from[0], place[1] - deed.from[1]);
    deed.moved ||= far > (event.pointerType === "touch" ? TOUCH_DRAG : DRAG);
    if (deed.kind === "pan") {
      this.#deeds.pan([place[0] - deed.last[0], place[1] - deed.last[1]]);
    } else if (deed.kind === "stroke") {
      const parts = event.getCoalescedEvents?.() ?? [];
      for (const part of parts.length ? parts : [event]) {
        this.#deeds.stroke(this.#place(part), "go");
      }
    } else if (deed.moved) {
      this.#deeds.box(deed.from, place, false);
    }
    deed.last = place;
  }

  #pinch(id, place) {
    const other = [...this.#down].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const before = this.#down.get(id);
    const distance = (a) => Math.max(10, Math.hypot(a[0] - other[0], a[1] - other[1]));
    this.#deeds.pan([(place[0] - before[0]) / 2, (place[1] - before[1]) / 2]);
    const middle = [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    this.#deeds.zoom(distance(place) / distance(before), middle);
  }

  #end(event) {
    const place = this.#place(event);
    this.#down.delete(event.pointerId);
    const deed = this.#deed;
    if (this.#down.size || !deed) return;
    this.#deed = null;
    if (deed.kind === "stroke") this.#deeds.stroke(place, "end");
    if (deed.kind !== "click") return;
    if (deed.moved) this.#deeds.box(deed.from, place, true);
    else this.#deeds.click(place, event.button === 2 || event.altKey, event);
  }

  #cancel(event) {
    this.#down.delete(event.pointerId);
    this.#dropDeed();
  }

  #dropDeed() {
    if (this.#deed?.kind === "stroke") this.#deeds.stroke(this.#deed.last, "drop");
    if (this.#deed?.kind === "click") this.#deeds.box(this.#deed.from, this.#deed.from, false);
    this.#deed = null;
  }
}
