/**
 * Editing one picture: every deed is a step of its history, and questions that a deed raises go to
 * the decoder and come back into it.
 */

import { nextCandidate, promptOf, withBox, withPoint, withStroke } from "./draft.js";
import { amended, begun, redone, stepped, undone } from "./history.js";
import * as scenes from "./scene.js";

/** An editor of one picture at a time. */
export class Editor {
  #history = begun(scenes.sceneOf([]));
  #decoding;
  #changed;
  #failed;
  #lastAsk = 0;

  /**
   * @param {object} options
   * @param {import("./decoding.js").Decoding} options.decoding
   * @param {(scene: import("./scene.js").Scene, before: import("./scene.js").Scene,
   *   isLoaded: boolean) => void} options.changed called after every change; isLoaded: it is
   *   another picture's scene
   * @param {(message: string) => void} options.failed called where a question gets no answer
   */
  constructor({ decoding, changed, failed }) {
    this.#decoding = decoding;
    this.#changed = changed;
    this.#failed = failed;
    /** Height and width of the picture. */
    this.size = [1, 1];
    /** Of the last answer in milliseconds: {decode, upsample}, and when it was asked for. */
    this.times = { decode: 0, upsample: 0, began: 0 };
  }

  /** @returns {import("./scene.js").Scene} */
  get scene() {
    return this.#history.present;
  }

  get canUndo() {
    return this.#history.past.length > 0;
  }

  get canRedo() {
    return this.#history.future.length > 0;
  }

  /**
   * Begins with a picture.
   * @param {[number, number]} size height, width
   * @param {import("./marks.js").Mark[]} marks
   */
  load(size, marks) {
    this.size = size;
    this.#go(begun(scenes.sceneOf(marks)), true);
  }

  /** The marks become others, as a step: what another tab has saved. */
  replace(marks) {
    this.#step(scenes.sceneOf(marks));
  }

  /** @param {number[]} place x, y in pixels of the picture; @param {0 | 1} label */
  addPoint(place, label) {
    this.#ask((draft, ask) => withPoint(draft, place, label, ask));
  }

  /** @param {number[]} box x0, y0, x1, y1 */
  addBox(box) {
    this.#ask((draft, ask) => withBox(draft, box, ask));
  }

  /** @param {Uint32Array} covered by the brush; @param {boolean} erase */
  addStroke(covered, erase) {
    const draft = withStroke(scenes.draftIn(this.scene), covered, erase);
    this.#step({ ...this.scene, draft });
  }

  /** The mask in work as a stroke that goes on would leave it. */
  strokePreview(covered, erase) {
    return withStroke(scenes.draftIn(this.scene), covered, erase);
  }

  /** Shows the next or the last of a lone click's candidates. @param {1 | -1} step */
  cycle(step) {
    const answer = this.scene.draft?.answer;
    if (answer?.ambiguous) this.choose(nextCandidate(answer, step));
  }

  /** Shows one of the candidates. @param {number} candidate 1 to 3 */
  async choose(candidate) {
    const { draft } = this.scene;
    if (!draft?.answer || draft.answer.candidate === candidate) return;
    try {
      const { bounds } = await this.#decoding.candidate(draft.answer.id, candidate);
      if (this.scene.draft !== draft) return;
      const answer = { ...draft.answer, candidate };
      this.#step({ ...this.scene, draft: { ...draft, answer, bounds } });
    } catch (error) {
      this.#failed(error.message);
    }
  }

  /** @param {string} name the class of a new mark; @returns {boolean} whether there was a mask */
  accept(name) {
    const before = this.scene;
    this.#step(scenes.accepted(before, name, this.size));
    return this.scene !== before;
  }

  /** Drops the mask in work; without one, lets go of the picked mark. */
  drop() {
    const { draft, marks } = this.scene;
    if (draft) this.#step({ marks, selected: null, draft: null });
    else this.pick(null);
  }

  /** Picks a mark; that alone is no step. @param {string | null} uid */
  pick(uid) {
    if (this.scene.draft || this.scene.selected === uid) return;
    this.#go({ ...this.#history, present: { ...this.scene, selected: uid } });
  }

  /** Deletes the picked mark. */
  remove() {
    const { draft, selected } = this.scene;
    const uid = draft?.of ?? selected;
    if (uid) this.#step(scenes.removed(this.scene, uid));
    else this.drop();
  }

  /** Gives the picked mark a class. @param {string} name */
  setClass(name) {
    this.#step(scenes.reclassed(this.scene, name));
  }

  /** @param {import("./marks.js").Mark[]} found; @returns {number} how many of them are new */
  addFound(found) {
    const before = this.scene.marks.length;
    this.#step(scenes.foundIn(this.scene, found));
    return this.scene.marks.length - before;
  }

  undo() {
    this.#go(undone(this.#history));
  }

  redo() {
    this.#go(redone(this.#history));
  }

  async #ask(change) {
    const began = performance.now();
    this.#lastAsk += 1;
    const ask = this.#lastAsk;
    const draft = change(scenes.draftIn(this.scene), ask);
    this.#step({ ...this.scene, draft });
    try {
      const {
        answer: id,
        quality,
        candidate,
        ambiguous,
        bounds,
        times,
      } = await this.#decoding.decode(promptOf(draft), draft.earlier);
      const answer = { id, quality, candidate, ambiguous };
      this.times = { ...times, began };
      this.#amend((scene) => scenes.answered(scene, ask, answer, bounds));
    } catch (error) {
      this.#amend((scene) => scenes.unanswered(scene, ask));
      if (!error.aborted) this.#failed(error.message);
    }
  }

  #step(scene) {
    this.#go(stepped(this.#history, scene));
  }

  #amend(change) {
    this.#go(amended(this.#history, change));
  }

  #go(history, isLoaded = false) {
    const before = this.scene;
    this.#history = history;
    this.#changed(this.scene, before, isLoaded);
  }
}
