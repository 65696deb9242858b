/** What can be done with keys and buttons, by name. */

import { saveCoco } from "./client.js";
import { byId } from "./elements.js";
import { picked } from "./scene.js";
import { announce, counted, say } from "./status.js";

/**
 * @param {object} page its parts
 * @param {import("./editor.js").Editor} page.editor
 * @param {import("./stage.js").Stage} page.stage
 * @param {import("./classes.js").Classes} page.classes
 * @param {import("./pictures.js").Pictures} page.pictures
 * @param {import("./saving.js").Saving} page.saving
 * @param {import("./book.js").Book} page.book
 * @param {() => void} page.showAll shows panel and tools anew
 * @returns {Record<string, (value: unknown, source: Event, label?: string) => boolean | void>}
 */
export function createActions(page) {
  const { editor, stage, classes } = page;
  return {
    accept: () => accept(page),
    cycle: (step) => (editor.scene.draft?.answer?.ambiguous ? editor.cycle(step) : false),
    drop: () => editor.drop(),
    remove: () => editor.remove(),
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    tool(tool, _, label) {
      stage.take(tool, label === undefined ? 1 : Number(label));
      page.showAll();
    },
    swap() {
      stage.take("click", stage.label ? 0 : 1);
      page.showAll();
    },
    brush(factor) {
      stage.sizeBrush(factor);
      page.showAll();
    },
    class(number) {
      const name = classes.names[Number(number) - 1];
      if (!name) return false;
      pickClass(page, name);
    },
    focus: (id) => byId(id).focus(),
    turn: (step) => turn(page, step),
    fit: () => stage.camera.fit(),
    zoom: (factor) => stage.camera.zoom(factor),
    hide: () => stage.toggleMarks(),
    save: () => save(page),
    help: () => (byId("help").open ? byId("help").close() : byId("help").showModal()),
    settle: (how) => settle(page, how),
  };
}

/**
 * Gives the picked mark, or new ones, a class.
 * @param {object} page
 * @param {string} name
 */
export function pickClass({ editor, classes, showAll }, name) {
  classes.choose(name);
  if (picked(editor.scene)) editor.setClass(name);
  showAll();
}

/**
 * Makes the mask in work a mark.
 * @param {object} page
 * @returns {boolean} whether nothing is left to accept
 */
export function accept({ editor, classes }) {
  const { draft } = editor.scene;
  if (!draft) return true;
  if (!draft.of && !classes.current && draft.bounds?.length) {
    say("Name a class for this mark first");
    byId("new-class").focus();
    return false;
  }
  const isDone = editor.accept(classes.current);
  if (isDone) announce(counted(editor.scene.marks.length, "mark"));
  return isDone;
}

/**
 * Opens another image; a mask in work stays with the one that is left.
 * @param {object} page
 * @param {string} name
 */
export function openPicture(page, name) {
  page.saving.flush();
  page.book.open(name);
}

async function turn(page, step) {
  const name = await page.pictures.beside(step).catch(() => undefined);
  if (name) openPicture(page, name);
  else say(step > 0 ? "This is the last image" : "This is the first image");
}

async function save({ saving, editor }) {
  try {
    await saving.flush();
    if (saving.hasUnsaved) throw new Error("not all changes have reached the service yet");
    const { output, instances, pictures } = await saveCoco();
    const written = `${counted(instances, "instance")} in ${counted(pictures, "image")}`;
    say(`${output}: ${written}${unfinishedLine(editor)}`, "good");
  } catch (error) {
    say(`The COCO file isn't written: ${error.message}`, "bad");
  }
}

/** What the file lacks because nobody has accepted it. */
function unfinishedLine({ scene, unfinished }) {
  const names = [...(scene.draft ? ["this one"] : []), ...unfinished];
  if (!names.length) return "";
  const others = names.length > 1 ? ` and ${counted(names.length - 1, "other image")}` : "";
  return `, without the masks that aren't accepted yet (${names[0]}${others})`;
}

function settle({ saving, book, editor }, how) {
  byId("conflict").hidden = true;
  editor.replace(saving.resolve(book.name, how));
}
