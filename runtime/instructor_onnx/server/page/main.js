// From what is filled in to what is shown: the page's one story, told by the modules around it.

import { BASE, Problem, embed, settings } from "./api.js";
import { calls } from "./calls.js";
import { element, found, pauses, short } from "./dom.js";
import { copy, csv, npy, save } from "./download.js";
import { EXAMPLE, FORM, TOPIC } from "./example.js";
import { aligned, normalized, pca, similarities, unitSize } from "./geometry.js";
import { MOST_TEXTS as MOST_IN_HEATMAP, heatmap } from "./heatmap.js";
import { LETTERS, instructions, nameOf, offer, setInstructions } from "./instructions.js";
import { fromFragment, toFragment } from "./link.js";
import { animate, makeMap } from "./map.js";
import { columns, overview } from "./neighbours.js";
import { signIcon, signs } from "./shapes.js";
import { MOST_BYTES, choose, formatOf, guess, number, parse } from "./table.js";

const LONG_PASTE = 5000; // characters

const map = makeMap(found("map"), found("tip"), (text) => chooseText(text));
let limits = null; // what the server says of itself
let result = null; // what is shown
let running = null; // the AbortController of what is being computed
let stopMoving = () => {};
let heatmaps = [];

// Texts ---------------------------------------------------------------------------------------------------------------

/** Read the table anew, and offer its columns; `columns` is a choice of them that is known already. */
function readTable(columns = null) {
  try {
    const table = parse(found("content").value, found("format").value);
    const picked = columns ?? guess(table);
    const named = table.columns.map((name, at) => element("option", { value: String(at) }, short(name, 40) || `column ${at + 1}`));
    found("text-column").replaceChildren(...named);
    const labels = named.map((option) => option.cloneNode(true));
    found("label-column").replaceChildren(element("option", { value: "-1" }, "none"), ...labels);
    found("text-column").value = String(picked.text);
    found("label-column").value = String(picked.label);
    found("text-field").hidden = found("label-field").hidden = table.columns.length < 2;
    count(table);
  } catch (error) {
    found("text-field").hidden = found("label-field").hidden = true;
    found("count").textContent = error.message;
  }
}

function count(table) {
  const { texts, left } = choose(table, ...picked());
  const many = texts.length > MOST_IN_HEATMAP ? ` The similarity matrix is drawn for up to ${MOST_IN_HEATMAP}.` : "";
  const empty = left ? ` ${number(left)} rows without one are left out.` : "";
  found("count").textContent = `${number(texts.length)} ${texts.length === 1 ? "text" : "texts"}.${empty}${many}`;
}

const picked = () => [Number(found("text-column").value), Number(found("label-column").value)];

function recount() {
  try {
    count(parse(found("content").value, found("format").value));
  } catch {} // told already
}

/** Browsers insert a long text line by line, for seconds or minutes. */
function paste(event) {
  const text = event.clipboardData.getData("text/plain");
  if (text.length < LONG_PASTE) return;
  event.preventDefault();
  const { selectionStart, selectionEnd } = event.target;
  event.target.setRangeText(text.slice(0, MOST_BYTES), selectionStart, selectionEnd, "end");
  readTable();
}

async function openFile(file) {
  try {
    if (file.size > MOST_BYTES) {
      throw new Error(`${short(file.name, 60)} has ${number(file.size)} bytes, more than the ${number(MOST_BYTES)} that this page reads.`);
    }
    found("content").value = await decoded(file);
    found("format").value = formatOf(file.name);
    fail("");
    readTable();
  } catch (error) {
    fail(error.message);
  }
}

async function decoded(file) {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${short(file.name, 60)} is not UTF-8 text. Save it as UTF-8, or as CSV where it is a spreadsheet.`);
  }
}

function fillExample() {
  found("content").value = EXAMPLE;
  found("format").value = "csv";
  setInstructions([TOPIC, FORM]);
  readTable();
}

// Comparing -----------------------------------------------------------------------------------------------------------

function given() {
  const wordings = instructions();
  const same = wordings.findIndex((each, at) => wordings.indexOf(each) < at);
  if (same >= 0) {
    throw new Error(`Instructions ${LETTERS[wordings.indexOf(wordings[same])]} and ${LETTERS[same]} are the same. Change one of them.`);
  }
  const table = parse(found("content").value, found("format").value);
  const { texts, labels } = choose(table, ...picked());
  if (texts.length < 3) throw new Error(`${texts.length ? "Too few texts" : "No texts"}: neighbours need at least 3.`);
  return { texts, labels, instructions: wordings };
}

async function compare({ chosen = 0, position = 0 } = {}) {
  fail("");
  let asked;
  try {
    asked = given();
  } catch (error) {
    fail(error.message);
    return;
  }
  running?.abort();
  const controller = (running = new AbortController());
  busy(true);
  try {
    result = await computed(asked, controller.signal);
    const lost = found("empty").contains(document.activeElement); // its button goes
    show(result, chosen < asked.texts.length ? chosen : 0, position);
    tell(`${number(asked.texts.length)} texts compared under ${asked.instructions.length} instructions.`);
    if (lost) found("results").focus();
    else if (found("results").getBoundingClientRect().top > innerHeight / 2) found("results").scrollIntoView();
  } catch (error) {
    if (error.name === "AbortError") tell("Cancelled.");
    else if (error instanceof Problem) fail(error.message);
    else throw error;
  } finally {
    if (running === controller) busy(false);
  }
}

/** Everything that is shown of texts under instructions. */
async function computed(asked, signal) {
  const { texts, labels } = asked;
  const total = texts.length * asked.instructions.length;
  const vectors = [];
  for (const [at, instruction] of asked.instructions.entries()) {
    const progress = ({ done, waiting }) => {
      if (waiting) tell(waiting);
      else {
        found("progress").value = (at * texts.length + done) / total;
        tell(`${number(at * texts.length + done)} of ${number(total)} vectors`);
      }
    };
    vectors.push(await embed(texts, instruction, limits, progress, signal));
  }
  tell("Drawing the map…");
  const width = limits.embedding_dim;
  const units = vectors.map((each) => normalized(each, width));
  const maps = [];
  const pause = pauses(signal);
  for (const each of units) maps.push(await pca(each, width, pause));
  const first = unitSize(maps[0].points);
  const places = maps.map(({ points }, at) => (at ? aligned(points, first) : first));
  const title = (at) =>
    element("h3", {}, element("span", { className: "letter" }, LETTERS[at]), " ", nameOf(asked.instructions[at]));
  return labelled({ ...asked, vectors, units, width, places, shares: maps.map(({ share }) => share), title }, labels, signal);
}

/** A result with what depends on labels. */
async function labelled(shown, labels, signal) {
  const signed = { ...shown, labels, signs: signs(labels, shown.texts.length) };
  return { ...signed, overview: await overview(signed, signal) };
}

/** Another label column colours what is shown already, without the server. */
async function relabel() {
  recount();
  if (!result || running) return;
  let texts, labels;
  try {
    ({ texts, labels } = choose(parse(found("content").value, found("format").value), ...picked()));
  } catch {
    return; // told already
  }
  if (texts.length !== result.texts.length || texts.some((text, at) => text !== result.texts[at])) return;
  result = await labelled(result, labels, new AbortController().signal);
  show(result, Number(found("chosen").value), Number(found("slider").value));
}

function busy(is) {
  found("compare").disabled = found("compare-example").disabled = is;
  found("cancel").hidden = found("progress").hidden = !is;
  found("progress").value = 0;
  if (!is) running = null;
}

const tell = (sentence) => (found("status").textContent = sentence);

function fail(sentence) {
  found("problem").textContent = sentence;
  found("problem").hidden = !sentence;
  if (sentence) tell("");
}

// Showing -------------------------------------------------------------------------------------------------------------

function show(shown, chosen, position) {
  found("empty").hidden = true;
  found("found").hidden = false;
  found("summary").textContent = summary(shown);
  const { names, of } = shown.signs;
  found("legend").replaceChildren(...(names ?? []).map((name, sign) => element("li", {}, signIcon(sign), " ", short(name, 40))));
  map.show({ texts: shown.texts, places: shown.places, of });
  found("map").ariaLabel = `Map of ${shown.texts.length} texts. The list of nearest neighbours says the same in words.`;
  found("slider").max = String(shown.instructions.length - 1);
  found("stops").replaceChildren(...shown.instructions.map((each, at) => element("span", {}, `${LETTERS[at]} ${short(nameOf(each), 28)}`)));
  const shares = shown.shares.map((share, at) => `${Math.round(100 * share)}% under ${LETTERS[at]}`).join(", ");
  found("map-note").textContent =
    `The two directions in which the vectors differ most (PCA). They hold ${shares} of all difference: ` +
    "near on the map is not always near. Later maps are turned to fit the first.";
  const options = shown.texts.map((text, at) => element("option", { value: String(at) }, short(text, 90)));
  found("chosen").replaceChildren(...options);
  showHeatmaps(shown);
  showCalls(shown);
  found("kept").textContent = "";
  move(Math.max(0, Math.min(position, shown.instructions.length - 1)));
  chooseText(chosen);
}

function summary({ overview: { most, kept, agreeing }, labels, instructions }) {
  const last = LETTERS[instructions.length - 1];
  const other = `Of each text’s ${most} nearest neighbours, ${(most - kept).toFixed(1)} on average are others under ${last} than under A.`;
  if (!labels) return other;
  const shares = agreeing.map((share, at) => `${share}% under ${LETTERS[at]}`).join(", ");
  return `${other} The nearest one has the same label for ${shares}.`;
}

function chooseText(text) {
  map.choose(text);
  found("chosen").value = String(text);
  found("neighbours").replaceChildren(...columns(result, text, (other) => chooseAndKeepFocus(other)));
}

/** The button that was pressed is gone with its list: the choice is where the focus goes on. */
function chooseAndKeepFocus(text) {
  chooseText(text);
  found("chosen").focus();
}

function showHeatmaps(shown) {
  const { texts, signs: { names, of }, units, width } = shown;
  heatmaps = [];
  found("cell").textContent = texts.length > MOST_IN_HEATMAP ? "" : "Point at a cell to read it, or go from cell to cell with the arrow keys.";
  if (texts.length > MOST_IN_HEATMAP) {
    found("heat-note").textContent = `The matrix is drawn for up to ${MOST_IN_HEATMAP} texts; these are ${number(texts.length)}.`;
    found("heatmaps").replaceChildren();
    return;
  }
  found("heat-note").textContent =
    (names ? "Rows and columns in the order of their labels, whose colours are at the edges. " : "Rows and columns in the order of the texts. ") +
    "Cosine; each picture has its own scale.";
  const order = texts.map((_, at) => at).sort((a, b) => of[a] - of[b] || a - b);
  const made = shown.instructions.map((instruction, at) => {
    const matrix = new Float32Array(order.length ** 2);
    order.forEach((text, row) => {
      const scores = similarities(units[at], width, text);
      order.forEach((other, column) => (matrix[row * order.length + column] = scores[other]));
    });
    const picture = heatmap(matrix, order, names && of, nameOf(instruction), (row, column, value, choose) => {
      found("cell").textContent = `${LETTERS[at]}: ${value.toFixed(3)} · ${short(texts[row], 80)} · ${short(texts[column], 80)}`;
      if (choose) chooseText(row);
    });
    heatmaps.push(picture);
    return element("div", {}, shown.title(at), picture.canvas, picture.scale);
  });
  found("heatmaps").replaceChildren(...made);
}

function showCalls(shown) {
  const codes = calls(shown.texts, shown.instructions, limits);
  const kinds = found("call-kinds");
  const before = kinds.querySelector("input:checked")?.value;
  const choices = Object.keys(codes).map((name) => {
    const input = element("input", { type: "radio", name: "call", value: name, checked: name === (before ?? "curl") });
    input.addEventListener("change", () => (found("call").textContent = codes[name]));
    return element("label", {}, input, element("span", {}, name));
  });
  kinds.replaceChildren(kinds.querySelector("legend"), ...choices);
  found("call").textContent = codes[before ?? "curl"];
}

// Moving --------------------------------------------------------------------------------------------------------------

function move(to) {
  map.move(to);
  const slider = found("slider");
  slider.value = String(to);
  const at = Math.floor(to);
  const part = Math.round(100 * (to - at));
  const name = (stop) => `${LETTERS[stop]}, ${nameOf(result.instructions[stop])}`;
  const place = part ? `${part}% of the way from ${LETTERS[at]} to ${LETTERS[at + 1]}` : name(at);
  slider.setAttribute("aria-valuetext", place);
  found("place").textContent = place;
  found("play").textContent = `Move to ${LETTERS[target(to)]}`;
}

/** Where the button leads: to the next instruction, and from the last to the first. */
const target = (from) => (from >= result.instructions.length - 1 ? 0 : Math.floor(from) + 1);

function play() {
  stopMoving();
  const from = Number(found("slider").value);
  const to = target(from);
  found("map").dataset.moving = "yes";
  const ended = () => delete found("map").dataset.moving;
  const stop = animate(from, to, move, ended);
  stopMoving = () => {
    stop();
    ended();
  };
}

// Keeping -------------------------------------------------------------------------------------------------------------

function state() {
  const [text, label] = picked();
  return {
    content: found("content").value,
    format: found("format").value,
    text,
    label,
    instructions: instructions(),
    chosen: Number(found("chosen").value),
    position: Number(found("slider").value),
  };
}

/** Fill the page from the address; false where it holds no state. */
function restore() {
  let kept;
  try {
    kept = fromFragment(location.hash);
  } catch (error) {
    fail(error.message);
    return null;
  }
  if (!kept) return null;
  found("content").value = kept.content;
  found("format").value = kept.format;
  setInstructions(kept.instructions);
  readTable(kept);
  return kept;
}

async function copyLink() {
  try {
    const fragment = toFragment(state());
    history.replaceState(null, "", fragment);
    found("kept").textContent = BASE + fragment; // to be copied by hand, should the browser refuse
    found("kept").textContent = await copy(BASE + fragment, found("kept"));
  } catch (error) {
    found("kept").textContent = error.message;
  }
}

function saveSvg() {
  const caption = `${found("place").textContent} · ${limits.model}`;
  save("map.svg", [map.svg(result.signs.names, caption)], "image/svg+xml");
}

// Wiring --------------------------------------------------------------------------------------------------------------

function wire() {
  const on = (id, event, does) => found(id).addEventListener(event, does);
  on("example", "click", fillExample);
  on("content", "input", () => readTable());
  on("content", "paste", paste);
  on("format", "change", () => readTable());
  on("text-column", "change", recount);
  on("label-column", "change", relabel);
  on("file", "change", (event) => {
    const [file] = event.target.files;
    if (file) openFile(file);
    event.target.value = ""; // the same file may be chosen again
  });
  for (const event of ["dragover", "dragleave", "drop"]) {
    on("setup", event, (drag) => {
      if (!drag.dataTransfer.types.includes("Files")) return;
      drag.preventDefault();
      found("content").classList.toggle("over", event === "dragover");
      if (event === "drop" && drag.dataTransfer.files[0]) openFile(drag.dataTransfer.files[0]);
    });
  }
  on("setup", "submit", (event) => {
    event.preventDefault();
    compare();
  });
  on("cancel", "click", () => running?.abort());
  on("slider", "input", () => {
    stopMoving();
    move(Number(found("slider").value));
  });
  on("play", "click", play);
  on("chosen", "change", () => chooseText(Number(found("chosen").value)));
  on("copy-call", "click", async () => tellCopied(await copy(found("call").textContent, found("call"))));
  on("copy-link", "click", copyLink);
  on("save-svg", "click", saveSvg);
  on("save-png", "click", () => found("map").toBlob((blob) => save("map.png", [blob], "image/png")));
  on("save-npy", "click", () => save("vectors.npy", npy(result.vectors, result.width), "application/octet-stream"));
  on("save-csv", "click", () => save("vectors.csv", csv(result.vectors, result.width), "text/csv"));
  addEventListener("hashchange", () => limits && compareRestored());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [map, ...heatmaps].forEach((each) => each.draw()));
}

function tellCopied(sentence) {
  found("copy-call").textContent = sentence;
  setTimeout(() => (found("copy-call").textContent = "Copy"), 2000);
}

function compareRestored() {
  const kept = restore();
  if (kept) compare(kept);
}

async function start() {
  wire();
  if (!found("content").value) fillExample(); // a browser that goes back keeps what was typed
  else readTable();
  if (!instructions().length) setInstructions([TOPIC, FORM]);
  try {
    limits = await settings(tell);
  } catch (error) {
    fail(error.message);
    return;
  }
  tell("");
  found("model").textContent = `${limits.model} · ${limits.variant} · ${limits.embedding_dim} numbers a text`;
  offer(limits.instructions);
  found("compare").disabled = found("compare-example").disabled = false;
  compareRestored();
}

start();
