// The map: points that move from their place under one instruction to their place under the next.

import { colour, shape, short } from "./dom.js";
import { drawSign, signColour, signShape } from "./shapes.js";

const MARGIN = 34; // pixels about the outermost points
const FEW = 40; // texts that are written beside their points
const TRAILS = 300; // points whose way is drawn
const SECONDS = 1.4; // from one instruction to the next

/** A map on a canvas; `tip` is a paragraph for the text under the pointer, `onChoose` hears of a clicked one. */
export function makeMap(canvas, tip, onChoose) {
  let shown = null; // {texts, places: [instruction][2 * text], of: signs}
  let position = 0;
  let chosen = 0;

  const stride = () => (shown.texts.length > 400 ? 3.2 : shown.texts.length > FEW ? 4.5 : 6);

  /** Where text `at` is, in pixels; `where` is a position of the slider. */
  function place(at, { scale, middle }, where = position) {
    const from = Math.min(Math.floor(where), shown.places.length - 1);
    const to = Math.min(from + 1, shown.places.length - 1);
    const part = where - from;
    const along = (axis) => (1 - part) * shown.places[from][2 * at + axis] + part * shown.places[to][2 * at + axis];
    return [middle[0] + scale * along(0), middle[1] - scale * along(1)];
  }

  /** How a map's units become pixels: every place of every text is in the picture. */
  function view(width, height) {
    const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
    for (const places of shown.places) {
      places.forEach((value, at) => {
        low[at % 2] = Math.min(low[at % 2], value);
        high[at % 2] = Math.max(high[at % 2], value);
      });
    }
    const sizes = [width, height].map((pixels, axis) => (pixels - 2 * MARGIN) / Math.max(high[axis] - low[axis], 1e-9));
    const scale = Math.min(...sizes);
    const [x, y] = low.map((value, axis) => (scale * (value + high[axis])) / 2);
    return { scale, middle: [width / 2 - x, height / 2 + y] };
  }

  function draw() {
    if (!shown || !canvas.clientWidth) return;
    const [width, height, dense] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    canvas.width = width * dense;
    canvas.height = height * dense;
    const context = canvas.getContext("2d");
    context.scale(dense, dense);
    const at = view(width, height);
    const [ink, paper, trail] = [colour("--ink"), colour("--paper"), colour("--trail")];
    const colours = Array.from({ length: 8 }, (_, sign) => signColour(sign));
    const count = shown.texts.length;
    if (count <= TRAILS) {
      context.strokeStyle = trail;
      context.lineWidth = 1;
      for (let text = 0; text < count; text++) {
        context.beginPath();
        shown.places.forEach((_, stop) => context.lineTo(...place(text, at, stop)));
        context.stroke();
      }
    }
    if (count <= FEW) write(context, at, width, ink);
    context.strokeStyle = paper;
    for (let text = 0; text < count; text++) {
      context.fillStyle = colours[shown.of[text]];
      drawSign(context, shown.of[text], ...place(text, at), stride());
    }
    ring(context, place(chosen, at), ink);
    if (count > FEW) write(context, at, width, ink, paper);
  }

  function ring(context, [x, y], ink) {
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, stride() + 5, 0, 2 * Math.PI);
    context.stroke();
  }

  /** The texts beside their points, as far as none covers a point or another; the chosen one first; over points a rim of `paper`. */
  function write(context, at, width, ink, paper = "transparent") {
    const all = shown.texts.map((_, text) => text);
    const asked = [chosen, ...(all.length <= FEW ? all.filter((text) => text !== chosen) : [])];
    const taken = all.length <= FEW ? all.map((text) => around(place(text, at), stride())) : [];
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = ink;
    for (const text of asked) {
      const [x, y] = place(text, at);
      const line = short(shown.texts[text], Math.max(16, Math.min(34, Math.floor(width / 22))));
      const wide = context.measureText(line).width;
      const lefts = [[x + 13, y], [x - 13 - wide, y], [x - wide / 2, y + 19], [x - wide / 2, y - 19]];
      const boxes = lefts.map(([left, middle]) => [left, middle - 8, left + wide, middle + 8]);
      const inside = boxes.filter((box) => box[0] >= 0 && box[2] <= width);
      const box = inside.find((each) => !taken.some((other) => overlap(each, other)));
      if (!box) continue;
      taken.push(box);
      context.strokeStyle = paper;
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.strokeText(line, box[0], box[1] + 12);
      context.globalAlpha = text === chosen ? 1 : 0.75;
      context.fillText(line, box[0], box[1] + 12);
    }
    context.globalAlpha = 1;
  }

  function under(event) {
    if (!shown) return -1;
    const at = view(canvas.clientWidth, canvas.clientHeight);
    const box = canvas.getBoundingClientRect();
    let [best, least] = [-1, 18 ** 2];
    for (let text = 0; text < shown.texts.length; text++) {
      const [x, y] = place(text, at);
      const square = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
      if (square < least) [best, least] = [text, square];
    }
    return best;
  }

  canvas.addEventListener("pointermove", (event) => {
    const text = under(event);
    canvas.classList.toggle("pointing", text >= 0);
    tip.hidden = text < 0;
    if (text < 0) return;
    tip.textContent = short(shown.texts[text], 160);
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    tip.style.top = `${event.clientY - box.top + 16}px`;
    tip.style.left = `${Math.max(0, Math.min(x, box.width - tip.offsetWidth - 4))}px`;
  });
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("click", (event) => {
    const text = under(event);
    if (text >= 0) onChoose(text);
  });
  new ResizeObserver(draw).observe(canvas);

  return {
    draw,
    show(map) {
      [shown, position, chosen] = [map, 0, 0];
      draw();
    },
    move(to) {
      position = to;
      draw();
    },
    choose(text) {
      chosen = text;
      draw();
    },

    /** The map as it is now, as the source of an SVG. */
    svg(names, caption) {
      const [width, height] = [900, 600];
      const at = view(width, height - 60);
      const sign = (of, x, y, radius) => signShape(of, x, y, radius, { fill: signColour(of) });
      const label = (x, y, text) => shape("text", { x, y, fill: colour("--ink") }, xml(text));
      const points = shown.texts.map((text, index) => {
        const drawn = sign(shown.of[index], ...place(index, at), stride());
        drawn.append(shape("title", {}, xml(text)));
        return drawn;
      });
      const legend = (names ?? []).map((name, of) => {
        const [x, y] = [30 + 215 * (of % 4), height - 40 + 20 * Math.floor(of / 4)];
        return shape("g", {}, sign(of, x, y, 5), label(x + 12, y + 4, short(name, 26)));
      });
      const picture = shape(
        "svg",
        { viewBox: `0 0 ${width} ${height}`, width, height, "font-family": "system-ui, sans-serif", "font-size": 13 },
        shape("rect", { width, height, fill: colour("--paper") }),
        label(24, 26, short(caption, 130)),
        ...points,
        ...legend,
      );
      return new XMLSerializer().serializeToString(picture);
    },
  };
}

const around = ([x, y], radius) => [x - radius, y - radius, x + radius, y + radius];
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

/** What XML may hold of a text. */
const xml = (text) => text.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");

/** Move `from` one place `to` another, frame by frame; at once where motion is unwelcome. Gives a function that stops it. */
export function animate(from, to, onMove, onEnd) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let request = 0;
  let began = null;
  function step(now) {
    began ??= now;
    const part = still ? 1 : Math.min(1, (now - began) / (1000 * SECONDS * Math.max(1, Math.abs(to - from))));
    onMove(from + (to - from) * (part < 0.5 ? 4 * part ** 3 : 1 - (2 - 2 * part) ** 3 / 2)); // slow, fast, slow
    if (part < 1) request = requestAnimationFrame(step);
    else onEnd();
  }
  request = requestAnimationFrame(step);
  return () => cancelAnimationFrame(request);
}
