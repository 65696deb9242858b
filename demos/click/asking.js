/** The form that finds all instances of classes by text. */

import { findByText } from "./client.js";
import { byId } from "./elements.js";

/**
 * Lets the form ask.
 * @param {object} options
 * @param {() => string} options.picture the name of the open image
 * @param {(image: string, found: {instances: object[], absent: string[], why: string[]}) => void}
 *   options.found
 * @param {(text: string) => void} options.failed
 */
export function createAsking({ picture, found, failed }) {
  byId("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = byId("ask-text").value.trim();
    const name = picture();
    if (!text || !name || byId("find").disabled) return;
    byId("find").disabled = true;
    byId("find").textContent = "Finding …";
    try {
      found(name, await findByText(name, text, byId("threshold").valueAsNumber || 0.3));
    } catch (error) {
      failed(error.message);
    } finally {
      byId("find").disabled = false;
      byId("find").textContent = "Find";
    }
  });
}

/**
 * What came of it, in words: where nothing was found, why, and what to try.
 * @param {number} added new marks
 * @param {number} found marks, new or there already
 * @param {string[]} absent classes of which there is none
 * @param {string[]} why lines that explain it
 * @returns {string}
 */
export function foundLine(added, found, absent, why = []) {
  if (!found && why.length) return why.map(capital).join(". ");
  const marks = `${found} found`;
  const known = found - added ? `, ${found - added} of them here already` : "";
  const none = absent.length ? `; no ${absent.join(", no ")}` : "";
  return marks + known + none;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
