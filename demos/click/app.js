/** The page: its parts, and who tells whom. */

import { createActions, openPicture, pickClass } from "./actions.js";
import { createAsking, foundLine } from "./asking.js";
import { Book } from "./book.js";
import { Classes } from "./classes.js";
import { getPicture, getSession, putMarks } from "./client.js";
import { createControls } from "./controls.js";
import { createDecoding } from "./decoding.js";
import { createDropping } from "./dropping.js";
import { Editor } from "./editor.js";
import { byId } from "./elements.js";
import { fillHelp } from "./help.js";
import { newUid } from "./marks.js";
import { createMenu } from "./menu.js";
import { Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Saving } from "./saving.js";
import { Stage } from "./stage.js";
import { announce, counted, say, sayBusy, sayDecoder, saySaved, sayTimes } from "./status.js";
import { themed } from "./theme.js";
import { listenToTools, showTools } from "./tools.js";
import { Unsaved } from "./unsaved.js";
import { showWindow } from "./window.js";

const state = document.documentElement.dataset;
const tab = newUid();
const bad = (text) => say(text, "bad");
let opened = ""; // the picture that is shown
let openedKey = ""; // of that picture and its content

themed(byId("theme"));
createMenu(byId("menu"));
fillHelp(byId("help-groups"));

const session = await getSession().catch((error) => {
  cannotShow(error.message);
  throw error;
});
const classes = new Classes(session.folder, session.classes);
const decoding = createDecoding(new Worker("/page/mask_worker.js", { type: "module" }));
const editor = new Editor({ decoding, changed, failed: bad });
const look = () => ({ color: classes.color, name: classes.current });
const stage = new Stage({ editor, decoding, classes: look, hint: say });
const unsaved = new Unsaved(localStorage, session.folder);
const saving = new Saving({ put: putMarks, get: getPicture, unsaved, tab, onStatus: saved });
const book = new Book({
  tab,
  decoding,
  deeds: {
    begin,
    show,
    failed: cannotShow,
    encoding: (isAtWork) => sayBusy(isAtWork ? "Encoding …" : ""),
    ready: () => (state.ready = "ready"),
    unready: (reason) => bad(`Clicks can't be answered: ${reason}. A click tries again.`),
    next: () => pictures.beside(1),
    others: (count) => (byId("others").hidden = !count),
  },
});
const pictures = new Pictures({ pick: (name) => openPicture(page, name), failed: bad });
const page = { editor, stage, classes, pictures, saving, book, showAll };
const panel = new Panel({
  pickClass: (name) => pickClass(page, name),
  pickMark: (uid) => editor.pick(uid),
  removeMark(uid) {
    editor.pick(uid);
    editor.remove();
  },
  choose: (candidate) => editor.choose(candidate),
  addClass,
});

createControls(createActions(page), (isDown) => stage.holdSpace(isDown));
createAsking({ picture: () => opened, found, failed: bad });
createDropping({
  added: (name) => {
    openPicture(page, name);
    pictures.refresh();
  },
  failed: bad,
});
listenToTools(stage);
showWindow({ editor, stage });
addEventListener("pagehide", () => {
  saving.leave();
  book.leave();
});
addEventListener("beforeunload", (event) => {
  const isUnfinished = editor.scene.draft || editor.unfinished.length;
  if (isUnfinished || (saving.hasUnsaved && state.saved === "failed")) event.preventDefault();
});

showAll();
start();

async function start() {
  const { model, inPage } = session;
  decoding.open({ model, inPage }).then(sayDecoder, (error) => bad(error.message));
  saving.recover();
  try {
    const first = await pictures.open();
    // The image that the address names, else the first.
    const name = decodeURIComponent(location.hash.slice(1)) || first?.name;
    if (name) openPicture(page, name);
    else cannotShow("No images in this folder yet.\nDrop some here.");
  } catch (error) {
    bad(error.message);
  }
}

function begin(name) {
  const left = close();
  state.ready = "loading";
  state.picture = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  byId("name").textContent = name;
  byId("name").title = name;
  document.title = `${name} – Perception`;
  pictures.show(name);
  byId("conflict").hidden = true;
  byId("others").hidden = true;
  byId("empty").hidden = true;
  say(left && left !== name ? `${left}: its mask isn't accepted yet; it waits there` : "");
}

function show(picture, image) {
  opened = picture.name;
  openedKey = `${picture.uid} ${picture.name}`;
  const size = [picture.height, picture.width];
  editor.load(size, saving.open(picture), openedKey);
  stage.open(image);
  state.ready = "encoding";
  pictures.setUnfinished(opened, false);
  announce(`${picture.name}, ${counted(editor.scene.marks.length, "mark")}`);
}

/**
 * Leaves the image that is open: until another one is shown, nothing that is done belongs to one.
 * @returns {string} its name, if a mask is in work on it
 */
function close() {
  const unfinished = opened && editor.leave(opened, openedKey) ? opened : "";
  if (unfinished) pictures.setUnfinished(unfinished, true);
  opened = "";
  editor.load([1, 1], []);
  stage.open(null);
  sayBusy("");
  return unfinished;
}

function cannotShow(reason) {
  state.ready = "failed";
  byId("empty").textContent = reason;
  byId("empty").hidden = false;
}

function changed(scene, before, isLoaded) {
  const isAnswered = before.draft?.pending && scene.draft?.answer && !scene.draft.pending;
  const painted = () => {
    const { began, ...times } = editor.times;
    sayTimes({ ...times, all: performance.now() - began });
  };
  stage.refresh(scene, before, isAnswered ? painted : undefined);
  showAll();
  if (isLoaded || scene.marks === before.marks) return;
  if (!opened) return;
  saving.changed(opened, scene.marks);
  pictures.update(opened, { marks: scene.marks.length, edited: true });
}

function showAll() {
  const { scene } = editor;
  panel.show({ scene, classes: classes.names, ...look() });
  byId("undo").disabled = !editor.canUndo;
  byId("redo").disabled = !editor.canRedo;
  state.draft = !scene.draft ? "none" : scene.draft.pending ? "waiting" : "answered";
  showTools(stage);
}

function saved({ state: how, message, picture }) {
  if (how === "conflict" && picture === book.name) byId("conflict").hidden = false;
  if (picture === book.name || how === "failed") saySaved(how, message);
}

async function addClass(name) {
  try {
    await classes.add(name);
    byId("new-class").value = "";
    byId("stage").focus();
    pickClass(page, classes.current);
    stage.repaint();
  } catch (error) {
    bad(error.message);
  }
}

async function found(name, { instances, absent, why }) {
  await classes.refresh();
  if (name !== opened) return;
  const added = editor.addFound(instances);
  showAll();
  stage.repaint();
  say(foundLine(added, instances.length, absent, why), instances.length ? "good" : "");
  byId("stage").focus();
}
