/**
 * Where a mask can have an edge, told from its cells alone: an upsampled value lies between the
 * cells it is made of, so that most of an image is known before any value is computed.
 *
 * Kinds are bits: what cells allow together is all that each of them allows.
 */

export const OUTSIDE = 1;
export const INSIDE = 2;
export const EITHER = OUTSIDE | INSIDE;

/**
 * What each run of rows allows, for one column of cells.
 * @param {Float32Array} column logits
 * @param {number} margin more than what rounding can add to a value; from -margin to it is EITHER
 * @param {{first: number, last: number}[]} rows the cells that each run of rows needs
 * @returns {Uint8Array} a kind for each run
 */
export function kindsOf(column, margin, rows) {
  const cells = new Uint8Array(column.length);
  for (let n = 0; n < cells.length; n += 1) {
    cells[n] = column[n] > margin ? INSIDE : column[n] < -margin ? OUTSIDE : EITHER;
  }
  const kinds = new Uint8Array(rows.length);
  for (let n = 0; n < kinds.length; n += 1) {
    const { first, last } = rows[n];
    for (let cell = first; cell <= last; cell += 1) kinds[n] |= cells[cell];
  }
  return kinds;
}

/**
 * What neighbouring columns of cells allow together, in spans of rows.
 * @param {Uint8Array[]} columns kinds, of one column of cells each
 * @param {{start: number, stop: number}[]} rows the runs that they are for
 * @returns {number[]} start, kind, start, kind ... and the end of the last span
 */
export function spansOf(columns, rows) {
  const spans = [];
  let before = 0;
  for (let n = 0; n < rows.length; n += 1) {
    let kind = 0;
    for (const kinds of columns) kind |= kinds[n];
    if (kind !== before) spans.push(rows[n].start, kind);
    before = kind;
  }
  spans.push(rows[rows.length - 1].stop);
  return spans;
}

/**
 * The spans in which values have to be computed.
 * @param {number[]} spans as spansOf gives them
 * @returns {number[]} start, stop, start, stop ...
 */
export function openSpans(spans) {
  const open = [];
  for (let n = 0; n + 2 < spans.length; n += 2) {
    if (spans[n + 1] === EITHER) open.push(spans[n], spans[n + 2]);
  }
  return open;
}
