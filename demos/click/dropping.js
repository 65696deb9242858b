/** Images dropped onto the page go into the folder. */

import { upload } from "./client.js";
import { byId } from "./elements.js";

/**
 * Lets files be dropped.
 * @param {object} options
 * @param {(name: string) => void} options.added called for each file with its name in the folder
 * @param {(text: string) => void} options.failed
 */
export function createDropping({ added, failed }) {
  const shown = byId("drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    shown.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) shown.hidden = true;
  });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    shown.hidden = true;
    for (const file of [...event.dataTransfer.files]) {
      try {
        added((await upload(file)).name);
      } catch (error) {
        failed(`${file.name}: ${error.message}`);
      }
    }
  });
}
