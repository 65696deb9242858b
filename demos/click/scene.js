/**
 * All of an image that can be undone: its marks, which of them is picked, and the mask in work.
 *
 * @typedef {{marks: import("./marks.js").Mark[], selected: string | null,
 *   draft: import("./draft.js").Draft | null}} Scene
 */

import { blankDraft, draftOf, withAnswer, withoutWorker } from "./draft.js";
import { newUid, withClass, withFound, withMask, without } from "./marks.js";
import { encodeRle } from "./rle.js";
import { boundsOf } from "./shapes.js";

/**
 * @param {import("./marks.js").Mark[]} marks
 * @returns {Scene}
 */
export function sceneOf(marks) {
  return { marks, selected: null, draft: null };
}

/**
 * The marks become others; a mask in work stays, unless it corrects a mark that is gone.
 * @param {Scene} scene
 * @param {import("./marks.js").Mark[]} marks
 * @returns {Scene}
 */
export function withMarks({ draft }, marks) {
  const isLost = draft?.of && !marks.some((mark) => mark.uid === draft.of);
  return { marks, selected: null, draft: isLost ? null : draft };
}

/**
 * A scene as it is kept while another image is open.
 * @param {Scene} scene
 * @returns {Scene}
 */
export function rested(scene) {
  return scene.draft ? { ...scene, draft: withoutWorker(scene.draft) } : scene;
}

/**
 * The mark that is picked.
 * @param {Scene} scene
 * @returns {import("./marks.js").Mark | null}
 */
export function picked(scene) {
  return scene.marks.find((mark) => mark.uid === scene.selected) ?? null;
}

/**
 * The mask in work, or a new one: of the picked mark, or of nothing.
 * @param {Scene} scene
 * @returns {import("./draft.js").Draft}
 */
export function draftIn(scene) {
  const mark = picked(scene);
  return (
    scene.draft ?? (mark ? draftOf(mark.uid, boundsOf(mark.rle), mark.rle.size[0]) : blankDraft())
  );
}

/**
 * The answer to a question goes where that question is still open.
 * @param {Scene} scene
 * @param {number} ask
 * @param {import("./draft.js").Answer} answer
 * @param {Uint32Array} bounds
 * @returns {Scene}
 */
export function answered(scene, ask, answer, bounds) {
  if (!scene.draft?.pending || scene.draft.ask !== ask) return scene;
  return { ...scene, draft: withAnswer(scene.draft, answer, bounds) };
}

/**
 * A better answer to a question that was answered in the whole image only.
 * @param {Scene} scene
 * @param {number} ask
 * @param {import("./draft.js").Answer} answer
 * @param {Uint32Array} bounds
 * @returns {Scene}
 */
export function answeredAgain(scene, ask, answer, bounds) {
  if (scene.draft?.ask !== ask || !scene.draft.answer?.coarse) return scene;
  return { ...scene, draft: withAnswer(scene.draft, answer, bounds) };
}

/**
 * A question that gets no answer: what was there before it stays.
 * @param {Scene} scene
 * @param {number} ask
 * @returns {Scene}
 */
export function unanswered(scene, ask) {
  if (!scene.draft?.pending || scene.draft.ask !== ask) return scene;
  return { ...scene, draft: { ...scene.draft, pending: false } };
}

/**
 * The mask in work becomes a mark, or the new mask of the mark that it corrects.
 * @param {Scene} scene
 * @param {string} name the class of a new mark
 * @param {[number, number]} size height, width of the image
 * @returns {Scene} the same one where there is no mask to accept
 */
export function accepted(scene, name, size) {
  const { draft, marks } = scene;
  if (!draft || draft.pending) return scene;
  if (!draft.bounds?.length) return draft.of ? removed(scene, draft.of) : scene;
  const rle = { size, counts: encodeRle(draft.bounds, size) };
  const quality = draft.answer ? draft.answer.quality[draft.answer.candidate] : null;
  if (draft.of) {
    return { marks: withMask(marks, draft.of, rle, quality), selected: null, draft: null };
  }
  const mark = {
    uid: newUid(),
    class: name,
    origin: "hand",
    rle,
    score: null,
    quality,
    stability: null,
  };
  return { marks: [...marks, mark], selected: null, draft: null };
}

/**
 * @param {Scene} scene
 * @param {string} uid
 * @returns {Scene}
 */
export function removed(scene, uid) {
  return { marks: without(scene.marks, uid), selected: null, draft: null };
}

/**
 * The picked mark gets another class.
 * @param {Scene} scene
 * @param {string} name
 * @returns {Scene}
 */
export function reclassed(scene, name) {
  const mark = picked(scene);
  if (!mark || mark.class === name) return scene;
  return { ...scene, marks: withClass(scene.marks, mark.uid, name) };
}

/**
 * @param {Scene} scene
 * @param {import("./marks.js").Mark[]} found by the model
 * @returns {Scene}
 */
export function foundIn(scene, found) {
  const marks = withFound(scene.marks, found);
  return marks.length === scene.marks.length ? scene : { ...scene, marks };
}
