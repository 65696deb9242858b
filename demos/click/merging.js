/** Two hands on one image: their marks and mine become one list, and nothing is lost. */

import { newUid, sameMark } from "./marks.js";

/**
 * Theirs, with what I have made or changed since both of us had `base`. Where both changed one
 * mark, both are kept; what one of us changed stays, though the other deleted it.
 * @param {import("./marks.js").Mark[]} base what was saved when I began
 * @param {import("./marks.js").Mark[]} mine
 * @param {import("./marks.js").Mark[]} theirs
 * @returns {import("./marks.js").Mark[]}
 */
export function merged(base, mine, theirs) {
  const [before, here, there] = [base, mine, theirs].map(
    (marks) => new Map(marks.map((mark) => [mark.uid, mark])),
  );
  const changed = (mark) => !before.has(mark.uid) || !sameMark(before.get(mark.uid), mark);
  const kept = theirs.flatMap((mark) => {
    const own = here.get(mark.uid);
    if (!own) return before.has(mark.uid) && !changed(mark) ? [] : [mark];
    if (!changed(own) || sameMark(own, mark)) return [mark];
    return changed(mark) ? [mark, { ...own, uid: newUid() }] : [own];
  });
  return [...kept, ...mine.filter((mark) => !there.has(mark.uid) && changed(mark))];
}
