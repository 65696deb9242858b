/** What the page says: which decoder is at work, times, what is saved, notices, announcements. */

import { byId } from "./elements.js";

const SAVED = {
  saved: "Saved",
  waiting: "Saving …",
  conflict: "Not saved: another tab was faster",
};
const SHOWN_MS = 6000;
const READ_MS = 60; // for a letter of a longer line

let timer = 0;

/**
 * Says which decoder answers clicks.
 * @param {{where: string, backend?: string, threads?: number, reason?: string}} decoder
 */
export function sayDecoder({ where, backend, threads, reason }) {
  const count = threads === 1 ? "1 thread" : `${threads} threads`;
  const what = backend === "webgpu" ? "WebGPU" : `WebAssembly, ${count}`;
  const place = where === "page" ? `in this page: ${what}` : "by the service";
  byId("decoder").textContent = `Clicks are answered ${place}`;
  byId("decoder").title = reason ?? "";
  document.documentElement.dataset.decoder = where;
}

/**
 * Says how long the last click took.
 * @param {{decode: number, upsample: number, all: number}} times in milliseconds
 */
export function sayTimes({ decode, upsample, all }) {
  const [a, b, c] = [all, decode, upsample].map((time) => Math.round(time));
  const rest = Math.max(0, a - b - c);
  byId("times").textContent = `Last click ${a} ms: decoder ${b}, mask ${c}, painting ${rest}`;
}

/**
 * Says whether the open image is saved.
 * @param {string} state "saved", "waiting", "failed" or "conflict"
 * @param {string} message of a failure
 */
export function saySaved(state, message) {
  const failed = `Not saved yet: ${message}. Trying again …`;
  byId("saved").textContent = state === "failed" ? failed : SAVED[state];
  byId("saved").dataset.state = state;
  document.documentElement.dataset.saved = state;
}

/**
 * Shows a line for a while, and reads it out.
 * @param {string} text
 * @param {"" | "good" | "bad"} [kind]
 */
export function say(text, kind = "") {
  const message = byId("message");
  message.textContent = text;
  message.className = `notice ${kind}`;
  message.hidden = !text;
  clearTimeout(timer);
  const shown = Math.max(SHOWN_MS, READ_MS * text.length);
  if (kind !== "bad") timer = setTimeout(() => (message.hidden = true), shown);
}

/**
 * A number of things, in words: "1 mark", "2 marks".
 * @param {number} count
 * @param {string} word for one
 * @returns {string}
 */
export const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/**
 * Reads something out to those who don't see the image.
 * @param {string} text
 */
export function announce(text) {
  byId("live").textContent = text;
}

/**
 * Shows what everybody waits for, or that nobody waits.
 * @param {string} text
 */
export function sayBusy(text) {
  byId("busy").textContent = text;
  byId("busy").hidden = !text;
}
