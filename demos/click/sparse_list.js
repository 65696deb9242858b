/** A long list of which only the pages are fetched that somebody looks at, and the last few kept. */

const PAGE = 100;
const MOST_PAGES = 50;

/** @template Row */
export class SparseList {
  /** How many rows there are, once the first page is there. */
  total = 0;
  /** @type {Map<number, Row[]>} */
  #pages = new Map();
  /** @type {Map<number, Promise<void>>} */
  #coming = new Map();
  #fetch;
  #changed;
  #failed;

  /**
   * @param {object} options
   * @param {(offset: number, limit: number) => Promise<{rows: Row[], total: number}>} options.fetch
   * @param {() => void} options.changed called when rows have come
   * @param {(error: Error) => void} options.failed called where they haven't
   */
  constructor({ fetch, changed, failed }) {
    this.#fetch = fetch;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** A row, fetched if need be. @param {number} at; @returns {Promise<Row | undefined>} */
  async get(at) {
    const page = Math.floor(at / PAGE);
    if (!this.#pages.has(page)) await this.#load(page);
    return this.#pages.get(page)?.[at % PAGE];
  }

  /**
   * Rows as far as they are there; those that aren't are fetched.
   * @param {number} first
   * @param {number} last exclusive
   * @returns {(Row | undefined)[]}
   */
  slice(first, last) {
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) {
      if (!this.#pages.has(page)) this.#load(page).catch(this.#failed);
    }
    return Array.from({ length: Math.max(0, last - first) }, (_, n) => {
      const at = first + n;
      return this.#pages.get(Math.floor(at / PAGE))?.[at % PAGE];
    });
  }

  /** @returns {Row[]} all that are there */
  loaded() {
    return [...this.#pages.values()].flat();
  }

  /** Where a row is, of those that are there; else -1. @param {(row: Row) => boolean} isIt */
  indexOf(isIt) {
    for (const [page, rows] of this.#pages) {
      const at = rows.findIndex(isIt);
      if (at >= 0) return page * PAGE + at;
    }
    return -1;
  }

  #load(page) {
    if (!this.#coming.has(page)) {
      const coming = this.#fetched(page).finally(() => this.#coming.delete(page));
      this.#coming.set(page, coming);
    }
    return this.#coming.get(page);
  }

  async #fetched(page) {
    const { rows, total } = await this.#fetch(page * PAGE, PAGE);
    this.total = total;
    this.#pages.set(page, rows);
    const far = (one) => Math.abs(one - page);
    while (this.#pages.size > MOST_PAGES) {
      const farthest = [...this.#pages.keys()].reduce((a, b) => (far(b) > far(a) ? b : a));
      this.#pages.delete(farthest);
    }
    this.#changed();
  }
}
