/** What a click would give, under the pointer, before anybody clicks. */

/** The newest preview; older ones that are on their way are shown until it is there. */
export class Preview {
  /** @type {Uint32Array | null} the mask, see runs.js */
  bounds = null;
  #decoding;
  #changed;
  #turn = 0;

  /**
   * @param {import("./decoding.js").Decoding} decoding
   * @param {() => void} changed called when there is another one, or none
   */
  constructor(decoding, changed) {
    this.#decoding = decoding;
    this.#changed = changed;
  }

  /** @param {number[]} place x, y in pixels of the image */
  ask(place) {
    const turn = this.#turn;
    this.#decoding.preview({ points: [place], labels: [1], box: null }, ({ bounds }) => {
      if (turn !== this.#turn) return;
      this.bounds = bounds;
      this.#changed();
    });
  }

  /** Shows none, also not those that are on their way. */
  drop() {
    this.#decoding.dropPreview();
    this.#turn += 1;
    if (!this.bounds) return;
    this.bounds = null;
    this.#changed();
  }
}
