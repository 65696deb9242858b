/** The service's HTTP interface, call by call. Every error is a ServiceError with one line. */

/** What the service refused, or that it wasn't there (status 0). */
export class ServiceError extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP; 0 where no answer came
   * @param {object} body the answer's JSON
   */
  constructor(message, status, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/**
 * Calls the service.
 * @param {string} path
 * @param {object} [options]
 * @param {string} [options.method]
 * @param {Record<string, string | number>} [options.query]
 * @param {object | FormData} [options.body] sent as JSON, a form as it is
 * @param {AbortSignal} [options.signal]
 * @param {boolean} [options.keepalive] whether it may outlive the page
 * @returns {Promise<Response>}
 * @throws {ServiceError}
 */
export async function call(path, { method, query = {}, body, signal, keepalive } = {}) {
  const address = `/api/${path}?${new URLSearchParams(query)}`;
  const isForm = body instanceof FormData;
  const options = { method: method ?? (body ? "POST" : "GET"), signal, keepalive };
  if (body) options.body = isForm ? body : JSON.stringify(body);
  if (body && !isForm) options.headers = { "content-type": "application/json" };
  const answer = await fetch(address, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("the service doesn't answer", 0);
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new ServiceError(said.error ?? `the service answers ${answer.status}`, answer.status, said);
}

const json = async (...args) => (await call(...args)).json();

/** @returns {Promise<object>} folder, model, inPage, classes, images, output */
export const getSession = () => json("session");

/**
 * A page of the list of images, in order of name.
 * @param {{offset: number, limit: number, contains: string}} query contains: what is in the names
 * @returns {Promise<{images: object[], total: number}>} total: of those that contain it
 */
export const getPictures = (query) => json("pictures", { query });

/**
 * @param {string} image name
 * @param {string} contains
 * @returns {Promise<{place: number | null}>} where it is in that list, from 0
 */
export const getPlace = (picture, contains) => json("place", { query: { picture, contains } });

/**
 * How many marks are on images that the model has answered, of as many as can be said soon.
 * @param {string[]} images names
 * @returns {Promise<{counts: Record<string, number>}>}
 */
export const getCounts = (pictures) => json("counts", { body: { pictures } });

/**
 * @param {string} image name
 * @returns {Promise<object>} name, width, height, uid, revision, marks, failed
 */
export const getPicture = (picture) => json("picture", { query: { picture } });

/**
 * The image's pixels, ready to be drawn.
 * @param {string} image
 * @returns {Promise<ImageBitmap>}
 */
export async function getImage(picture) {
  const answer = await call("image", { query: { picture } });
  return createImageBitmap(await answer.blob());
}

/**
 * Has an image encoded before it is needed; nothing depends on it.
 * @param {string} image
 */
export async function encodeAhead(picture) {
  const answer = await call("embedding", { query: { picture, ahead: 1 } });
  await answer.body?.cancel();
}

/**
 * @param {string} image
 * @param {string} text what to find all of
 * @param {number} threshold the least score, 0 to 1
 * @returns {Promise<{instances: object[], absent: string[], why: string[]}>}
 */
export const findByText = (picture, text, threshold) =>
  json("text", { query: { picture }, body: { text, threshold } });

/**
 * @param {string} image
 * @param {{revision: number, tab: string, marks: object[]}} body
 * @param {boolean} keepalive whether it may outlive the page
 * @returns {Promise<{revision: number}>}
 */
export const putMarks = (picture, body, keepalive = false) =>
  json("marks", { method: "PUT", query: { picture }, body, keepalive });

/**
 * @param {string} image
 * @param {string} tab id of this tab
 * @param {boolean} leaving whether the tab is about to go
 * @returns {Promise<{others: number}>} how many other tabs have the image open
 */
export const tellTab = (picture, tab, leaving = false) =>
  json("tab", { query: { picture }, body: { tab, leaving }, keepalive: leaving });

/**
 * @param {string} name
 * @returns {Promise<{classes: {id: number, name: string}[]}>}
 */
export const addClass = (name) => json("classes", { body: { name } });

/** @returns {Promise<{output: string, instances: number, images: number}>} */
export const saveCoco = () => json("save", { method: "POST" });

/**
 * @param {File} file
 * @returns {Promise<{name: string}>} what it is called in the folder
 */
export function upload(file) {
  const form = new FormData();
  form.append("file", file);
  return json("upload", { body: form });
}
