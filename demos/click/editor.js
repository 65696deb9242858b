/**
 * Editing one image: every deed is a step of its history, and questions that a deed raises go to
 * the decoder and come back into it.
 */

import * as drafts from "./draft.js";
import { amended, begun, redone, Shelf, stepped, trimmed, undone } from "./history.js";
import { sameMarks } from "./marks.js";
import * as scenes from "./scene.js";

/** How many images that were left keep their steps, and how many steps each. */
const MOST_LEFT = { pictures: 20, steps: 100 };

/** How long a service that is away is left in peace, in milliseconds. */
const AGAIN_MS = 3000;

/** An editor of one image at a time. */
export class Editor {
  #history = begun(scenes.sceneOf([]));
  #decoding;
  #changed;
  #failed;
  #lastAsk = 0;
  #shelf = new Shelf(MOST_LEFT.pictures);

  /**
   * @param {object} options
   * @param {import("./decoding.js").Decoding} options.decoding
   * @param {(scene: import("./scene.js").Scene, before: import("./scene.js").Scene,
   *   isLoaded: boolean) => void} options.changed called after every change; isLoaded: it is
   *   another image's scene
   * @param {(message: string) => void} options.failed called where a question gets no answer
   */
  constructor({ decoding, changed, failed }) {
    this.#decoding = decoding;
    this.#changed = changed;
    this.#failed = failed;
    /** Height and width of the image. */
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

  /** @returns {string[]} images that were left with a mask in work */
  get unfinished() {
    return this.#shelf.unfinished;
  }

  /**
   * Begins with an image: where it was left, if it is still that one, so that what was done can
   * be undone and a mask in work goes on.
   * @param {[number, number]} size height, width
   * @param {import("./marks.js").Mark[]} marks
   * @param {string} [key] of the image and its content
   */
  load(size, marks, key = "") {
    this.size = size;
    const left = this.#shelf.take(key);
    if (!left) {
      this.#go(begun(scenes.sceneOf(marks)), true);
      return;
    }
    const { present } = left.history;
    const isSame = sameMarks(present.marks, marks);
    this.#go(isSame ? left.history : stepped(left.history, scenes.withMarks(present, marks)), true);
    if (left.isWaiting && this.scene.draft) this.#askAgain(this.scene.draft);
  }

  /**
   * Keeps what was done on the open image until it is opened again.
   * @param {string} name
   * @param {string} key of the image and its content
   * @returns {boolean} whether a mask is in work on it
   */
  leave(name, key) {
    const { draft } = this.scene;
    const isUnfinished = Boolean(draft);
    if (!isUnfinished && !this.canUndo && !this.canRedo) return false;
    const history = amended(trimmed(this.#history, MOST_LEFT.steps), scenes.rested);
    const isWaiting = Boolean(draft?.pending);
    this.#shelf.put(key, { name, history, isUnfinished, isWaiting });
    return isUnfinished;
  }

  /** The marks become others, as a step: what another tab has saved. */
  replace(marks) {
    this.#step(scenes.sceneOf(marks));
  }

  /** @param {number[]} place x, y in pixels of the image; @param {0 | 1} label */
  addPoint(place, label) {
    this.#ask((draft, ask) => drafts.withPoint(draft, place, label, ask));
  }

  /** @param {number[]} box x0, y0, x1, y1 */
  addBox(box) {
    this.#ask((draft, ask) => drafts.withBox(draft, box, ask));
  }

  /** @param {Uint32Array} covered by the brush; @param {boolean} erase */
  addStroke(covered, erase) {
    const draft = drafts.withStroke(scenes.draftIn(this.scene), covered, erase);
    this.#step({ ...this.scene, draft });
  }

  /** The mask in work as a stroke that goes on would leave it. */
  strokePreview(covered, erase) {
    return drafts.withStroke(scenes.draftIn(this.scene), covered, erase);
  }

  /** Shows the next or the last of a lone click's candidates. @param {1 | -1} step */
  cycle(step) {
    const answer = this.scene.draft?.answer;
    if (answer?.ambiguous) this.choose(drafts.nextCandidate(answer, step));
  }

  /** Shows one of the candidates. @param {number} candidate from 0 */
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

  #ask(change) {
    const ask = this.#nextAsk();
    const draft = change(scenes.draftIn(this.scene), ask);
    this.#step({ ...this.scene, draft });
    this.#answer(draft, ask);
  }

  /** Asks what had no answer when its image was left; that is no step. */
  #askAgain(left) {
    const ask = this.#nextAsk();
    const draft = { ...left, ask, pending: true };
    this.#go({ ...this.#history, present: { ...this.scene, draft } });
    this.#answer(draft, ask);
  }

  #nextAsk() {
    this.#lastAsk += 1;
    return this.#lastAsk;
  }

  async #answer(draft, ask) {
    const began = performance.now();
    try {
      const {
        answer: id,
        quality,
        candidate,
        ambiguous,
        coarse,
        bounds,
        times,
      } = await this.#decoding.decode(drafts.promptOf(draft), draft.earlier);
      const answer = { id, quality, candidate, ambiguous, coarse };
      this.times = { ...times, began };
      this.#amend((scene) => scenes.answered(scene, ask, answer, bounds));
      if (coarse) setTimeout(() => this.#predictAgain(draft, ask), AGAIN_MS);
    } catch (error) {
      this.#amend((scene) => scenes.unanswered(scene, ask));
      if (!error.aborted) this.#failed(error.message);
    }
  }

  /** Predicts a draft anew that was predicted while the service was away, until it is back. */
  async #predictAgain(draft, ask) {
    const isOpen = () => this.scene.draft?.ask === ask && this.scene.draft.answer?.coarse;
    if (!isOpen()) return;
    try {
      const prompt = drafts.promptOf(draft);
      const { answer: id, bounds, ...about } = await this.#decoding.decode(prompt, draft.earlier);
      if (!isOpen()) return;
      if (about.coarse) setTimeout(() => this.#predictAgain(draft, ask), AGAIN_MS);
      else this.#amend((scene) => scenes.answeredAgain(scene, ask, { id, ...about }, bounds));
    } catch (error) {
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
