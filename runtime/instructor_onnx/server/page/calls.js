// The calls that give the same vectors, for copying. The key is never in them.

import { BASE, batchSize } from "./api.js";

const VARIABLE = "INSTRUCTOR_ONNX_API_KEY";

/** Name -> code. `limits` is what the server has said of itself. */
export function calls(texts, instructions, limits) {
  const size = Math.min(...instructions.map((each) => batchSize(texts, each, limits, Infinity)));
  const part = size < texts.length ? `texts[start : start + ${size}]` : "texts";
  const given = { part, size: part === "texts" ? 0 : size, limits };
  return {
    curl: curl(texts, instructions, Math.max(1, size), limits),
    Python: python(texts, instructions, given),
    "OpenAI's client": openai(texts, instructions, given),
    "Without a server": local(texts, instructions, limits),
  };
}

/** JSON that shows everything it says: no control character, and none that turns or hides what follows it. */
export function literal(value, indent) {
  const hidden = /[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value, null, indent).replace(hidden, escaped);
}

/** The body goes in as a document of its own: nothing in it is the shell's, and it may have any length. */
function curl(texts, instructions, size, limits) {
  const key = limits.keyed ? ` \\\n  -H "Authorization: Bearer $${VARIABLE}"` : "";
  const commands = [];
  for (const instruction of instructions) {
    for (let start = 0; start < texts.length; start += size) {
      const body = literal({ input: texts.slice(start, start + size), instruction });
      commands.push(
        `curl ${quoted(`${BASE}v1/embeddings`)} -H 'Content-Type: application/json'${key} --data-binary @- <<'JSON'\n${body}\nJSON\n`,
      );
    }
  }
  return commands.join("\n");
}

function python(texts, instructions, given) {
  const key = given.limits.keyed;
  return `import json
${key ? "import os\n" : ""}import urllib.request

texts = ${literal(texts, 4)}
instructions = ${literal(instructions, 4)}
${key ? `headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["${VARIABLE}"]}` : `headers = {"Content-Type": "application/json"}`}


def embed(texts, instruction):
    body = json.dumps({"input": texts, "instruction": instruction}).encode()
    request = urllib.request.Request(${literal(`${BASE}v1/embeddings`)}, body, headers)
    with urllib.request.urlopen(request) as answer:
        return [item["embedding"] for item in json.load(answer)["data"]]


${everyVector(given, `embed(${given.part}, instruction)`)}
`;
}

function openai(texts, instructions, given) {
  const { limits } = given;
  const key = limits.keyed ? `os.environ["${VARIABLE}"]` : `"none"`;
  return `${limits.keyed ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${literal(`${BASE}v1`)}, api_key=${key})
texts = ${literal(texts, 4)}
instructions = ${literal(instructions, 4)}


def embed(texts, instruction):
    answer = client.embeddings.create(
        model=${literal(limits.model)}, input=texts, extra_body={"instruction": instruction}
    )
    return [item.embedding for item in answer.data]


${everyVector(given, `embed(${given.part}, instruction)`)}
`;
}

/** vectors[instruction][text][number] */
function everyVector({ size }, call) {
  if (!size) return `vectors = [${call} for instruction in instructions]`;
  return `vectors = [
    [vector for start in range(0, len(texts), ${size}) for vector in ${call}]
    for instruction in instructions
]`;
}

function local(texts, instructions, limits) {
  return `from instructor_onnx import INSTRUCTOR

model = INSTRUCTOR(${literal(limits.model)}, variant=${literal(limits.variant)})  # or this server's bundle, where its name is another
texts = ${literal(texts, 4)}
instructions = ${literal(instructions, 4)}
vectors = [model.encode([[instruction, text] for text in texts]) for instruction in instructions]
`;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
