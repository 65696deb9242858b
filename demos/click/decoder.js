/**
 * The mask decoder in the page: two graphs, one session each, run by WebAssembly.
 *
 * The preparer makes of an embedding, once, what all prompts on it share; the decoder answers each
 * prompt from that. Only the embedding comes over the wire, once; nothing does for a prompt.
 *
 * Not WebGPU: its build of the runtime is twice as large, and whether its answers are the same can
 * only be shown on each adapter, while WebAssembly's are tested.
 */

import { halvesToFloats } from "./float16.js";

const MASKS = 4;
const MOST_THREADS = 8;

/**
 * Loads the runtime and opens the two graphs.
 *
 * @param {{runtimeUrl: string, preparerUrl: string, decoderUrl: string, threads?: number}} options
 *   runtimeUrl: the folder with the runtime's three files; threads: at most so many, by default as
 *   many as there are cores; one where the page is not isolated from others
 * @returns {Promise<Decoder>}
 * @throws {Error} of one line, where the files are missing or the browser can't run them
 */
export async function openDecoder({ runtimeUrl, preparerUrl, decoderUrl, threads }) {
  try {
    const runtime = await loadRuntime(runtimeUrl, threads);
    const [preparer, decoder] = await Promise.all(
      [preparerUrl, decoderUrl].map(async (url) => openSession(runtime, await fetchBytes(url))),
    );
    return new Decoder(runtime, preparer, decoder);
  } catch (error) {
    throw new Error(`no decoder in this page: ${String(error?.message ?? error).split("\n")[0]}`);
  }
}

/** One session of each graph. */
export class Decoder {
  #runtime;
  #preparer;
  #decoder;
  #turn = Promise.resolve();

  /**
   * @param {object} runtime onnxruntime-web
   * @param {object} preparer the session of the preparer
   * @param {object} decoder the session of the decoder
   */
  constructor(runtime, preparer, decoder) {
    this.#runtime = runtime;
    this.#preparer = preparer;
    this.#decoder = decoder;
    const earlier = decoder.inputMetadata.find(({ name }) => name === "earlier");
    if (!earlier) throw new Error("the graphs are of another version: export them again");
    /** What computes. */
    this.backend = "wasm";
    /** How many threads do. */
    this.threads = runtime.env.wasm.numThreads;
    /** Side of the square logits. */
    this.maskSize = earlier.shape[2];
  }

  /**
   * Makes of an embedding what all prompts on it share.
   *
   * @param {ArrayBuffer} float16bytes C x h x w halves
   * @param {[number, number, number]} shape C, h, w
   * @returns {Promise<object>} what `decode` takes as `prepared`
   */
  prepare(float16bytes, shape) {
    const embedding = this.#tensor(halvesToFloats(float16bytes), [1, ...shape]);
    return this.#alone(() => this.#preparer.run({ embedding }));
  }

  /**
   * One prompt on a prepared embedding.
   *
   * @param {object} prompt
   * @param {object} prompt.prepared what `prepare` gave
   * @param {Float32Array} prompt.coords K x 2, (x, y) in pixels of the model's input
   * @param {Float32Array} prompt.labels K: -1 padding, 0 out, 1 in, 2 and 3 the corners of a box
   * @param {Float32Array | null} [prompt.earlier] the logits of an earlier answer, maskSize^2
   * @returns {Promise<{logits: Float32Array, quality: Float32Array}>} logits 4 x maskSize x maskSize
   *   and quality 4; index 0 is the single-mask answer, 1 to 3 are the candidates
   */
  async decode({ prepared, coords, labels, earlier = null }) {
    const places = labels.length;
    const side = this.maskSize;
    const inputs = {
      ...prepared,
      coords: this.#tensor(coords, [1, places, 2]),
      labels: this.#tensor(labels, [1, places]),
      least_quality: this.#tensor(new Float32Array(MASKS).fill(-Infinity), [MASKS]),
      earlier: this.#tensor(earlier ?? new Float32Array(0), [1, earlier ? 1 : 0, side, side]),
    };
    const { logits, quality } = await this.#alone(() => this.#decoder.run(inputs));
    return { logits: logits.data, quality: quality.data };
  }

  /** Frees the sessions. */
  async release() {
    await Promise.all([this.#preparer.release(), this.#decoder.release()]);
  }

  /** One run at a time: the runtime takes no second one while it is at one. */
  #alone(run) {
    const done = this.#turn.then(run);
    this.#turn = done.catch(() => {});
    return done;
  }

  #tensor(values, shape) {
    return new this.#runtime.Tensor("float32", values, shape);
  }
}

async function loadRuntime(runtimeUrl, threads) {
  const folder = new URL(runtimeUrl.replace(/\/?$/, "/"), import.meta.url).href;
  const runtime = await import(`${folder}ort.wasm.min.mjs`);
  runtime.env.wasm.wasmPaths = folder;
  const cores = Math.min(threads ?? globalThis.navigator?.hardwareConcurrency ?? 1, MOST_THREADS);
  runtime.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.max(1, cores) : 1;
  runtime.env.logLevel = "error";
  return runtime;
}

async function fetchBytes(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

function openSession(runtime, bytes) {
  return runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
}
