/**
 * Encoded windows of the image at work: the service encodes them, this page prepares and keeps
 * them. The whole image stays; of crops, those that were used last.
 */

import { call } from "./client.js";
import { createColors } from "./colors.js";
import { labCells } from "./obedience.js";

const MAX_CROPS = 4;
const asItIs = (logits) => logits;

/**
 * @param {object} options
 * @param {import("./decoder.js").Decoder} options.decoder
 * @param {boolean} options.refined whether masks agree with the image's colors
 * @param {string} options.picture its name
 * @param {[number, number]} options.imageHw
 * @param {AbortSignal} options.signal ends what waits for the service
 * @returns {(window: import("./predicted_mask.js").Window) =>
 *   Promise<import("./predictor.js").Crop>}
 */
export function createCrops({ decoder, refined, picture, imageHw, signal }) {
  const kept = new Map();
  const whole = `0,0,${imageHw[1]},${imageHw[0]}`;

  const open = async (key) => {
    const query = key === whole ? { picture } : { picture, window: key };
    const [features, colors] = await Promise.all([
      call("embedding", { query, signal }),
      refined ? call("cells", { query, signal }) : null,
    ]);
    const prepared = await decoder.prepare(
      await features.arrayBuffer(),
      numbers(features, "x-embedding-shape"),
    );
    return {
      decode: (rows) => decoder.decode({ ...rows, prepared }),
      ...(colors ? await colorsOf(colors, decoder.maskSize) : { refine: asItIs, lab: null }),
    };
  };

  return (window) => {
    const key = window.join(",");
    const found = kept.get(key) ?? open(key);
    kept.delete(key);
    kept.set(key, found);
    found.catch(() => kept.get(key) === found && kept.delete(key));
    for (const old of [...kept.keys()].filter((one) => one !== whole).slice(0, -MAX_CROPS)) {
      kept.delete(old);
    }
    return found;
  };
}

const numbers = (answer, header) => answer.headers.get(header).split(",").map(Number);

async function colorsOf(answer, cells) {
  const [rows, columns, ...first] = numbers(answer, "x-cells-shape");
  const bytes = await answer.arrayBuffer();
  if (!rows || !columns) return { refine: asItIs, lab: null };
  const rgb = new Uint8Array(bytes, 2 * rows * columns);
  return {
    refine: createColors(bytes, [rows, columns], cells, first),
    lab: labCells(rgb, [rows, columns], cells, first),
  };
}
