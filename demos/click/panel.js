/** The panel beside the image: the mask in work, the classes, the marks. */

import { byId, keepsFocus, make, swatch } from "./elements.js";
import { Listbox } from "./listbox.js";
import { counted } from "./status.js";

const ORIGINS = { hand: "by hand", corrected: "corrected", model: "" };
const CLOSE = "#i-close";

/** Shows a scene and the classes, and passes on what is picked in them. */
export class Panel {
  #classes;
  #marks;
  #deeds;

  /**
   * @param {object} deeds
   * @param {(name: string) => void} deeds.pickClass
   * @param {(uid: string) => void} deeds.pickMark
   * @param {(uid: string) => void} deeds.removeMark
   * @param {(candidate: number) => void} deeds.choose
   * @param {(name: string) => void} deeds.addClass
   */
  constructor(deeds) {
    this.#deeds = deeds;
    this.#classes = new Listbox(byId("classes"), { pick: deeds.pickClass });
    this.#marks = new Listbox(byId("marks"), { pick: deeds.pickMark, remove: deeds.removeMark });
    keepsFocus(byId("work"));
    byId("add-class").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("new-class").value.trim();
      if (name) deeds.addClass(name);
    });
  }

  /**
   * @param {object} seen
   * @param {import("./scene.js").Scene} seen.scene
   * @param {string[]} seen.classes
   * @param {string} seen.name the class of new marks
   * @param {(name: string) => string} seen.color
   */
  show({ scene, classes, name, color }) {
    this.#showDraft(scene, name);
    const picked = scene.marks.find((mark) => mark.uid === scene.selected)?.class ?? name;
    this.#classes.show(
      classes.map((one, n) => ({
        id: one,
        isPicked: one === picked,
        label: one,
        parts: [
          make("span", { class: "number", "aria-hidden": "true" }, n < 9 ? String(n + 1) : ""),
          swatch(color(one)),
          make("span", { class: "text", title: one }, one),
          make("span", { class: "count" }, String(countOf(scene.marks, one) || "")),
        ],
      })),
      "None yet: add one, or find by text.",
    );
    this.#showMarks(scene, color);
  }

  #showMarks({ marks, selected }, color) {
    byId("marks-count").textContent = marks.length || "";
    const rows = marks.map((mark) => ({
      id: mark.uid,
      isPicked: mark.uid === selected,
      label: `${mark.class}, ${originOf(mark)}`,
      parts: [
        swatch(color(mark.class)),
        make("span", { class: "text", title: mark.class }, mark.class),
        make("span", { class: `origin ${mark.origin}` }, originOf(mark)),
        removeButton(mark),
      ],
    }));
    this.#marks.show(rows, "Click a thing, drag a box around it, or find by text.");
  }

  #showDraft({ draft, marks }, name) {
    byId("work").hidden = !draft;
    if (!draft) return;
    const own = marks.find((mark) => mark.uid === draft.of)?.class;
    const fresh = name ? `New mask: ${name}` : "New mask";
    byId("work-title").textContent = own ? `Correcting ${own}` : fresh;
    byId("work-quality").textContent = qualityLine(draft);
    const { answer } = draft;
    const shown = answer?.ambiguous && !draft.pending ? answer.quality : [];
    byId("candidates").replaceChildren(...shown.map((_, n) => this.#candidate(answer, n)));
  }

  #candidate(answer, n) {
    const percent = percentOf(answer.quality[n]);
    const bar = make("i");
    bar.style.width = percent;
    const button = make(
      "button",
      {
        "aria-pressed": answer.candidate === n,
        title: "Tab shows the next one",
        "aria-label": `Candidate ${n + 1}, quality ${percent}`,
      },
      percent,
      make("span", { class: "bar" }, bar),
    );
    button.addEventListener("click", () => this.#deeds.choose(n));
    return button;
  }
}

function qualityLine({ answer, pending, points, box }) {
  if (pending) return "Working …";
  if (!answer) return "Painted by hand";
  if (answer.coarse) return "A preview: the service is away";
  if (answer.ambiguous) return "Three candidates: Tab";
  const what = [points.length ? counted(points.length, "point") : "", box ? "a box" : ""];
  const said = what.filter(Boolean).join(" and ");
  return `Quality ${percentOf(answer.quality[answer.candidate])} from ${said}`;
}

const countOf = (marks, name) => marks.filter((mark) => mark.class === name).length;
const percentOf = (share) => `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;

function originOf({ origin, score }) {
  return ORIGINS[origin] || (score === null ? "model" : percentOf(score));
}

function removeButton(mark) {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", CLOSE);
  icon.append(use);
  const button = make("button", { class: "icon", tabindex: "-1", title: "Delete" }, icon);
  button.setAttribute("aria-label", `Delete ${mark.class}`);
  return button;
}
