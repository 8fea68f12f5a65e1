// Files that the browser saves, and what it puts on the clipboard.

import { element } from "./dom.js";

export function save(name, parts, type) {
  const address = URL.createObjectURL(new Blob(parts, { type }));
  const link = element("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** numpy's format: float32 [instructions, texts, numbers]. */
export function npy(vectors, width) {
  const shape = [vectors.length, vectors[0].length / width, width];
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const start = new Uint8Array([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, padded.length & 255, padded.length >> 8]);
  const little = vectors.map((each) => {
    const view = new DataView(new ArrayBuffer(4 * each.length));
    each.forEach((value, at) => view.setFloat32(4 * at, value, true));
    return view.buffer;
  });
  return [start, padded, ...little];
}

/** A row a vector, led by the numbers of its instruction and its text: a text itself could be a spreadsheet's formula. */
export function csv(vectors, width) {
  const names = Array.from({ length: width }, (_, at) => `v${at}`);
  const rows = vectors.flatMap((each, instruction) =>
    Array.from({ length: each.length / width }, (_, text) => {
      const row = each.subarray(text * width, (text + 1) * width);
      return `${instruction + 1},${text + 1},${Array.from(row, digits).join(",")}\n`;
    }),
  );
  return [`instruction,text,${names.join(",")}\n`, ...rows];
}

const digits = (value) => Number(value.toPrecision(9)); // which is as many as a float32 needs

/** Copy a text; where the browser keeps its clipboard from plain http, select `shown`, which has it. Gives a sentence. */
export async function copy(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  } catch {
    getSelection().selectAllChildren(shown);
    return document.execCommand("copy") ? "Copied." : "Selected: press Ctrl-C or ⌘C.";
  }
}
