/**
 * The worker of tools/bench_click.py: our decoder and the reference export, in one page and one
 * runtime, take turns on one image. It loads the click page's own decoder.
 */

import { openDecoder } from "/page/decoder.js";

const URLS = {
  runtimeUrl: "/runtime/",
  preparerUrl: "/models/preparer.onnx",
  decoderUrl: "/models/decoder.onnx",
};
const POINT_LABELS = Float32Array.of(1, -1);

let [runtime, decoder, reference, side] = [null, null, null, 0];
let [embedding, imageHw] = [null, null];

const HANDLERS = { open, picture, clicks, furtherClicks, referenceClicks };

self.addEventListener("message", async ({ data: { type, ...question } }) => {
  try {
    self.postMessage({ answer: (await HANDLERS[type](question)) ?? null });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
});

/** model: {side}; referenceBytes: of segment_anything's own decoder, or null; threads: or null */
async function open({ model, referenceBytes, threads }) {
  side = model.side;
  decoder = await openDecoder({ ...URLS, threads: threads ?? undefined });
  runtime = await import("/runtime/ort.wasm.min.mjs");
  const options = { executionProviders: ["wasm"] };
  reference = referenceBytes && (await runtime.InferenceSession.create(referenceBytes, options));
  return { backend: decoder.backend, threads: decoder.threads };
}

/** name: of an image of the service, imageHw: its size -> milliseconds that preparing took */
async function picture({ name, imageHw: size }) {
  imageHw = size;
  const answer = await fetch(`/api/embedding?picture=${encodeURIComponent(name)}`);
  const shape = answer.headers.get("x-embedding-shape").split(",").map(Number);
  const bytes = await answer.arrayBuffer();
  if (reference) embedding = tensor(new Float32Array(new Float16Array(bytes)), [1, ...shape]);
  return timed(async () => (prepared = await decoder.prepare(bytes, shape)));
}

/** places: [x, y] each in pixels of the model's input -> milliseconds of each lone click */
async function clicks({ places }) {
  return timesOf(places, (place) => decoder.decode(prompt(place)));
}

/** As `clicks`; each click feeds the best candidate of the one before it back. */
async function furtherClicks({ places }) {
  const first = await decoder.decode(prompt(places[0]));
  const size = decoder.maskSize ** 2;
  let earlier = first.logits.slice(size, 2 * size);
  return timesOf(places, async (place) => {
    const { logits } = await decoder.decode({ ...prompt(place), earlier });
    earlier = logits.subarray(size, 2 * size);
  });
}

/** As `clicks`, by the reference -> {times, apart: how far its logits are from ours at most} */
async function referenceClicks({ places }) {
  const feeds = (place) => ({
    image_embeddings: embedding,
    point_coords: tensor(prompt(place).coords, [1, 2, 2]),
    point_labels: tensor(POINT_LABELS, [1, 2]),
    mask_input: tensor(new Float32Array(decoder.maskSize ** 2), [
      1, 1, decoder.maskSize, decoder.maskSize,
    ]),
    has_mask_input: tensor(new Float32Array(1), [1]),
    orig_im_size: tensor(Float32Array.from(imageHw), [2]),
  });
  const times = await timesOf(places, (place) => reference.run(feeds(place)));
  const [theirs, ours] = [await reference.run(feeds(places[0])), await decoder.decode(prompt(places[0]))];
  const low = theirs.low_res_masks.data;
  const apart = ours.logits.reduce((most, value, n) => Math.max(most, Math.abs(value - low[n])), 0);
  return { times, apart };
}

function prompt([x, y]) {
  const at = [Math.min(x, side - 1), Math.min(y, side - 1)];
  return { coords: Float32Array.from([...at, 0, 0]), labels: POINT_LABELS };
}

/** A call that isn't counted, then one for each place. */
async function timesOf(places, work) {
  await work(places[0]);
  const times = [];
  for (const place of places) times.push(await timed(() => work(place)));
  return times;
}

async function timed(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function tensor(values, shape) {
  return new runtime.Tensor("float32", values, shape);
}
