/** The help: what keys and gestures do, from the table that the page obeys. */

import { make } from "./elements.js";
import { GESTURES, GROUPS } from "./keys.js";

/**
 * Fills an element with the help.
 * @param {HTMLElement} element
 */
export function fillHelp(element) {
  const keys = GROUPS.map(({ title, bindings }) =>
    section(
      title,
      bindings.map(({ shown, does }) => [make("kbd", {}, shown), does]),
    ),
  );
  element.replaceChildren(section("Pointer", GESTURES), ...keys);
}

function section(title, rows) {
  const list = make("dl");
  for (const [what, does] of rows) list.append(make("dt", {}, what), make("dd", {}, does));
  return make("section", {}, make("h3", {}, title), list);
}
