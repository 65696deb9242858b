/**
 * The guided filter (He et al. 2010): a map is smoothed, but keeps the edges of an image. The twin
 * of perception/guided_filter.py, which says how it works.
 */

/** The variance of colors, each in 0..1, below which a window counts as flat. */
const EPSILON = 1e-4;

/** The pairs of colors, and where a symmetric 3 x 3 matrix has them. */
const PAIRS = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]];
const AT = [[0, 1, 2], [1, 3, 4], [2, 4, 5]];

/**
 * What smooths maps as the edges of an image have it.
 * @param {Uint8Array} rgb rows * columns * 3
 * @param {[number, number]} size rows and columns
 * @param {number} radius a window is 2 * radius + 1 cells wide
 * @returns {(values: Float64Array) => Float64Array} a map of rows * columns, smoothed
 */
export function createGuidedFilter(rgb, size, radius) {
  const count = size[0] * size[1];
  const mean = createMean(size, radius);
  const plane = (k) => Float64Array.from({ length: count }, (_, n) => rgb[3 * n + k] / 255);
  const guide = [0, 1, 2].map(plane);
  const means = guide.map(mean);
  const covariances = PAIRS.map(([i, j]) => {
    const found = covariance(mean, [guide[i], means[i]], [guide[j], means[j]]);
    return i === j ? found.map((value) => value + EPSILON) : found;
  });
  const inverse = inverted(covariances);

  return (values) => {
    const own = mean(values);
    const shared = guide.map((color, i) => covariance(mean, [color, means[i]], [values, own]));
    const slopes = AT.map((row) => dot(row.map((at) => inverse[at]), shared));
    const start = mean(added(own, dot(slopes, means), -1));
    return added(start, dot(slopes.map(mean), guide), 1);
  };
}

/** The covariance of two maps in each window; of both: the map and its mean. */
function covariance(mean, [a, meanOfA], [b, meanOfB]) {
  const product = new Float64Array(a.length);
  for (let n = 0; n < a.length; n += 1) product[n] = a[n] * b[n];
  const found = mean(product);
  for (let n = 0; n < a.length; n += 1) found[n] -= meanOfA[n] * meanOfB[n];
  return found;
}

/** The inverses of a symmetric 3 x 3 matrix for each cell, by its cofactors; six planes, as PAIRS. */
function inverted([rr, rg, rb, gg, gb, bb]) {
  const planes = PAIRS.map(() => new Float64Array(rr.length));
  for (let n = 0; n < rr.length; n += 1) {
    const a = gg[n] * bb[n] - gb[n] * gb[n];
    const b = gb[n] * rb[n] - rg[n] * bb[n];
    const c = rg[n] * gb[n] - gg[n] * rb[n];
    const d = rr[n] * bb[n] - rb[n] * rb[n];
    const e = rb[n] * rg[n] - rr[n] * gb[n];
    const f = rr[n] * gg[n] - rg[n] * rg[n];
    const determinant = rr[n] * a + rg[n] * b + rb[n] * c;
    [a, b, c, d, e, f].forEach((cofactor, k) => (planes[k][n] = cofactor / determinant));
  }
  return planes;
}

/** The dot product of two vectors of three planes, cell by cell. */
function dot([a, b, c], [x, y, z]) {
  const total = new Float64Array(a.length);
  for (let n = 0; n < total.length; n += 1) total[n] = a[n] * x[n] + b[n] * y[n] + c[n] * z[n];
  return total;
}

/** A map and so many times another one. */
function added(a, b, times) {
  const total = new Float64Array(a.length);
  for (let n = 0; n < total.length; n += 1) total[n] = a[n] + times * b[n];
  return total;
}

/** The mean of the window around each cell, what is beyond the edge mirrored. */
function createMean([rows, columns], radius) {
  const across = mirrored(columns, radius);
  const down = mirrored(rows, radius);
  const window = 2 * radius + 1;
  const below = new Float64Array(columns); // the sums of the columns of a window's rows
  const add = (values, row, times) => {
    const start = down[row] * columns;
    for (let n = 0; n < columns; n += 1) below[n] += times * values[start + n];
  };
  return (values) => {
    const means = new Float64Array(rows * columns);
    below.fill(0);
    for (let row = 0; row < window - 1; row += 1) add(values, row, 1);
    for (let row = 0; row < rows; row += 1) {
      add(values, row + window - 1, 1);
      let sum = 0;
      for (let n = 0; n < window - 1; n += 1) sum += below[across[n]];
      for (let n = 0, at = row * columns; n < columns; n += 1, at += 1) {
        sum += below[across[n + window - 1]];
        means[at] = sum / (window * window);
        sum -= below[across[n]];
      }
      add(values, row, -1);
    }
    return means;
  };
}

/** The indices of a line with `radius` more on each side, mirrored at the middles of its ends. */
function mirrored(length, radius) {
  return Int32Array.from({ length: length + 2 * radius }, (_, n) => {
    let at = n - radius;
    while (length > 1 && (at < 0 || at >= length)) at = at < 0 ? -at : 2 * (length - 1) - at;
    return length > 1 ? at : 0;
  });
}
