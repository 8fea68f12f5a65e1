// The similarity matrix as a heat map: a canvas that pointer and arrow keys read.

import { colour, element } from "./dom.js";
import { signColour } from "./shapes.js";

export const MOST_TEXTS = 300;
const BAND = 10; // pixels of a label's colour, beside the rows and above the columns
const SIZE = 400;

/**
 * A heat map of one instruction.
 *
 * @param matrix Float32Array [order.length, order.length], rows and columns in `order`
 * @param order the texts' numbers, as they are drawn
 * @param of the sign of each text; null where there are no labels
 * @param name what the instruction is called
 * @param onRead called with the two texts of a cell and their similarity
 */
export function heatmap(matrix, order, of, name, onRead) {
  const count = order.length;
  const band = of ? BAND : 0;
  let [low, high] = [Infinity, -Infinity];
  for (let at = 0; at < matrix.length; at++) {
    if (at % (count + 1) === 0) continue; // the diagonal: a text with itself
    low = Math.min(low, matrix[at]);
    high = Math.max(high, matrix[at]);
  }
  const canvas = element("canvas", {
    tabIndex: 0,
    role: "application",
    ariaRoleDescription: "heat map",
    ariaLabel: `Similarities under ${name}. Arrow keys go from cell to cell.`,
  });
  const cell = (SIZE - band) / count;
  let cursor = null;

  function draw() {
    const dense = Math.min(2, devicePixelRatio || 1);
    canvas.width = canvas.height = SIZE * dense;
    const context = canvas.getContext("2d");
    context.scale(dense, dense);
    const scale = [colour("--heat-0"), colour("--heat-1"), colour("--heat-2")].map(channels);
    // each cell a pixel of a small picture, which is then drawn large
    const small = new OffscreenCanvas(count, count);
    const pixels = new ImageData(count, count);
    matrix.forEach((value, at) => {
      const part = high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 1;
      pixels.data.set([...mixed(scale, part), 255], 4 * at);
    });
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, band, band, SIZE - band, SIZE - band);
    if (of) {
      order.forEach((text, at) => {
        context.fillStyle = signColour(of[text]);
        context.fillRect(0, band + at * cell, BAND - 3, cell + 0.5);
        context.fillRect(band + at * cell, 0, cell + 0.5, BAND - 3);
      });
    }
    if (cursor) {
      const [x, y] = [band + cursor[1] * cell, band + cursor[0] * cell];
      context.lineWidth = 4;
      context.strokeStyle = colour("--paper");
      context.strokeRect(x, y, cell, cell);
      context.lineWidth = 2;
      context.strokeStyle = colour("--ink");
      context.strokeRect(x, y, cell, cell);
    }
  }

  function read(row, column, choose = false) {
    const inside = (at) => Math.max(0, Math.min(count - 1, at));
    cursor = [inside(row), inside(column)];
    draw();
    onRead(order[cursor[0]], order[cursor[1]], matrix[cursor[0] * count + cursor[1]], choose);
  }

  function pointed(event, choose) {
    const box = canvas.getBoundingClientRect();
    const at = (offset, length) => Math.floor(((offset / length) * SIZE - band) / cell);
    read(at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width), choose);
  }

  canvas.addEventListener("pointermove", (event) => pointed(event, false));
  canvas.addEventListener("click", (event) => pointed(event, true));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) read((cursor?.[0] ?? 0) + step[0], (cursor?.[1] ?? 0) + step[1]);
    else if (event.key === "Enter" && cursor) read(...cursor, true);
    else return;
    event.preventDefault();
  });
  draw();
  const scale = element(
    "p",
    { className: "scale" },
    low.toFixed(2),
    element("span", { className: "gradient", ariaHidden: "true" }),
    high.toFixed(2),
  );
  return { canvas, scale, draw };
}

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function mixed([low, middle, high], part) {
  const [from, to, along] = part < 0.5 ? [low, middle, 2 * part] : [middle, high, 2 * part - 1];
  return from.map((value, at) => value + (to[at] - value) * along);
}
