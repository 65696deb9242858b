/**
 * The worker that turns prompts into masks, so that the page never waits for one. It asks the
 * decoder in this page or the service; who asks the worker needs not know which.
 *
 * A message is {id, type, ...}, its answer {id, ...} or {id, error}:
 *   open {model, inPage} -> {where, backend, threads, reason, canPreview}
 *   image {image, imageHw} -> {} once prompts can be answered; ends what waits for another one
 *   decode {prompt, earlier} -> {answer, quality, candidate, ambiguous, coarse, bounds, times}
 *     earlier: {answer, candidate} | {bounds} | null; times: {decode, upsample} in milliseconds
 *   preview {prompt} -> {bounds} in the whole image
 *   candidate {answer, candidate} -> {candidate, bounds, times}
 */

import { createAnswers } from "./answers.js";
import { createColors } from "./colors.js";
import { isAmbiguous } from "./geometry.js";
import { lowResOfBounds } from "./predicted_mask.js";
import { openServiceEngine } from "./service_engine.js";
import { logitsToBounds } from "./upsample.js";

const answers = createAnswers();
let [engine, model, imageHw] = [null, null, null];
let waiting = new AbortController();
let turn = Promise.resolve();

const HANDLERS = { open, picture: setPicture, decode, preview, candidate: showCandidate };

self.addEventListener("message", ({ data }) => {
  if (data.type === "picture") {
    waiting.abort();
    waiting = new AbortController();
    data.signal = waiting.signal;
  }
  turn = turn.then(() => answer(data));
});

async function answer({ id, type, ...question }) {
  try {
    const given = (await HANDLERS[type](question)) ?? {};
    self.postMessage({ id, ...given }, given.bounds ? [given.bounds.buffer] : []);
  } catch (error) {
    self.postMessage({ id, error: error.message, aborted: error.name === "AbortError" });
  }
}

async function open(session) {
  model = session.model;
  let reason = session.inPage ? "" : "the page's runtime isn't installed";
  if (session.inPage) {
    try {
      const { openPageEngine } = await import("./page_engine.js");
      engine = await openPageEngine(model);
      warmUp();
      return { ...engine.about, canPreview: engine.canPreview };
    } catch (error) {
      reason = error.message;
    }
  }
  engine = openServiceEngine(model);
  warmUp();
  return { ...engine.about, canPreview: engine.canPreview, reason };
}

/** Has the browser compile what makes masks, on a disc, while nobody waits for one. */
function warmUp() {
  const { cells } = engine;
  const square = (place) => (place - cells / 2) ** 2;
  const logits = Float32Array.from(
    { length: cells * cells },
    (_, n) => cells ** 2 / 16 - square(n % cells) - square(Math.floor(n / cells)),
  );
  if (model.predictor === "zoom") {
    const mended = createColors(new ArrayBuffer(cells * cells * 5), [cells, cells], cells, [0, 0]);
    for (let n = 0; n < 2; n += 1) mended(logits);
  }
  for (let n = 0; n < 16; n += 1) logitsToBounds(logits, cells, [1500, 2250], model.side);
}

async function setPicture({ picture, imageHw: size, signal }) {
  signal.throwIfAborted();
  imageHw = size;
  await engine.setPicture(picture, size, signal);
}

async function decode({ prompt, earlier }) {
  const began = performance.now();
  const previous = previousMask(earlier);
  const { candidates, coarse } = await engine.predict({ prompt, previous });
  const ambiguous = isAmbiguous(prompt, previous !== null);
  const decoded = performance.now() - began;
  const id = answers.keep(candidates);
  const { bounds, times } = shown(id, 0);
  return {
    answer: id,
    quality: candidates.map(({ quality }) => quality),
    candidate: 0,
    ambiguous,
    coarse,
    bounds,
    times: { ...times, decode: decoded },
  };
}

async function preview({ prompt }) {
  const [{ bounds }] = await engine.preview({ prompt });
  return { bounds: bounds.slice() };
}

function showCandidate({ answer: id, candidate }) {
  return { candidate, ...shown(id, candidate) };
}

function shown(id, candidate) {
  const began = performance.now();
  const mask = answers.get(id, candidate);
  if (!mask) throw new Error("this answer is no longer kept: click again");
  const bounds = mask.bounds.slice(); // It goes over to the page, and may be asked for again.
  return { bounds, times: { decode: 0, upsample: performance.now() - began } };
}

function previousMask(earlier) {
  if (!earlier) return null;
  if (earlier.bounds) return lowResOfBounds(earlier.bounds, imageHw, model.side, engine.cells);
  return answers.get(earlier.answer, earlier.candidate)?.lowRes ?? null;
}
