/**
 * Marks: what is said to be in an image. All functions give new lists and leave the old ones.
 *
 * @typedef {{uid: string, class: string, origin: "model" | "hand" | "corrected",
 *   rle: {size: [number, number], counts: string}, score: number | null,
 *   quality: number | null, stability: number | null}} Mark
 */

import { area, contains, iou } from "./runs.js";
import { boundsOf } from "./shapes.js";

/** Two masks of one class that agree so well are one thing. */
const SAME = 0.8;

/** @returns {string} 32 hex digits that no other mark has */
export function newUid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A mark with another mask, by hand.
 * @param {Mark[]} marks
 * @param {string} uid
 * @param {Mark["rle"]} rle
 * @param {number | null} quality that the model predicts for the mask, null for a painted one
 * @returns {Mark[]}
 */
export function withMask(marks, uid, rle, quality) {
  return changed(marks, uid, { rle, quality, stability: null });
}

/**
 * A mark of another class, by hand. No detector has scored it as such.
 * @param {Mark[]} marks
 * @param {string} uid
 * @param {string} name
 * @returns {Mark[]}
 */
export function withClass(marks, uid, name) {
  return changed(marks, uid, { class: name, score: null });
}

function changed(marks, uid, changes) {
  return marks.map((mark) => {
    if (mark.uid !== uid) return mark;
    return { ...mark, ...changes, origin: mark.origin === "hand" ? "hand" : "corrected" };
  });
}

/**
 * @param {Mark[]} marks
 * @param {string} uid
 * @returns {Mark[]}
 */
export function without(marks, uid) {
  return marks.filter((mark) => mark.uid !== uid);
}

/**
 * Marks and those that were found beside them; what is there already is left as it is.
 * @param {Mark[]} marks
 * @param {Mark[]} found
 * @returns {Mark[]}
 */
export function withFound(marks, found) {
  const isThere = (one) =>
    marks.some(
      (mark) =>
        mark.uid === one.uid ||
        (mark.class === one.class && iou(boundsOf(mark.rle), boundsOf(one.rle)) >= SAME),
    );
  return [...marks, ...found.filter((one) => !isThere(one))];
}

/**
 * The smallest mark at a place: what lies on others can be picked, and so can they.
 * @param {Mark[]} marks
 * @param {number[]} place x, y in pixels of the image
 * @returns {Mark | null}
 */
export function markAt(marks, place) {
  const there = marks.filter((mark) => contains(boundsOf(mark.rle), mark.rle.size[0], place));
  const areas = new Map(there.map((mark) => [mark, area(boundsOf(mark.rle))]));
  return there.sort((a, b) => areas.get(a) - areas.get(b))[0] ?? null;
}

/**
 * Whether two lists say the same in the same order.
 * @param {Mark[]} a
 * @param {Mark[]} b
 * @returns {boolean}
 */
export function sameMarks(a, b) {
  return a.length === b.length && a.every((mark, n) => sameMark(mark, b[n]));
}

/**
 * @param {Mark} a
 * @param {Mark} b
 * @returns {boolean}
 */
export function sameMark(a, b) {
  return (
    a.uid === b.uid && a.class === b.class && a.origin === b.origin && a.rle.counts === b.rle.counts
  );
}
