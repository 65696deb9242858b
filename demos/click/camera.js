/** How the stage looks at the image: all of it, or a part. */

import { byId } from "./elements.js";
import { fitted, moved, zoomed } from "./view.js";

/** Keeps the view within bounds; a view of the whole stays one when the stage changes its size. */
export class Camera {
  /** @type {import("./view.js").View} */
  view = { scale: 1, x: 0, y: 0 };
  #stage = { width: 1, height: 1 };
  #imageHw = [1, 1];
  #isWhole = true;
  #changed;

  /** @param {() => void} changed called after each change of the view */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Looks at an image, whole. @param {[number, number]} imageHw */
  open(imageHw) {
    this.#imageHw = imageHw;
    this.fit();
  }

  /** @param {{width: number, height: number}} stage */
  resize(stage) {
    this.#stage = stage;
    if (this.#isWhole) this.fit();
  }

  fit() {
    this.#isWhole = true;
    this.#look(this.#whole());
  }

  /** @param {number} factor; @param {number[]} [at] x, y on the stage, default its middle */
  zoom(factor, at = [this.#stage.width / 2, this.#stage.height / 2]) {
    this.#isWhole = false;
    this.#look(zoomed(this.view, factor, at, this.#whole()));
  }

  /** @param {number[]} by dx, dy on the stage */
  pan(by) {
    this.#isWhole = false;
    this.#look(moved(this.view, by, this.#imageHw, this.#stage));
  }

  #whole() {
    const { offsetWidth: width, offsetHeight: height } = byId("tools");
    const isColumn = height > width; // else the tools are a row above the picture
    const taken = isColumn ? { left: width + 4, top: 0 } : { left: 0, top: height + 4 };
    return fitted(this.#imageHw, this.#stage, taken);
  }

  #look(view) {
    this.view = view;
    this.#changed();
  }
}
