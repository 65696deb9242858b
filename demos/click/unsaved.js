/** What the service doesn't have yet, in the browser's storage. */

/** Marks of images of one folder. */
export class Unsaved {
  #storage;
  #prefix;

  /** @param {Storage} storage; @param {string} folder whose images these are */
  constructor(storage, folder) {
    this.#storage = storage;
    this.#prefix = `perception:unsaved:${folder}:`;
  }

  /** @returns {string[]} the images of which there is something */
  names() {
    const keys = Object.keys(this.#storage).filter((key) => key.startsWith(this.#prefix));
    return keys.map((key) => key.slice(this.#prefix.length));
  }

  /** @param {string} name; @returns {object | null} what was set */
  get(name) {
    const text = this.#storage.getItem(this.#prefix + name);
    return text === null ? null : JSON.parse(text);
  }

  /** @param {string} name; @param {object} value */
  set(name, value) {
    try {
      this.#storage.setItem(this.#prefix + name, JSON.stringify(value));
    } catch {
      // Storage is full or forbidden: the tab still has it, and the service will.
    }
  }

  /** @param {string} name */
  remove(name) {
    this.#storage.removeItem(this.#prefix + name);
  }
}
