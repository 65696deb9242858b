/**
 * The page's side of the mask worker: questions out, answers in. At most one question is at work;
 * of the previews that wait for it only the newest is asked. Where prompts are predicted in the
 * whole image, as previews are, a click on what was last previewed has that preview's answer.
 */

/**
 * @param {Worker} worker mask_worker.js
 * @returns {Decoding}
 */
export function createDecoding(worker) {
  const open = new Map();
  let last = 0;
  let ready = Promise.resolve();
  let retry = null; // asks again for a picture that couldn't be encoded
  let [busy, nextPreview] = [0, null];
  let previewed = { key: "", answer: null };
  let [zooms, canPreview] = [false, true];

  worker.addEventListener("message", ({ data }) => {
    const { resolve, reject } = open.get(data.id);
    open.delete(data.id);
    if (data.error) reject(Object.assign(new Error(data.error), { aborted: data.aborted }));
    else resolve(data);
  });

  const ask = (type, question = {}) => {
    last += 1;
    worker.postMessage({ id: last, type, ...question });
    return new Promise((resolve, reject) => open.set(last, { resolve, reject }));
  };

  const counted = async (work) => {
    busy += 1;
    try {
      return await work();
    } finally {
      busy -= 1;
      if (!busy && nextPreview) nextPreview();
    }
  };

  const decode = (prompt, earlier) => counted(() => ask("decode", { prompt, earlier }));

  const fromPreview = async () => {
    const began = performance.now();
    const answer = await previewed.answer;
    return { ...answer, times: { decode: performance.now() - began, upsample: 0 } };
  };

  const askPreview = (prompt) =>
    zooms ? counted(() => ask("preview", { prompt })) : decode(prompt, null);

  return {
    async open(session) {
      const about = await ask("open", session);
      zooms = session.model.predictor === "zoom";
      canPreview = about.canPreview;
      return about;
    },
    setPicture(picture, imageHw) {
      nextPreview = null;
      previewed = { key: "", answer: null };
      const again = () => {
        retry = null;
        ready = ask("picture", { picture, imageHw });
        ready.catch((error) => (retry = error.aborted ? null : again));
        return ready;
      };
      return again();
    },
    async decode(prompt, earlier) {
      if (retry) retry();
      await ready;
      const isKnown = !zooms && !earlier && previewed.key === JSON.stringify(prompt);
      return isKnown ? fromPreview() : decode(prompt, earlier);
    },
    candidate: (answer, candidate) => counted(() => ask("candidate", { answer, candidate })),
    preview(prompt, show) {
      if (!canPreview) return;
      const key = JSON.stringify(prompt);
      nextPreview = () => {
        nextPreview = null;
        if (previewed.key !== key) previewed = { key, answer: askPreview(prompt) };
        previewed.answer.then(show, () => (previewed = { key: "", answer: null }));
      };
      if (!busy || previewed.key === key) nextPreview();
    },
    dropPreview() {
      nextPreview = null;
    },
  };
}

/**
 * @typedef {object} Decoding
 * @property {(session: object) => Promise<object>} open which decoder is at work
 * @property {(image: string, imageHw: [number, number]) => Promise<object>} setPicture
 *   resolves once prompts can be answered
 * @property {(prompt: object, earlier: object) => Promise<object>} decode waits for the image
 * @property {(answer: number, candidate: number) => Promise<object>} candidate another one of an
 *   earlier answer
 * @property {(prompt: object, show: (answer: object) => void) => void} preview the newest wins
 * @property {() => void} dropPreview forgets the one that waits
 */
