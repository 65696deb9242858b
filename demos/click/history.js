/**
 * States of which one is the present: undo goes back, redo forth.
 *
 * @template State
 * @typedef {{past: State[], present: State, future: State[]}} History
 */

const MOST = 500;

/**
 * @template State
 * @param {State} present
 * @returns {History<State>}
 */
export function begun(present) {
  return { past: [], present, future: [] };
}

/**
 * A step: what was undone before it is gone.
 * @template State
 * @param {History<State>} history
 * @param {State} present
 * @returns {History<State>}
 */
export function stepped(history, present) {
  if (present === history.present) return history;
  return { past: [...history.past, history.present].slice(-MOST), present, future: [] };
}

/**
 * The same steps with something changed in every state: an answer that came later, say.
 * @template State
 * @param {History<State>} history
 * @param {(state: State) => State} change
 * @returns {History<State>}
 */
export function amended({ past, present, future }, change) {
  return { past: past.map(change), present: change(present), future: future.map(change) };
}

/**
 * @template State
 * @param {History<State>} history
 * @returns {History<State>} the same one where there is nothing to undo
 */
export function undone(history) {
  const { past, present, future } = history;
  if (!past.length) return history;
  return { past: past.slice(0, -1), present: past[past.length - 1], future: [present, ...future] };
}

/**
 * @template State
 * @param {History<State>} history
 * @returns {History<State>} the same one where there is nothing to redo
 */
export function redone(history) {
  const { past, present, future } = history;
  if (!future.length) return history;
  return { past: [...past, present], present: future[0], future: future.slice(1) };
}

/**
 * The last few steps, and the next few that were undone.
 * @template State
 * @param {History<State>} history
 * @param {number} most of each
 * @returns {History<State>}
 */
export function trimmed({ past, present, future }, most) {
  return { past: past.slice(-most), present, future: future.slice(0, most) };
}

/**
 * What was left of the last few images, until they are opened again; unfinished ones stay.
 *
 * @template State
 * @typedef {{name: string, history: History<State>, isUnfinished: boolean}} Left
 */
export class Shelf {
  /** @type {Map<string, Left>} */
  #left = new Map();
  #most;

  /** @param {number} most how many are kept, unless more are unfinished */
  constructor(most) {
    this.#most = most;
  }

  /** @returns {string[]} the names of what is unfinished */
  get unfinished() {
    return [...this.#left.values()].filter((one) => one.isUnfinished).map(({ name }) => name);
  }

  /** @param {string} key; @param {Left} left */
  put(key, left) {
    this.#left.delete(key); // The last one that was left is the last to go.
    this.#left.set(key, left);
    for (const [oldest, { isUnfinished }] of this.#left) {
      if (this.#left.size <= this.#most) return;
      if (!isUnfinished) this.#left.delete(oldest);
    }
  }

  /** Takes one off. @param {string} key; @returns {Left | undefined} */
  take(key) {
    const left = this.#left.get(key);
    this.#left.delete(key);
    return left;
  }
}
