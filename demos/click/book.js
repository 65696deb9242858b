/** Opening images, one at a time: its pixels, its marks and its embedding come side by side. */

import { encodeAhead, getImage, getPicture, tellTab } from "./client.js";

const TELL_MS = 5000;

/** The image that is open. */
export class Book {
  /** Its name, or "". */
  name = "";
  #turns = 0;
  #tab;
  #deeds;

  /**
   * @param {object} options
   * @param {string} options.tab id of this tab
   * @param {import("./decoding.js").Decoding} options.decoding
   * @param {object} options.deeds told how far it is: begin(name), show(image, image),
   *   failed(reason), encoding(isAtWork), ready(), unready(reason), next() -> the next image's
   *   name, in time, others(count of other tabs)
   */
  constructor({ tab, decoding, deeds }) {
    this.#tab = tab;
    this.decoding = decoding;
    this.#deeds = deeds;
    setInterval(() => this.#tell(), TELL_MS);
  }

  /** Opens an image; a later call overtakes it. @param {string} name */
  async open(name) {
    const turn = ++this.#turns;
    const isOpen = () => turn === this.#turns;
    this.name = name;
    this.#deeds.begin(name);
    this.#tell();
    try {
      const imageCall = getImage(name);
      imageCall.catch(() => {});
      const picture = await getPicture(name);
      if (!isOpen()) return;
      if (picture.failed) throw new Error(picture.failed);
      const encoded = this.decoding.setPicture(name, [picture.height, picture.width]);
      this.#deeds.encoding(true);
      const image = await imageCall;
      if (!isOpen()) {
        image.close();
        return;
      }
      this.#deeds.show(picture, image);
      await this.#encoded(encoded, isOpen);
    } catch (error) {
      if (isOpen()) this.#deeds.failed(error.message);
    }
  }

  /** Says that this tab has no image open any more. */
  leave() {
    if (this.name) tellTab(this.name, this.#tab, true).catch(() => {});
  }

  async #encoded(encoded, isOpen) {
    try {
      await encoded;
      if (!isOpen()) return;
      this.#deeds.ready();
      const next = await this.#deeds.next().catch(() => undefined);
      if (next && isOpen()) encodeAhead(next).catch(() => {});
    } catch (error) {
      if (isOpen()) this.#deeds.unready(error.message);
    } finally {
      if (isOpen()) this.#deeds.encoding(false);
    }
  }

  async #tell() {
    const { name } = this;
    if (!name) return;
    const { others } = await tellTab(name, this.#tab).catch(() => ({ others: 0 }));
    if (name === this.name) this.#deeds.others(others);
  }
}
