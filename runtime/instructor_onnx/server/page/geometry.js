// Arithmetic on vectors: Float32Array or Float64Array, row after row. Knows no elements.

/** Rows at unit length, so that a product of two is their cosine. */
export function normalized(vectors, width) {
  const unit = new Float32Array(vectors.length);
  for (let start = 0; start < vectors.length; start += width) {
    let square = 0;
    for (let at = start; at < start + width; at++) square += vectors[at] * vectors[at];
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let at = start; at < start + width; at++) unit[at] = vectors[at] * scale;
  }
  return unit;
}

/** The similarity of one row of `unit` to every row. */
export function similarities(unit, width, row) {
  const count = unit.length / width;
  const result = new Float32Array(count);
  for (let other = 0; other < count; other++) {
    let sum = 0;
    for (let at = 0; at < width; at++) sum += unit[row * width + at] * unit[other * width + at];
    result[other] = sum;
  }
  return result;
}

/** The `count` rows that are most similar to `row`, best first; of equals the earlier. */
export function nearest(scores, row, count) {
  const others = [];
  for (let other = 0; other < scores.length; other++) {
    if (other === row) continue;
    if (others.length === count && scores[other] <= scores[others[count - 1]]) continue;
    let place = others.length;
    while (place > 0 && scores[others[place - 1]] < scores[other]) place--;
    others.splice(place, 0, other);
    if (others.length > count) others.pop();
  }
  return others;
}

/**
 * The first two principal components: {points: x, y of each row; share: how much of the variance they hold}.
 *
 * By subspace iteration with a Rayleigh-Ritz step, which needs no matrix of all columns by all columns. `pause` is
 * awaited between the rounds.
 */
export async function pca(vectors, width, pause) {
  const count = vectors.length / width;
  const centred = centre(vectors, width);
  const rank = Math.min(6, count, width);
  let basis = orthonormal(Array.from({ length: rank }, (_, at) => noise(width, at + 1)));
  for (let round = 0; round < 30; round++) {
    basis = orthonormal(basis.map((axis) => back(centred, width, onto(centred, width, axis))));
    await pause();
  }
  const projected = basis.map((axis) => onto(centred, width, axis)); // [rank][count]
  const { vectors: turns, values } = eigen(projected.map((a) => projected.map((b) => dot(a, b))));
  const points = new Float64Array(2 * count);
  for (let axis = 0; axis < Math.min(2, rank); axis++) {
    const values = new Float64Array(count);
    projected.forEach((column, at) => column.forEach((value, row) => (values[row] += turns[axis][at] * value)));
    const largest = values.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
    values.forEach((value, row) => (points[2 * row + axis] = largest < 0 ? -value : value)); // the same for the same texts
  }
  const total = dot(centred, centred);
  return { points, share: total > 0 ? ((values[0] ?? 0) + (values[1] ?? 0)) / total : 1 };
}

/** Points turned, and mirrored where that helps, to lie as near to `target` as they can; both at their own unit size. */
export function aligned(points, target) {
  const [a, b] = [unitSize(points), unitSize(target)];
  let [xx, xy, yx, yy] = [0, 0, 0, 0];
  for (let at = 0; at < a.length; at += 2) {
    xx += a[at] * b[at];
    xy += a[at] * b[at + 1];
    yx += a[at + 1] * b[at];
    yy += a[at + 1] * b[at + 1];
  }
  const mirror = Math.hypot(xx - yy, xy + yx) > Math.hypot(xx + yy, xy - yx) ? -1 : 1;
  const angle = Math.atan2(xy - mirror * yx, xx + mirror * yy);
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  const turned = new Float64Array(a.length);
  for (let at = 0; at < a.length; at += 2) {
    const y = mirror * a[at + 1];
    turned[at] = cosine * a[at] - sine * y;
    turned[at + 1] = sine * a[at] + cosine * y;
  }
  return turned;
}

/** Points whose mean distance from the middle, squared, is 1. */
export function unitSize(points) {
  const scale = Math.sqrt(dot(points, points) / (points.length / 2)) || 1;
  return points.map((value) => value / scale);
}

function centre(vectors, width) {
  const count = vectors.length / width;
  const mean = new Float64Array(width);
  vectors.forEach((value, at) => (mean[at % width] += value / count));
  return Float64Array.from(vectors, (value, at) => value - mean[at % width]);
}

function onto(rows, width, axis) {
  const result = new Float64Array(rows.length / width);
  for (let row = 0; row < result.length; row++) {
    let sum = 0;
    for (let at = 0; at < width; at++) sum += rows[row * width + at] * axis[at];
    result[row] = sum;
  }
  return result;
}

function back(rows, width, weights) {
  const result = new Float64Array(width);
  for (let row = 0; row < weights.length; row++) {
    for (let at = 0; at < width; at++) result[at] += rows[row * width + at] * weights[row];
  }
  return result;
}

function dot(a, b) {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += a[at] * b[at];
  return sum;
}

/** Gram-Schmidt, twice for the sake of rounding; an axis that the others span becomes zero. */
function orthonormal(axes) {
  const done = [];
  for (const axis of axes) {
    const before = Math.sqrt(dot(axis, axis));
    for (let pass = 0; pass < 2; pass++) {
      for (const other of done) {
        const share = dot(axis, other);
        for (let at = 0; at < axis.length; at++) axis[at] -= share * other[at];
      }
    }
    const length = Math.sqrt(dot(axis, axis));
    done.push(axis.map((value) => (length > 1e-12 * before && length > 0 ? value / length : 0)));
  }
  return done;
}

/** Eigenvectors (rows) and eigenvalues of a small symmetric matrix, largest first, by Jacobi's rotations. */
function eigen(matrix) {
  const size = matrix.length;
  const m = matrix.map((row) => row.slice());
  const turns = m.map((_, row) => m.map((_, column) => Number(row === column)));
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        if (m[p][q] === 0) continue;
        const angle = 0.5 * Math.atan2(2 * m[p][q], m[q][q] - m[p][p]);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const rows of [m, turns]) rotate(rows[p], rows[q], c, s);
        for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
      }
    }
  }
  const order = m.map((_, at) => at).sort((a, b) => m[b][b] - m[a][a]);
  return { vectors: order.map((at) => turns[at]), values: order.map((at) => m[at][at]) };
}

function rotate(a, b, c, s) {
  for (let at = 0; at < a.length; at++) [a[at], b[at]] = [c * a[at] - s * b[at], s * a[at] + c * b[at]];
}

/** Numbers from -1 to 1, the same each time. */
function noise(length, seed) {
  let state = seed * 2654435761;
  return Float64Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
