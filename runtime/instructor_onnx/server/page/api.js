// What is asked of the server, and what its answers mean. No key is known here: the browser sends it.

import { number } from "./table.js";

const ROWS = 64; // texts of a request: few enough that progress is seen
const TRIES = 8;

/** Where the server is, without what may stand in the address bar. */
export const BASE = new URL(".", location.origin + location.pathname).href;

/** A sentence of the server, or of the way to it. */
export class Problem extends Error {}

/** What the page has to know; waits while the model is being loaded, and says so to `tell`. */
export async function settings(tell) {
  for (;;) {
    const response = await ask("page/settings.json", {});
    if (response.ok) return response.json();
    const said = await sentence(response);
    if (response.status !== 503) throw new Problem(said);
    tell(said);
    await pause(response, 1);
  }
}

/**
 * The vectors of texts under an instruction: a Float32Array, row after row.
 *
 * @param limits what `settings` gave
 * @param onProgress called with the number of texts that are done
 * @param signal an AbortSignal
 */
export async function embed(texts, instruction, limits, onProgress, signal) {
  const vectors = new Float32Array(texts.length * limits.embedding_dim);
  const size = batchSize(texts, instruction, limits, ROWS);
  for (let start = 0; start < texts.length; start += size) {
    const input = texts.slice(start, start + size);
    const body = JSON.stringify({ input, instruction, encoding_format: "base64" });
    const answer = await embedded(body, onProgress, signal, texts.length > size ? start : -1, input.length);
    for (const { index, embedding } of answer.data) {
      const row = floats(embedding);
      if (row.length !== limits.embedding_dim) throw new Problem("The server has another model now. Reload the page.");
      vectors.set(row, (start + index) * limits.embedding_dim);
    }
    onProgress({ done: Math.min(start + size, texts.length) });
  }
  return vectors;
}

/** How many texts a request may have: at most `most`, and no more than the server takes. */
export function batchSize(texts, instruction, limits, most) {
  const encoder = new TextEncoder();
  const bytes = (each) => encoder.encode(JSON.stringify(each)).length;
  const sizes = texts.map((text) => bytes(text) + instruction.length + 1);
  const room = limits.payload_limit - bytes(instruction) - 200; // 200: the rest of the body
  let size = Math.max(1, Math.min(most, limits.max_client_batch_size, texts.length));
  const fits = () => {
    for (let start = 0; start < sizes.length; start += size) {
      if (sizes.slice(start, start + size).reduce((sum, each) => sum + each, 0) > room) return false;
    }
    return true;
  };
  while (size > 1 && !fits()) size = Math.ceil(size / 2);
  return size;
}

async function embedded(body, onProgress, signal, start, count) {
  for (let attempt = 1; ; attempt++) {
    const response = await ask("v1/embeddings", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      signal,
    });
    if (response.ok) return response.json();
    const said = await sentence(response);
    if (![429, 503].includes(response.status) || attempt === TRIES) {
      throw new Problem(start < 0 ? said : `Texts ${number(start + 1)} to ${number(start + count)}: ${said}`);
    }
    onProgress({ waiting: `${said} Trying again.` });
    await pause(response, 1, signal);
  }
}

async function ask(path, options) {
  try {
    return await fetch(BASE + path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached. Does it still run?");
  }
}

/** What an answer that is an error says. */
async function sentence(response) {
  if (response.status === 401) return "The server's key is missing, or has changed. Reload the page to enter it.";
  try {
    const { error } = await response.json();
    return typeof error === "string" ? error : error.message;
  } catch {
    return `The server answered ${response.status}, and not why. Its log may say more.`;
  }
}

function pause(response, seconds, signal) {
  const wait = 1000 * Math.min(Number(response.headers.get("Retry-After")) || seconds, 30);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, wait);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, at) => view.getFloat32(4 * at, true));
}
