/**
 * The list of pictures. Only the rows in sight are elements, so that it can be of any length.
 *
 * @typedef {{name: string, marks: number, edited: boolean, state: string,
 *   unfinished?: boolean}} Picture unfinished: left with a mask that isn't accepted
 */

import { byId, keepsFocus, make } from "./elements.js";
import { counted } from "./status.js";

const STATES = {
  waiting: "nothing yet",
  done: "by the model",
  failed: "can't be read",
  unfinished: "a mask isn't accepted yet",
};

/** Pictures in order of name, some of which are shown. */
export class Pictures {
  /** @type {Picture[]} */
  #all = [];
  #shown = [];
  #current = "";
  #list = byId("picture-list");
  #pick;

  /** @param {(name: string) => void} pick called with the picture that is to be opened */
  constructor(pick) {
    this.#pick = pick;
    keepsFocus(this.#list);
    this.#list.addEventListener("scroll", () => this.#paint());
    new ResizeObserver(() => this.#paint()).observe(this.#list);
    byId("filter").addEventListener("input", () => this.#refresh());
    this.#list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) pick(row.dataset.name);
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @returns {number} how many there are */
  get count() {
    return this.#all.length;
  }

  /** Adds pictures that follow those that are there. @param {Picture[]} pictures */
  add(pictures) {
    this.#all.push(...pictures);
    this.#refresh();
  }

  /** Adds one where its name belongs. @param {string} name */
  insert(name) {
    if (this.#find(name)) return;
    this.#all.push({ name, marks: 0, edited: false, state: "waiting" });
    this.#all.sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#refresh();
  }

  /** Says what a picture has now. @param {string} name; @param {Partial<Picture>} changes */
  update(name, changes) {
    const picture = this.#find(name);
    if (!picture) return;
    Object.assign(picture, changes);
    this.#paint();
  }

  /** Marks the one that is open and brings it into sight. @param {string} name */
  show(name) {
    this.#current = name;
    const at = this.#shown.findIndex((picture) => picture.name === name);
    const height = this.#rowHeight();
    const { scrollTop, clientHeight } = this.#list;
    if (at >= 0 && (at * height < scrollTop || (at + 1) * height > scrollTop + clientHeight)) {
      this.#list.scrollTop = at * height - clientHeight / 2;
    }
    this.#paint();
  }

  /**
   * The picture some steps on from the one that is open, among those that are shown.
   * @param {number} step
   * @returns {string | undefined}
   */
  beside(step) {
    const at = this.#shown.findIndex((picture) => picture.name === this.#current);
    return this.#shown[at + step]?.name;
  }

  /** @returns {string} the place of the open picture, "3 / 40" */
  place() {
    const at = this.#all.findIndex((picture) => picture.name === this.#current);
    return at < 0 ? "" : `${at + 1} / ${this.#all.length}`;
  }

  #find(name) {
    return this.#all.find((picture) => picture.name === name);
  }

  #refresh() {
    const part = byId("filter").value.trim().toLowerCase();
    this.#shown = part
      ? this.#all.filter(({ name }) => name.toLowerCase().includes(part))
      : this.#all;
    this.#paint();
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--size"));
  }

  #paint() {
    const height = this.#rowHeight();
    const { scrollTop, clientHeight } = this.#list;
    const first = Math.max(0, Math.floor(scrollTop / height) - 4);
    const last = Math.min(this.#shown.length, Math.ceil((scrollTop + clientHeight) / height) + 4);
    const rows = this.#shown.slice(first, last).map((one, n) => this.#row(one, first + n, height));
    const end = make("div");
    end.style.height = `${this.#shown.length * height}px`;
    this.#list.replaceChildren(end, ...rows);
    const open = rows.find((row) => row.dataset.name === this.#current);
    this.#list.setAttribute("aria-activedescendant", open?.id ?? "");
  }

  #row(picture, at, height) {
    const { name, marks, edited, state, unfinished } = picture;
    const isOpen = name === this.#current;
    const how = unfinished ? "unfinished" : edited ? "edited" : state;
    const said = STATES[how] ?? how;
    const row = make(
      "div",
      {
        id: `picture-${at}`,
        role: "option",
        class: isOpen ? "row picked" : "row",
        title: name,
        "aria-selected": isOpen,
        "aria-setsize": this.#shown.length,
        "aria-posinset": at + 1,
        "aria-label": `${name}, ${said}, ${counted(marks, "mark")}`,
      },
      make("span", { class: `dot ${how}`, title: said }),
      make("span", { class: "text" }, name),
      make("span", { class: "count" }, marks ? String(marks) : ""),
    );
    row.dataset.name = name;
    row.style.transform = `translateY(${at * height}px)`;
    return row;
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const name = step && this.beside(step);
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    this.#pick(name);
  }
}
