/** Elements of the page, found and made. */

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * A small square of a color.
 * @param {string} color
 * @returns {HTMLElement}
 */
export function swatch(color) {
  const element = make("span", { class: "swatch" });
  element.style.background = color;
  return element;
}

/**
 * Lets a press with a pointer leave the focus where it is, so that keys go on meaning the image.
 * @param {HTMLElement} element
 */
export function keepsFocus(element) {
  element.addEventListener("mousedown", (event) => {
    if (!event.target.closest("input")) event.preventDefault();
  });
}
