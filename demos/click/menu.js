/** The list of images, which can be put away, and is where there is little room. */

const NARROW = matchMedia("(max-width: 1100px)");

/**
 * Lets a button show and hide the list.
 * @param {HTMLElement} button
 */
export function createMenu(button) {
  const show = (isShown) => {
    document.body.classList.toggle("no-list", !isShown);
    button.setAttribute("aria-expanded", String(isShown));
  };
  button.addEventListener("click", () => show(document.body.classList.contains("no-list")));
  NARROW.addEventListener("change", () => show(!NARROW.matches));
  document.getElementById("picture-list").addEventListener("click", () => {
    if (NARROW.matches) show(false);
  });
  show(!NARROW.matches);
}
