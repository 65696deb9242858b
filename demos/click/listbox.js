/**
 * A list of which one row is picked, for pointers and for keys: up and down move, Enter picks,
 * Delete removes.
 *
 * @typedef {{id: string, parts: Node[], isPicked: boolean, label: string}} Row
 */

import { keepsFocus, make } from "./elements.js";

/** A listbox in an element with that role. */
export class Listbox {
  #element;
  #rows = [];
  #active = "";

  /**
   * @param {HTMLElement} element
   * @param {object} deeds
   * @param {(id: string) => void} deeds.pick
   * @param {(id: string) => void} [deeds.remove]
   */
  constructor(element, { pick, remove }) {
    this.#element = element;
    keepsFocus(element);
    element.addEventListener("click", (event) => {
      const id = event.target.closest(".row")?.dataset.id;
      if (id === undefined) return;
      if (event.target.closest("button")) remove?.(id);
      else pick(id);
    });
    element.addEventListener("keydown", (event) => this.#key(event, pick, remove));
    element.addEventListener("focus", () => this.#mark());
  }

  /** Shows rows. @param {Row[]} rows; @param {string} [nothing] said where there are none */
  show(rows, nothing = "") {
    this.#rows = rows.map((row) => row.id);
    const picked = rows.find((row) => row.isPicked)?.id;
    if (picked !== undefined) this.#active = picked;
    const elements = rows.map(({ id, parts, isPicked, label }, n) => {
      const attributes = {
        id: `${this.#element.id}-${n}`,
        "data-id": id,
        role: "option",
        class: isPicked ? "row picked" : "row",
        "aria-selected": isPicked,
        "aria-label": label,
      };
      return make("div", attributes, ...parts);
    });
    const none = nothing && !rows.length ? [make("p", { class: "nothing" }, nothing)] : [];
    this.#element.replaceChildren(...elements, ...none);
    this.#mark();
    this.#element.querySelector(".picked")?.scrollIntoView({ block: "nearest" });
  }

  #mark() {
    const at = Math.max(0, this.#rows.indexOf(this.#active));
    const elements = [...this.#element.querySelectorAll(".row")];
    elements.forEach((element, n) => element.classList.toggle("active", n === at));
    this.#element.setAttribute("aria-activedescendant", elements[at]?.id ?? "");
    return elements[at];
  }

  #key(event, pick, remove) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = Math.max(0, this.#rows.indexOf(this.#active));
    if (step) {
      this.#active = this.#rows[Math.min(this.#rows.length - 1, Math.max(0, at + step))] ?? "";
      this.#mark()?.scrollIntoView({ block: "nearest" });
    } else if ((event.key === "Enter" || event.key === " ") && this.#rows.length) {
      pick(this.#rows[at]);
    } else if (event.key === "Delete" && remove && this.#rows.length) {
      remove(this.#rows[at]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
