/**
 * Colors of classes: told apart also by those who see few hues, on images of any kind. The
 * first follow the overlay's order of hues: red, blue, green, yellow, purple, orange, cyan.
 */

const COLOURS = [
  "#e8613c",
  "#2f8fe0",
  "#12a57c",
  "#f2d53c",
  "#d27ab0",
  "#f0a020",
  "#6cc4f5",
  "#a3386c",
  "#7a6fe0",
  "#9bc53d",
  "#c9b27c",
  "#d94fc4",
];

/**
 * The color of a class by its place in the list.
 * @param {number} index from 0; -1 for a class that isn't in the list
 * @returns {string} "#rrggbb"
 */
export function colorOf(index) {
  return index < 0 ? "#5aa5f5" : COLOURS[index % COLOURS.length];
}

/**
 * Black or white, whichever reads better on a color.
 * @param {string} color "#rrggbb"
 * @returns {string}
 */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#111318" : "#ffffff";
}
