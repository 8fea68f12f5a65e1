// What was pasted or dropped -> texts and labels. Every limit is a sentence.

export const MOST_TEXTS = 2000;
export const MOST_BYTES = 5_000_000; // of a file
const TEXT_NAMES = ["text", "texts", "sentence", "content", "question", "query", "title", "document", "body"];
const LABEL_NAMES = ["label", "labels", "topic", "category", "class", "intent", "cluster", "target"];
const DELIMITERS = [",", ";", "\t"];

/**
 * A table: {columns: names, rows: arrays of strings}.
 *
 * Lines have one column. Throws an Error with a sentence where the content is not of the format.
 */
export function parse(content, format) {
  const table = { lines, csv, jsonl }[format](content);
  if (table.rows.length > MOST_TEXTS) {
    throw new Error(
      `${number(table.rows.length)} texts are more than this page can show, which is ${number(MOST_TEXTS)}. ` +
        "Take a sample; instructor-onnx encode takes files of any size.",
    );
  }
  return table;
}

export const number = (value) => value.toLocaleString("en");

/** What a file's name says of its format. */
export function formatOf(name) {
  if (/\.(jsonl|ndjson)$/i.test(name)) return "jsonl";
  return /\.(csv|tsv)$/i.test(name) ? "csv" : "lines";
}

/** Which column has the texts, and which one labels (or -1), as far as names and content tell. */
export function guess({ columns, rows }) {
  const lower = columns.map((name) => name.toLowerCase());
  const named = (names, but) => names.map((name) => lower.indexOf(name)).find((at) => at >= 0 && at !== but) ?? -1;
  const length = (at) => rows.reduce((sum, row) => sum + row[at].length, 0);
  let text = named(TEXT_NAMES, -1);
  if (text < 0) text = columns.reduce((best, _, at) => (length(at) > length(best) ? at : best), 0);
  let label = named(LABEL_NAMES, text);
  if (label < 0) {
    const values = (at) => new Set(rows.map((row) => row[at])).size;
    label = columns.findIndex((_, at) => at !== text && values(at) > 1 && values(at) <= Math.min(24, rows.length / 2));
  }
  return { text, label };
}

/** The rows that have a text: {texts, labels (null: none), left: rows without}. */
export function choose({ rows }, text, label) {
  const kept = rows.filter((row) => row[text].trim());
  return {
    texts: kept.map((row) => row[text]),
    labels: label < 0 ? null : kept.map((row) => row[label].trim() || "(none)"),
    left: rows.length - kept.length,
  };
}

function lines(content) {
  const rows = content.split(/\r\n|\n|\r/).filter((line) => line.trim());
  return { columns: ["text"], rows: rows.map((line) => [line]) };
}

function jsonl(content) {
  const records = [];
  const columns = new Set();
  content.split(/\r\n|\n/).forEach((line, at) => {
    if (!line.trim()) return;
    let record;
    try {
      record = JSON.parse(line);
    } catch {
      throw new Error(`Line ${at + 1} is not JSON. Each line has to be an object, as {"text": "…", "label": "…"}.`);
    }
    if (typeof record === "string") record = { text: record };
    if (record === null || typeof record !== "object" || Array.isArray(record)) {
      throw new Error(`Line ${at + 1} is neither an object nor a string, as {"text": "…", "label": "…"}.`);
    }
    const fields = new Map(Object.entries(record).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value)));
    for (const name of fields.keys()) columns.add(name);
    records.push(fields);
  });
  if (records.length && !columns.size) throw new Error("No line has a field that is a text.");
  const names = [...columns].slice(0, 50);
  return { columns: names, rows: records.map((fields) => names.map((name) => String(fields.get(name) ?? ""))) };
}

function csv(content) {
  const first = content.slice(0, (content + "\n").search(/[\r\n]/));
  const count = (delimiter) => first.split(delimiter).length;
  const delimiter = DELIMITERS.reduce((best, each) => (count(each) > count(best) ? each : best));
  const [columns = [], ...rows] = records(content, delimiter);
  const ragged = rows.findIndex((row) => row.length !== columns.length);
  if (ragged >= 0) {
    throw new Error(
      `Row ${ragged + 2} has ${rows[ragged].length} fields, the header ${columns.length}. ` +
        "A text with a comma in it needs quotation marks.",
    );
  }
  return { columns, rows };
}

/** RFC 4180: quotes, doubled quotes, line breaks inside them; empty lines are left out. */
function records(content, delimiter) {
  const rows = [];
  let row = [];
  let field = "";
  let quoted = false;
  const endRow = () => {
    row.push(field);
    if (row.length > 1 || field.trim()) rows.push(row);
    row = [];
    field = "";
  };
  for (let at = 0; at < content.length; at++) {
    const character = content[at];
    if (quoted) {
      if (character !== '"') field += character;
      else if (content[at + 1] === '"') field += content[++at];
      else quoted = false;
    } else if (character === '"' && !field) quoted = true;
    else if (character === delimiter) {
      row.push(field);
      field = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && content[at + 1] === "\n") at++;
      endRow();
    } else field += character;
  }
  if (quoted) throw new Error(`A quotation mark is never closed (it is in row ${rows.length + 1}).`);
  if (field || row.length) endRow();
  return rows;
}
