// Texts under instructions -> vectors, from a bundle, in Node:
//
//     npm install
//     node encode.mjs my-bundle int8 < rows.jsonl
//
// Each line of rows.jsonl is ["instruction", "text"]; each line that comes out is its vector.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { Tokenizer } from "tokenizers";

const [bundle, variant, ...flags] = process.argv.slice(2);
const manifest = JSON.parse(readFileSync(join(bundle, "manifest.json"), "utf8"));
const { max_seq_length: longest, eos_token_id: eos } = manifest.model;

const tokenizer = Tokenizer.fromFile(join(bundle, manifest.tokenizer.path));
tokenizer.disablePadding(); // published files pad to 512
tokenizer.disableTruncation();

// int8 on a processor whose 8-bit products saturate: docs/other-libraries.md says how to ask yours.
const exact = flags.includes("--saturates") ? { extra: { session: { x64quantprecision: "1" } } } : {};
const session = await InferenceSession.create(join(bundle, manifest.variants[variant].files[0].path), exact);

// What Python's str.strip() takes away, and no more: trim() also takes a byte order mark.
const BLANK = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const ENDS = new RegExp(`^${BLANK}|${BLANK}$`, "g");
const strip = (text) => text.replace(ENDS, "");

async function tokens(text) {
  const ids = (await tokenizer.encode(text)).getIds();
  return ids.length > longest ? [...ids.slice(0, longest - 1), eos] : ids; // the last one kept is always </s>
}

async function encode(instruction, text) {
  const ids = await tokens(strip(instruction + strip(text)));
  const counted = (await tokens(strip(instruction))).length - 1; // without its </s>
  const start = counted > 1 ? counted : 0; // a single token is pooled with the text
  const row = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
  const { sentence_embedding } = await session.run({
    input_ids: row(ids),
    attention_mask: row(ids.map(() => 1)), // what the encoder sees: every token
    pooling_mask: row(ids.map((_, position) => Number(position >= start))), // what the mean takes
  }); // several rows in one run: pad all three on the right with 0
  return Array.from(sentence_embedding.data);
}

for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  console.log(JSON.stringify(await encode(...JSON.parse(line))));
}
