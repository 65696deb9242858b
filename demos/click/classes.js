/** The classes: their order is the service's, one of them is that of new marks. */

import { addClass, getSession } from "./client.js";
import { colorOf } from "./palette.js";

/** The list of classes, and which one new marks get. */
export class Classes {
  names = [];
  /** The class of new marks; "" where there is none yet. */
  current = "";
  #key;

  /** @param {string} folder whose classes these are; @param {{name: string}[]} classes */
  constructor(folder, classes) {
    this.#key = `perception:class:${folder}`;
    this.#take(classes);
  }

  /** @param {string} name; @returns {string} its color */
  color = (name) => colorOf(this.names.indexOf(name));

  /** Makes a class that of new marks. @param {string} name */
  choose(name) {
    this.current = name;
    localStorage.setItem(this.#key, name);
  }

  /** Adds one and chooses it; one that is there is only chosen. @param {string} name */
  async add(name) {
    const there = this.names.find((one) => one.toLowerCase() === name.toLowerCase());
    if (!there) this.#take((await addClass(name)).classes);
    this.choose(there ?? this.names[this.names.length - 1]);
  }

  /** Asks for the list again: a text may have added some. */
  async refresh() {
    this.#take((await getSession()).classes);
  }

  #take(classes) {
    this.names = classes.map(({ name }) => name);
    if (this.names.includes(this.current)) return;
    const last = localStorage.getItem(this.#key);
    this.current = this.names.includes(last) ? last : (this.names[0] ?? "");
  }
}
