/**
 * Prompts predicted by the service, where this page can't: the same masks, a call for each.
 *
 * @typedef {{about: {where: "page" | "service", backend?: string, threads?: number},
 *   cells: number, canPreview: boolean,
 *   setPicture: (image: string, imageHw: [number, number], signal: AbortSignal) =>
 *     Promise<void>,
 *   predict: (question: object) =>
 *     Promise<{candidates: import("./predicted_mask.js").PredictedMask[], coarse: boolean}>,
 *   preview: (question: object) => Promise<import("./predicted_mask.js").PredictedMask[]>}} Engine
 *   predict takes {prompt, previous}: in pixels of the image, and the mask that the last point
 *   corrects or null; coarse: predicted in the whole image only, because the service was away
 */

import { call } from "./client.js";
import { halvesToFloats } from "./float16.js";
import { floatsToHalves } from "./halves.js";
import { PredictedMask } from "./predicted_mask.js";

const asItIs = (logits) => logits; // The service has refined them.

/**
 * @param {{maskSize: number, side: number, predictor: "whole" | "zoom"}} model
 * @returns {Engine}
 */
export function openServiceEngine({ maskSize: cells, side, predictor }) {
  let [picture, model] = ["", null];

  const predict = async ({ prompt, previous }) => {
    const body = { ...prompt, previous: previous && toBody(previous) };
    const answer = await call("click", { query: { picture }, body });
    const logits = halvesToFloats(await answer.arrayBuffer());
    const candidates = JSON.parse(answer.headers.get("x-candidates")).map(
      ({ window, quality }, n) =>
        new PredictedMask({
          window,
          logits: logits.subarray(n * cells * cells, (n + 1) * cells * cells),
          refine: asItIs,
          quality,
          model,
        }),
    );
    return { candidates, coarse: false };
  };

  return {
    about: { where: "service" },
    cells,
    // Three crops for each move of the pointer would be too much.
    canPreview: predictor === "whole",
    async setPicture(name, imageHw, signal) {
      picture = name;
      model = { side, cells, imageHw };
      // The service encodes the image; what it has made of it isn't needed here.
      const answer = await call("embedding", { query: { picture }, signal });
      await answer.body?.cancel();
    },
    predict,
    preview: async ({ prompt }) => (await predict({ prompt, previous: null })).candidates,
  };
}

function toBody({ window, logits }) {
  return { window, logits: toBase64(floatsToHalves(logits)) };
}

function toBase64(halves) {
  const bytes = new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}
