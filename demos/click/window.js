/** What tests, and the curious, can read of the page: `window.perception`. */

import { encodeRle } from "./rle.js";

/**
 * @param {object} page
 * @param {import("./editor.js").Editor} page.editor
 * @param {import("./stage.js").Stage} page.stage
 */
export function showWindow({ editor, stage }) {
  window.perception = Object.freeze({
    /** The mask in work as COCO run lengths, or null. */
    get mask() {
      const bounds = editor.scene.draft?.bounds;
      return bounds ? { size: editor.size, counts: encodeRle(bounds, editor.size) } : null;
    },
    /** The mask in work with its prompt, or null. */
    get draft() {
      return editor.scene.draft;
    },
    get marks() {
      return editor.scene.marks;
    },
    get selected() {
      return editor.scene.selected;
    },
    /** Where the image lies on the stage: {scale, x, y}. */
    get view() {
      return stage.camera.view;
    },
    /** Times of the last answer in milliseconds. */
    get times() {
      return editor.times;
    },
  });
}
