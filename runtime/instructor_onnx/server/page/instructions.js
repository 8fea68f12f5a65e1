// The instructions that are compared: a card each, with a menu of ready-made wordings and a field for one's own.

import { element, found } from "./dom.js";
import { FORM, TOPIC } from "./example.js";

export const LETTERS = "ABCD";
const FEWEST = 2;
const EXAMPLES = { group: "Of the example", wordings: { "by topic": TOPIC, "by form": FORM } };
const OWN = "own";

let groups = [EXAMPLES];
const list = found("instructions");

/** Fill the menus with what the server offers. */
export function offer(offered) {
  groups = [EXAMPLES, ...offered.filter(({ wordings }) => Object.keys(wordings).length)];
  setInstructions(instructions());
}

/** The wordings, in order. */
export const instructions = () => [...list.querySelectorAll("input")].map((input) => input.value);

export function setInstructions(wordings) {
  list.replaceChildren(...wordings.map(card));
  found("add").disabled = wordings.length >= LETTERS.length;
}

/** What an instruction is called in a few words: its ready-made name, or its wording without what all begin with. */
export function nameOf(wording) {
  for (const { wordings } of groups) {
    const known = Object.keys(wordings).find((name) => wordings[name] === wording);
    if (known) return known;
  }
  return wording.replace(/^Represent the /i, "").replace(/[\s:]+$/, "") || "no instruction";
}

function card(wording, at, all) {
  const letter = LETTERS[at];
  const menu = element("select", { ariaLabel: `Ready-made instructions for ${letter}` });
  const input = element("input", {
    type: "text",
    value: wording,
    spellcheck: false,
    autocomplete: "off",
    ariaLabel: `Instruction ${letter}`,
    placeholder: "No instruction: the texts alone",
    maxLength: 1000,
  });
  const remove = element("button", { type: "button", className: "quiet icon", ariaLabel: `Remove instruction ${letter}` }, "×");
  remove.hidden = all.length <= FEWEST;
  fill(menu, wording);
  menu.addEventListener("change", () => {
    const [group, name] = JSON.parse(menu.value);
    if (group !== OWN) input.value = group === null ? "" : groups[group].wordings[name];
    input.focus();
  });
  input.addEventListener("input", () => fill(menu, input.value));
  remove.addEventListener("click", () => {
    setInstructions(instructions().filter((_, other) => other !== at));
    found("add").focus();
  });
  return element("div", { className: "card" }, element("span", { className: "letter", ariaHidden: "true" }, letter), menu, remove, input);
}

/** The menu's entries, each with its wording, and the one that says `wording` chosen. */
function fill(menu, wording) {
  const option = (group, name, text) =>
    element("option", { value: JSON.stringify([group, name]) }, text);
  menu.replaceChildren(
    option(OWN, "", "Your own wording"),
    option(null, "", "No instruction"),
    ...groups.map(({ group, wordings }, at) =>
      element("optgroup", { label: group }, ...Object.entries(wordings).map(([name, text]) => option(at, name, `${name} — ${text}`))),
    ),
  );
  const at = groups.findIndex(({ wordings }) => Object.values(wordings).includes(wording));
  const name = at < 0 ? "" : Object.keys(groups[at].wordings).find((each) => groups[at].wordings[each] === wording);
  menu.value = JSON.stringify(at >= 0 ? [at, name] : wording === "" ? [null, ""] : [OWN, ""]);
}

found("add").addEventListener("click", () => {
  setInstructions([...instructions(), ""]);
  list.lastElementChild.querySelector("input").focus();
});
