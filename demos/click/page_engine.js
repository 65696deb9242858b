/** Prompts predicted in this page: embeddings come from the service, masks are made here. */

import { ServiceError } from "./client.js";
import { createCrops } from "./crops.js";
import { openDecoder } from "./decoder.js";
import { predict, predictWhole } from "./predictor.js";

const URLS = {
  runtimeUrl: "/runtime/",
  preparerUrl: "/models/preparer.onnx",
  decoderUrl: "/models/decoder.onnx",
};

/**
 * Opens the decoder in this page.
 * @param {{side: number, predictor: "whole" | "zoom"}} model
 * @returns {Promise<import("./service_engine.js").Engine>}
 * @throws {Error} of one line, where the browser can't run it or files are missing
 */
export async function openPageEngine({ side, predictor }) {
  const decoder = await openDecoder(URLS);
  const cells = decoder.maskSize;
  let [model, cropOf] = [null, null];
  return {
    about: { where: "page", backend: decoder.backend, threads: decoder.threads },
    cells,
    canPreview: true,
    async setPicture(picture, imageHw, signal) {
      model = { kind: predictor, side, cells, imageHw };
      cropOf = createCrops({ decoder, refined: predictor === "zoom", picture, imageHw, signal });
      await cropOf([0, 0, imageHw[1], imageHw[0]]);
    },
    async predict({ prompt, previous }) {
      try {
        return { candidates: await predict(model, cropOf, prompt, previous), coarse: false };
      } catch (error) {
        if (!(error instanceof ServiceError) || error.status) throw error;
      }
      // The service is away, and the whole image is at hand.
      const candidates = await predictWhole(model, cropOf, prompt, previous);
      return { candidates, coarse: true };
    },
    preview: ({ prompt }) => predictWhole(model, cropOf, prompt, null),
  };
}
