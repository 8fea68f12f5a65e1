// A label's sign: a colour and a shape, as colour alone is not seen by everybody.

import { colour, shape } from "./dom.js";

// Of radius 1, about the middle.
const PATHS = [
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  "M-.9-.9H.9V.9H-.9Z",
  "M0-1.15L1.1.8H-1.1Z",
  "M0-1.25L1.25 0L0 1.25L-1.25 0Z",
  "M-.38-1.1H.38V-.38H1.1V.38H.38V1.1H-.38V.38H-1.1V-.38H-.38Z",
  "M0 1.15L-1.1-.8H1.1Z",
  "M0-1.25L.33-.4L1.2-.38L.52.16L.76 1L0 .5L-.76 1L-.52.16L-1.2-.38L-.33-.4Z",
  "M-1 0L-.5-.9H.5L1 0L.5.9H-.5Z",
];
export const MOST_SIGNS = PATHS.length;

/** Which sign each label has: {names (null: no labels), of: the sign of each text}; the rarest share the last. */
export function signs(labels, count) {
  if (!labels) return { names: null, of: new Array(count).fill(0) };
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  let names = [...counts.keys()];
  if (names.length > MOST_SIGNS) {
    names.sort((a, b) => counts.get(b) - counts.get(a));
    const others = names.length - MOST_SIGNS + 1;
    names = [...names.slice(0, MOST_SIGNS - 1), `${others} other labels`];
  }
  const places = new Map(names.map((name, at) => [name, at]));
  return { names, of: labels.map((label) => places.get(label) ?? MOST_SIGNS - 1) };
}

export const signColour = (sign) => colour(`--sign-${sign}`);

const drawn = PATHS.map((path) => new Path2D(path));

/** Draw a sign on a canvas. */
export function drawSign(context, sign, x, y, radius) {
  context.save();
  context.translate(x, y);
  context.scale(radius, radius);
  context.fill(drawn[sign]);
  context.lineWidth = 1 / radius;
  context.stroke(drawn[sign]);
  context.restore();
}

/** The same as an element of SVG. */
export function signShape(sign, x, y, radius, attributes = {}) {
  return shape("path", { d: PATHS[sign], transform: `translate(${x} ${y}) scale(${radius})`, ...attributes });
}

/** A sign for a list: decoration, as its name stands beside it. */
export function signIcon(sign) {
  const path = signShape(sign, 7, 7, 5, { class: `sign-${sign}` });
  return shape("svg", { viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true" }, path);
}
