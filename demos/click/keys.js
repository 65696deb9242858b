/**
 * What the keys do: one table, which the page obeys and its help shows.
 *
 * @typedef {{keys: string[], shown: string, does: string, action: string, value?: unknown,
 *   withControl?: boolean, withShift?: boolean, anywhere?: boolean}} Binding
 *   keys: `event.key` in lower case; anywhere: also while a text is typed
 */

/** @type {{title: string, bindings: Binding[]}[]} */
export const GROUPS = [
  {
    title: "Masks",
    bindings: [
      {
        keys: ["tab"],
        shown: "Tab",
        does: "next candidate of a lone click",
        action: "cycle",
        value: 1,
      },
      {
        keys: ["tab"],
        shown: "Shift Tab",
        does: "candidate before",
        action: "cycle",
        value: -1,
        withShift: true,
      },
      { keys: ["enter"], shown: "Enter", does: "accept the mask", action: "accept" },
      { keys: ["escape"], shown: "Esc", does: "drop it, or let go of a mark", action: "drop" },
      {
        keys: ["delete", "backspace"],
        shown: "Del",
        does: "delete the picked mark",
        action: "remove",
      },
      { keys: ["z"], shown: "Ctrl Z", does: "undo", action: "undo", withControl: true },
      {
        keys: ["z"],
        shown: "Ctrl Shift Z",
        does: "redo",
        action: "redo",
        withControl: true,
        withShift: true,
      },
      { keys: ["y"], shown: "Ctrl Y", does: "redo", action: "redo", withControl: true },
    ],
  },
  {
    title: "Tools",
    bindings: [
      { keys: ["c"], shown: "C", does: "click: points and boxes", action: "tool", value: "click" },
      { keys: ["x"], shown: "X", does: "points in or out", action: "swap" },
      { keys: ["b"], shown: "B", does: "brush", action: "tool", value: "brush" },
      { keys: ["e"], shown: "E", does: "eraser", action: "tool", value: "eraser" },
      { keys: ["h"], shown: "H", does: "hand: move the image", action: "tool", value: "hand" },
      { keys: ["["], shown: "[", does: "smaller brush", action: "brush", value: 1 / 1.25 },
      { keys: ["]"], shown: "]", does: "larger brush", action: "brush", value: 1.25 },
    ],
  },
  {
    title: "Classes",
    bindings: [
      {
        keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"],
        shown: "1 – 9",
        does: "class of the picked mark, and of new ones",
        action: "class",
      },
      { keys: ["a"], shown: "A", does: "add a class", action: "focus", value: "new-class" },
      {
        keys: ["/", "t"],
        shown: "T or /",
        does: "find by text",
        action: "focus",
        value: "ask-text",
      },
    ],
  },
  {
    title: "Image",
    bindings: [
      {
        keys: ["n", "arrowright"],
        shown: "N or →",
        does: "next image",
        action: "turn",
        value: 1,
      },
      {
        keys: ["p", "arrowleft"],
        shown: "P or ←",
        does: "image before",
        action: "turn",
        value: -1,
      },
      { keys: ["0", "f"], shown: "0 or F", does: "whole image", action: "fit" },
      { keys: ["+", "="], shown: "+", does: "larger", action: "zoom", value: 1.25 },
      { keys: ["-"], shown: "−", does: "smaller", action: "zoom", value: 1 / 1.25 },
      { keys: ["m"], shown: "M", does: "hide or show marks", action: "hide" },
      {
        keys: ["s"],
        shown: "Ctrl S",
        does: "write the COCO file",
        action: "save",
        withControl: true,
        anywhere: true,
      },
      { keys: ["?"], shown: "?", does: "this help", action: "help" },
    ],
  },
];

/** What a hand does with a mouse or on a screen, for the help. */
export const GESTURES = [
  ["Click", "a point in; on a mark: pick it"],
  ["Right or Alt click", "a point out"],
  ["Shift click", "a point in, also on a mark"],
  ["Drag", "a box"],
  ["Wheel, pinch", "zoom"],
  ["Space drag, middle drag, two fingers", "move the image"],
];

const BINDINGS = GROUPS.flatMap(({ bindings }) => bindings);

/**
 * What a key means.
 * @param {KeyboardEvent} event
 * @param {boolean} isTyping whether the focus is in a field
 * @returns {Binding | undefined}
 */
export function bindingOf(event, isTyping) {
  const key = event.key.toLowerCase();
  const control = Boolean(event.ctrlKey || event.metaKey);
  return BINDINGS.find(
    ({ keys, withControl = false, withShift = false, anywhere = false }) =>
      keys.includes(key) &&
      control === withControl &&
      // Some keyboards need Shift for "?", "+" or "/".
      (event.shiftKey === withShift || (!withControl && !withShift && /^[^a-z0-9]$/.test(key))) &&
      (!isTyping || anywhere),
  );
}
