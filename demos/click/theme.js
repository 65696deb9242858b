/** Dark or light: as the system has it, until somebody chooses. */

const KEY = "perception:theme";

/**
 * Sets the theme and lets a button turn it.
 * @param {HTMLElement} button
 */
export function themed(button) {
  const system = matchMedia("(prefers-color-scheme: light)");
  const current = () => localStorage.getItem(KEY) ?? (system.matches ? "light" : "dark");
  const apply = () => (document.documentElement.dataset.theme = current());
  system.addEventListener("change", apply);
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
    apply();
  });
  apply();
}
