/**
 * Saving what was changed, by itself: a moment after a change, until the service has it. What it
 * doesn't have yet lies in the browser's storage, so that neither side's end loses anything.
 *
 * @typedef {import("./marks.js").Mark} Mark
 * @typedef {{uid: string, base: Mark[], revision: number, marks: Mark[], unsaved: boolean,
 *   sending: Promise<void> | null, theirs: {revision: number, marks: Mark[]} | null}} Entry
 *   base: what the service had when this tab last agreed with it; theirs: what another tab has
 *   saved in between
 */

import { sameMarks } from "./marks.js";
import { merged } from "./merging.js";

const PAUSE_MS = 700;
const RETRY_MS = 3000;

/** Everything that this tab has to save. */
export class Saving {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #timers = new Map();
  #put;
  #get;
  #unsaved;
  #tab;
  #onStatus;

  /**
   * @param {object} options
   * @param {(image: string, body: object, keepalive: boolean) => Promise<{revision: number}>}
   *   options.put saves marks; throws what has a `status`: 409 where another revision is there
   * @param {(image: string) => Promise<{name: string, uid: string, revision: number,
   *   marks: Mark[]}>} options.get an image as the service has it; uid: of its content
   * @param {import("./unsaved.js").Unsaved} options.unsaved where it lies until then
   * @param {string} options.tab
   * @param {(status: {state: string, message: string, image: string}) => void} options.onStatus
   *   state: "saved", "waiting", "failed" or "conflict"
   */
  constructor({ put, get, unsaved, tab, onStatus }) {
    this.#put = put;
    this.#get = get;
    this.#unsaved = unsaved;
    this.#tab = tab;
    this.#onStatus = onStatus;
  }

  /** Whether anything waits for the service. */
  get hasUnsaved() {
    return [...this.#entries.values()].some((entry) => entry.unsaved);
  }

  /**
   * An image as the service has it, with what this browser has kept of it unsaved.
   * @param {{name: string, uid: string, revision: number, marks: Mark[]}} image
   * @returns {Mark[]} to go on with
   */
  open({ name, uid, revision, marks }) {
    const known = this.#entries.get(name) ?? this.#kept(name);
    // What is known of another image of this name isn't for this one; what was asked for before
    // this tab's last save is out of date.
    const isKnown = known && known.uid === uid;
    const isAhead = isKnown && (known.unsaved || known.revision > revision);
    const entry = isAhead ? known : entryOf({ uid, base: marks, revision, marks });
    this.#entries.set(name, entry);
    if (entry.unsaved) this.#goOn(name, entry, revision, marks);
    else this.#tell(name, "saved");
    return entry.marks;
  }

  /**
   * @param {string} name
   * @param {Mark[]} marks what the image has now
   */
  changed(name, marks) {
    const entry = this.#entries.get(name);
    Object.assign(entry, { marks, unsaved: true });
    this.#keep(name, entry);
    if (!entry.theirs) this.#wait(name);
  }

  /** Saves at once what waits; resolves when all was tried. */
  flush() {
    return Promise.all([...this.#entries.keys()].map((name) => this.#save(name)));
  }

  /** Sends what waits while the page goes away. */
  leave() {
    for (const name of this.#entries.keys()) this.#save(name, true);
  }

  /** Saves what an earlier page has left in this browser. */
  async recover() {
    for (const name of this.#unsaved.names()) {
      try {
        const picture = await this.#get(name);
        if (!this.#entries.has(name) && this.#kept(name)?.uid === picture.uid) this.open(picture);
      } catch {
        // It stays where it is, until that image is there again.
      }
    }
  }

  /**
   * Ends a conflict.
   * @param {string} name
   * @param {"theirs" | "both"} how
   * @returns {Mark[]} what the image has now
   */
  resolve(name, how) {
    const entry = this.#entries.get(name);
    const { revision, marks } = entry.theirs;
    const settled = how === "theirs" ? marks : merged(entry.base, entry.marks, marks);
    Object.assign(entry, { revision, base: marks, marks: settled, theirs: null });
    if (how === "theirs") this.#agree(name, entry, revision, marks);
    else this.changed(name, settled);
    return settled;
  }

  /** Goes on saving where another page, or this one, left off. */
  #goOn(name, entry, revision, marks) {
    if (sameMarks(marks, entry.marks)) {
      this.#agree(name, entry, revision, entry.marks);
    } else if (revision > entry.revision && !sameMarks(marks, entry.base)) {
      entry.theirs = { revision, marks };
      this.#tell(name, "conflict");
    } else {
      entry.revision = Math.max(revision, entry.revision);
      this.#wait(name);
    }
  }

  #kept(name) {
    const kept = this.#unsaved.get(name);
    return kept && { ...entryOf(kept), unsaved: true };
  }

  #keep(name, { uid, base, revision, marks, unsaved }) {
    if (unsaved) this.#unsaved.set(name, { uid, base, revision, marks });
    else this.#unsaved.remove(name);
  }

  #tell(picture, state, message = "") {
    this.#onStatus({ state, message, picture });
  }

  #wait(name) {
    this.#tell(name, "waiting");
    this.#later(name, PAUSE_MS);
  }

  #later(name, pause) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(
      name,
      setTimeout(() => this.#save(name), pause),
    );
  }

  async #save(name, keepalive = false) {
    clearTimeout(this.#timers.get(name));
    const entry = this.#entries.get(name);
    while (entry.sending) await entry.sending;
    if (!entry.unsaved || entry.theirs) return;
    entry.sending = this.#send(name, entry, keepalive);
    await entry.sending;
  }

  async #send(name, entry, keepalive) {
    const { marks, revision } = entry;
    try {
      const saved = await this.#put(name, { revision, tab: this.#tab, marks }, keepalive);
      this.#agree(name, entry, saved.revision, marks);
    } catch (error) {
      this.#refused(name, entry, marks, error);
    } finally {
      entry.sending = null;
    }
  }

  #agree(name, entry, revision, marks) {
    Object.assign(entry, { revision, base: marks, unsaved: entry.marks !== marks });
    this.#keep(name, entry);
    if (entry.unsaved) this.#wait(name);
    else this.#tell(name, "saved");
  }

  #refused(name, entry, marks, error) {
    const { revision, marks: there } = error.body ?? {};
    if (error.status === 409 && there && sameMarks(there, marks)) {
      this.#agree(name, entry, revision, marks);
    } else if (error.status === 409 && there) {
      entry.theirs = { revision, marks: there };
      this.#tell(name, "conflict");
    } else {
      this.#tell(name, "failed", error.message);
      this.#later(name, RETRY_MS);
    }
  }
}

function entryOf({ uid, base, revision, marks }) {
  return { uid, base, revision, marks, unsaved: false, sending: null, theirs: null };
}
