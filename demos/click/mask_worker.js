/**
 * The worker that turns prompts into masks, so that the page never waits for one. It asks the
 * decoder in this page or the service; who asks the worker needs not know which.
 *
 * A message is {id, type, ...}, its answer {id, ...} or {id, error}:
 *   open {model, inPage} -> {where, backend, threads, reason}
 *   picture {picture, imageHw} -> {} once prompts can be answered; ends what waits for another one
 *   decode {prompt, earlier} -> {answer, quality, candidate, ambiguous, bounds, times}
 *     earlier: {answer, candidate} | {bounds} | null; times: {decode, upsample} in milliseconds
 *   candidate {answer, candidate} -> {candidate, bounds, times}
 */

import { createAnswers } from "./answers.js";
import { remindOfBox } from "./box_prior.js";
import { call } from "./client.js";
import { createColours } from "./colours.js";
import { boundsToLogits } from "./fed_back.js";
import { bestAnswer, isAmbiguous } from "./geometry.js";
import { openServiceEngine } from "./service_engine.js";
import { logitsToBounds } from "./upsample.js";

const answers = createAnswers();
const asItIs = (logits) => logits;
let [engine, model, imageHw, mend] = [null, null, null, asItIs];
let waiting = new AbortController();
let turn = Promise.resolve();

const HANDLERS = { open, picture: setPicture, decode, candidate: showCandidate };

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
      return engine.about;
    } catch (error) {
      reason = error.message;
    }
  }
  engine = openServiceEngine(model);
  warmUp();
  return { ...engine.about, reason };
}

/** Has the browser compile what makes masks, on a disc, while nobody waits for one. */
function warmUp() {
  const { cells } = engine;
  const square = (place) => (place - cells / 2) ** 2;
  const logits = Float32Array.from(
    { length: cells * cells },
    (_, n) => cells ** 2 / 16 - square(n % cells) - square(Math.floor(n / cells)),
  );
  if (model.nearSighted) {
    const mended = createColours(new ArrayBuffer(cells * cells * 5), [cells, cells], cells);
    for (let n = 0; n < 2; n += 1) mended(logits);
  }
  for (let n = 0; n < 16; n += 1) logitsToBounds(logits, cells, [1500, 2250], model.side);
}

async function setPicture({ picture, imageHw: size, signal }) {
  signal.throwIfAborted();
  imageHw = size;
  const colours = model.nearSighted ? coloursOf(picture, signal) : asItIs;
  [mend] = await Promise.all([colours, engine.setPicture(picture, signal)]);
}

/** What makes the masks of a near-sighted model agree with a picture's colours. */
async function coloursOf(picture, signal) {
  const answer = await call("cells", { query: { picture }, signal });
  const size = answer.headers.get("x-cells-shape").split(",").map(Number);
  return createColours(await answer.arrayBuffer(), size, engine.cells);
}

async function decode({ prompt, earlier }) {
  const began = performance.now();
  const logits = earlierLogits(earlier);
  const given = await engine.decode({ prompt, imageHw, earlier: logits });
  if (model.nearSighted && prompt.box && !prompt.points.length) {
    remindOfBox(given.logits, prompt.box, imageHw, model.side, engine.cells);
  }
  const ambiguous = isAmbiguous(prompt, logits !== null);
  const candidate = bestAnswer(given.quality, ambiguous);
  const decoded = performance.now() - began;
  const id = answers.keep(given, mend);
  const { bounds, times } = shown(id, candidate);
  return {
    answer: id,
    quality: Array.from(given.quality),
    candidate,
    ambiguous,
    bounds,
    times: { ...times, decode: decoded },
  };
}

function showCandidate({ answer: id, candidate }) {
  return { candidate, ...shown(id, candidate) };
}

function shown(id, candidate) {
  const began = performance.now();
  const logits = answers.mask(id, candidate);
  if (!logits) throw new Error("this answer is no longer kept: click again");
  const bounds = logitsToBounds(logits, engine.cells, imageHw, model.side);
  return { bounds, times: { decode: 0, upsample: performance.now() - began } };
}

function earlierLogits(earlier) {
  if (!earlier) return null;
  if (earlier.bounds) return boundsToLogits(earlier.bounds, imageHw, model.side, engine.cells);
  return answers.mask(earlier.answer, earlier.candidate);
}
