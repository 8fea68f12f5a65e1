// The page's state in its address: behind the #, which browsers send to no server.

const PREFIX = "#state=";
const MOST = 16_000; // characters; longer ones are cut by chats and mail programs
const TYPES = { content: "string", format: "string", text: "number", label: "number", chosen: "number", position: "number" };

/** The fragment of a state. Throws an Error with a sentence where it is too long for a link. */
export function toFragment(state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const fragment = PREFIX + btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (fragment.length > MOST) {
    throw new Error(
      `A link would have ${fragment.length.toLocaleString("en")} characters, more than programs pass on ` +
        `(${MOST.toLocaleString("en")}). Give your file, and the instructions, instead.`,
    );
  }
  return fragment;
}

/** The state of a fragment; null where it is none of ours. Throws an Error with a sentence where it is damaged. */
export function fromFragment(fragment) {
  if (!fragment.startsWith(PREFIX)) return null;
  let state;
  try {
    const binary = atob(fragment.slice(PREFIX.length, MOST).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    state = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    state = null;
  }
  const whole =
    Object.entries(TYPES).every(([name, type]) => typeof state?.[name] === type) &&
    Array.isArray(state.instructions) &&
    state.instructions.length >= 2 &&
    state.instructions.length <= 4 &&
    state.instructions.every((each) => typeof each === "string") &&
    ["lines", "csv", "jsonl"].includes(state.format);
  if (!whole) throw new Error("The link is damaged: its end may be missing. Ask for it again.");
  return state;
}
