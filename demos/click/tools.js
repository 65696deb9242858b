/** The tools beside the image: which one is at work, and the size of the brush. */

import { byId } from "./elements.js";

/** The slider's places lie on a logarithmic scale: a pixel more matters where there are few. */
const radiusAt = (place) => Math.exp((place / 100) * Math.log(400));
const placeOf = (radius) => (100 * Math.log(radius)) / Math.log(400);

/**
 * Lets the slider size the brush.
 * @param {import("./stage.js").Stage} stage
 */
export function listenToTools(stage) {
  const slider = byId("brush-size").querySelector("input");
  slider.addEventListener("input", () => {
    stage.sizeBrush(radiusAt(slider.valueAsNumber) / stage.radius);
    showTools(stage);
  });
}

/**
 * Shows the tool at work.
 * @param {import("./stage.js").Stage} stage
 */
export function showTools({ tool, label, radius }) {
  for (const button of document.querySelectorAll('#tools [data-action="tool"]')) {
    const { value, label: own } = button.dataset;
    const isAtWork = value === tool && (own === undefined || Number(own) === label);
    button.setAttribute("aria-pressed", String(isAtWork));
  }
  const size = byId("brush-size");
  size.hidden = tool !== "brush" && tool !== "eraser";
  size.querySelector("input").value = placeOf(radius);
  size.querySelector("output").textContent = `${Math.round(2 * radius)} px`;
}
