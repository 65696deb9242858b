/** Keys and buttons become actions; what each action does is said in actions.js. */

import { byId, keepsFocus } from "./elements.js";
import { bindingOf } from "./keys.js";

const FIELDS = "input, select, textarea";

/**
 * Lets buttons with a `data-action`, and keys, act.
 * @param {Record<string, (value: unknown, source: Event) => boolean | void>} actions
 *   false: there was nothing to do, so that the key means what it means anywhere
 * @param {(isDown: boolean) => void} holdSpace told about the space bar
 */
export function createControls(actions, holdSpace) {
  for (const element of ["tools", "panel"]) keepsFocus(byId(element));
  keepsFocus(document.querySelector("header"));
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-action]");
    if (!button) return;
    const { action, value, label } = button.dataset;
    actions[action](Number.isNaN(Number(value)) ? value : Number(value), event, label);
  });
  document.addEventListener("keydown", (event) => key(event, actions, holdSpace));
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") holdSpace(false);
  });
  addEventListener("blur", () => holdSpace(false));
}

function key(event, actions, holdSpace) {
  const target = event.target instanceof Element ? event.target : document.body;
  if (document.querySelector("dialog[open]") && event.key !== "?") return;
  const isTyping = target.matches(FIELDS);
  if (isTyping && event.key === "Escape") byId("stage").focus();
  if (event.key === "Tab" && !target.matches("body, #stage")) return;
  const isOnButton = target.matches("button, a") && ["Enter", " "].includes(event.key);
  if (isOnButton) return;
  if (event.key === " " && !isTyping) {
    event.preventDefault();
    holdSpace(true);
    return;
  }
  const binding = bindingOf(event, isTyping);
  if (!binding) return;
  if (actions[binding.action](binding.value ?? event.key, event) !== false) event.preventDefault();
}
