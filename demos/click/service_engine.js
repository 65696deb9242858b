/**
 * Prompts answered by the service, where this page can't: the same masks, a call for each.
 *
 * @typedef {{about: {where: "page" | "service", backend?: string, threads?: number},
 *   cells: number,
 *   setPicture: (picture: string, signal: AbortSignal) => Promise<void>,
 *   decode: (question: object) => Promise<{logits: Float32Array, quality: Float32Array}>}} Engine
 *   decode takes {prompt, imageHw, earlier}: in pixels of the picture, and cells x cells logits of
 *   an earlier mask or null; it gives 4 x cells x cells logits and quality 4
 */

import { call } from "./client.js";
import { halvesToFloats } from "./float16.js";
import { floatsToHalves } from "./halves.js";

/**
 * @param {{maskSize: number}} model
 * @returns {Engine}
 */
export function openServiceEngine({ maskSize }) {
  let picture = "";
  return {
    about: { where: "service" },
    cells: maskSize,
    async setPicture(name, signal) {
      picture = name;
      // The service encodes the picture; what it has made of it isn't needed here.
      const answer = await call("embedding", { query: { picture }, signal });
      await answer.body?.cancel();
    },
    async decode({ prompt, earlier }) {
      const body = { ...prompt, earlier: earlier && toBase64(floatsToHalves(earlier)) };
      const answer = await call("click", { query: { picture }, body });
      return {
        logits: halvesToFloats(await answer.arrayBuffer()),
        quality: Float32Array.from(answer.headers.get("x-quality").split(",").map(Number)),
      };
    },
  };
}

function toBase64(halves) {
  const bytes = new Uint8Array(halves.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}
