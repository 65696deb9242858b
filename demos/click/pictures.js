/**
 * The list of images. Only the rows in sight are elements, only the pages around them are fetched,
 * and only of the rows in sight is it asked what the model has found there: a run can be of any
 * length.
 *
 * @typedef {{name: string, marks: number | null, edited: boolean, state: string}} Image
 *   marks: null where nobody has asked for their number yet
 */

import { getCounts, getPictures, getPlace } from "./client.js";
import { byId, keepsFocus, make } from "./elements.js";
import { SparseList } from "./sparse_list.js";
import { counted } from "./status.js";

const STATES = {
  waiting: "nothing yet",
  done: "by the model",
  failed: "can't be read",
  unfinished: "a mask isn't accepted yet",
};
const PAUSE_MS = 150;
const MOST_COUNTS = 100;

/** Images in order of name, of which those are shown whose names contain what is typed. */
export class Pictures {
  #rows;
  #contains = "";
  #current = "";
  #at = -1; // of the open picture among those that are shown
  #placed = Promise.resolve(); // once it is known where that is
  #unfinished = new Set();
  #list = byId("picture-list");
  #pick;
  #failed;
  #filterTimer = 0;
  #countTimer = 0;

  /**
   * @param {object} options
   * @param {(name: string) => void} options.pick called with the image that is to be opened
   * @param {(message: string) => void} options.failed called where the list can't be had
   */
  constructor({ pick, failed }) {
    this.#pick = pick;
    this.#failed = failed;
    this.#rows = this.#newRows();
    keepsFocus(this.#list);
    this.#list.addEventListener("scroll", () => this.#paint());
    new ResizeObserver(() => this.#paint()).observe(this.#list);
    byId("filter").addEventListener("input", () => {
      clearTimeout(this.#filterTimer);
      this.#filterTimer = setTimeout(() => this.#filter(), PAUSE_MS);
    });
    this.#list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row?.dataset.name) pick(row.dataset.name);
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Lists them. @returns {Promise<Image | undefined>} the first one */
  async open() {
    const first = await this.#rows.get(0);
    this.#paint();
    return first;
  }

  /** Lists them anew: one has been added. */
  async refresh() {
    this.#rows = this.#newRows();
    await this.#rows.get(0).catch(() => {});
    await this.show(this.#current);
  }

  /** Says what an image has now. @param {string} name; @param {Partial<Image>} changes */
  update(name, changes) {
    const picture = this.#rows.loaded().find((one) => one.name === name);
    if (!picture) return;
    Object.assign(picture, changes);
    this.#paint();
  }

  /** @param {string} name; @param {boolean} isUnfinished whether a mask is in work on it */
  setUnfinished(name, isUnfinished) {
    if (isUnfinished) this.#unfinished.add(name);
    else this.#unfinished.delete(name);
    this.#paint();
  }

  /** Marks the one that is open and brings it into sight. @param {string} name */
  async show(name) {
    this.#current = name;
    this.#at = this.#rows.indexOf((picture) => picture.name === name);
    this.#placed = this.#at < 0 && name ? this.#findPlace(name) : Promise.resolve();
    this.#bringIntoSight();
    this.#sayPlace();
    this.#paint();
    await this.#placed;
  }

  /**
   * The image some steps on from the one that is open, among those that are shown.
   * @param {number} step
   * @returns {Promise<string | undefined>}
   */
  async beside(step) {
    await this.#placed;
    // From an image that isn't shown on to the first one that is.
    const at = this.#at < 0 && step > 0 ? 0 : this.#at + step;
    return at < 0 ? undefined : (await this.#rows.get(at))?.name;
  }

  async #findPlace(name) {
    const { place } = await getPlace(name, this.#contains).catch(() => ({ place: null }));
    if (name !== this.#current) return;
    this.#at = place ?? -1;
    this.#bringIntoSight();
    this.#sayPlace();
    this.#paint();
  }

  #newRows() {
    const contains = this.#contains;
    return new SparseList({
      fetch: async (offset, limit) => {
        const { pictures, total } = await getPictures({ offset, limit, contains });
        return { rows: pictures, total };
      },
      changed: () => {
        this.#sayPlace();
        this.#paint();
      },
      failed: (error) => this.#failed(error.message),
    });
  }

  async #filter() {
    const contains = byId("filter").value.trim();
    if (contains === this.#contains) return;
    this.#contains = contains;
    this.#list.scrollTop = 0;
    await this.refresh();
  }

  #sayPlace() {
    const { total } = this.#rows;
    byId("place").textContent = this.#at < 0 ? "" : `${this.#at + 1} / ${total}`;
  }

  #bringIntoSight() {
    if (this.#at < 0) return;
    const height = this.#rowHeight();
    const { scrollTop, clientHeight } = this.#list;
    this.#setHeight(height); // What isn't as high can't be scrolled.
    if (this.#at * height >= scrollTop && (this.#at + 1) * height <= scrollTop + clientHeight) return;
    this.#list.scrollTop = this.#at * height - clientHeight / 2;
  }

  #setHeight(height) {
    const end = this.#list.firstElementChild ?? this.#list.appendChild(make("div"));
    end.style.height = `${this.#rows.total * height}px`;
    return end;
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--size"));
  }

  #paint() {
    const height = this.#rowHeight();
    const end = this.#setHeight(height);
    const { scrollTop, clientHeight } = this.#list;
    const first = Math.max(0, Math.floor(scrollTop / height) - 4);
    const last = Math.min(this.#rows.total, Math.ceil((scrollTop + clientHeight) / height) + 4);
    const shown = this.#rows.slice(first, last);
    const rows = shown.map((one, n) => this.#row(one, first + n, height));
    this.#list.replaceChildren(end, ...rows);
    const open = rows.find((row) => row.dataset.name === this.#current);
    this.#list.setAttribute("aria-activedescendant", open?.id ?? "");
    if (shown.some((one) => one?.marks === null) && clientHeight) this.#countSoon();
  }

  #row(picture, at, height) {
    const { name = "", marks = null, edited = false, state = "" } = picture ?? {};
    const isOpen = name !== "" && name === this.#current;
    const how = this.#unfinished.has(name) ? "unfinished" : edited ? "edited" : state;
    const said = STATES[how] ?? how;
    const number = marks === null ? "" : `, ${counted(marks, "mark")}`;
    const row = make(
      "div",
      {
        id: `picture-${at}`,
        role: "option",
        class: isOpen ? "row picked" : "row",
        title: name,
        "aria-selected": isOpen,
        "aria-setsize": this.#rows.total,
        "aria-posinset": at + 1,
        "aria-label": `${name || "…"}, ${said}${number}`,
      },
      make("span", { class: `dot ${how}`, title: said }),
      make("span", { class: "text" }, name || "…"),
      make("span", { class: "count" }, marks ? String(marks) : ""),
    );
    row.dataset.name = name;
    row.style.transform = `translateY(${at * height}px)`;
    return row;
  }

  #countSoon() {
    if (this.#countTimer) return;
    this.#countTimer = setTimeout(() => this.#count(), PAUSE_MS);
  }

  /** Asks how many marks there are on the rows in sight. */
  async #count() {
    const height = this.#rowHeight();
    const { scrollTop, clientHeight } = this.#list;
    const first = Math.floor(scrollTop / height);
    const last = Math.ceil((scrollTop + clientHeight) / height);
    const open = this.#rows.slice(first, last).filter((one) => one?.marks === null);
    const names = open.slice(0, MOST_COUNTS).map(({ name }) => name);
    const { counts } = names.length ? await getCounts(names).catch(() => ({ counts: {} })) : {};
    this.#countTimer = 0;
    const known = open.filter(({ name, marks }) => marks === null && counts?.[name] !== undefined);
    for (const one of known) one.marks = counts[one.name];
    if (known.length) this.#paint(); // which asks for the rest
  }

  async #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const name = await this.beside(step).catch(() => undefined);
    if (name) this.#pick(name);
  }
}
