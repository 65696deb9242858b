/** Prompts answered in this page: the embedding comes once per picture, nothing for a click. */

import { call } from "./client.js";
import { openDecoder } from "./decoder.js";
import { promptRows } from "./geometry.js";

const URLS = {
  runtimeUrl: "/runtime/",
  preparerUrl: "/models/preparer.onnx",
  decoderUrl: "/models/decoder.onnx",
};

/**
 * Opens the decoder in this page.
 * @param {{side: number}} model
 * @returns {Promise<import("./service_engine.js").Engine>}
 * @throws {Error} of one line, where the browser can't run it or files are missing
 */
export async function openPageEngine({ side }) {
  const decoder = await openDecoder(URLS);
  return {
    about: { where: "page", backend: decoder.backend, threads: decoder.threads },
    cells: decoder.maskSize,
    async setPicture(picture, signal) {
      const answer = await call("embedding", { query: { picture }, signal });
      const shape = answer.headers.get("x-embedding-shape").split(",").map(Number);
      await decoder.setEmbedding(await answer.arrayBuffer(), shape);
    },
    decode: ({ prompt, imageHw, earlier }) =>
      decoder.decode({ ...promptRows(prompt, imageHw, side), earlier }),
  };
}
