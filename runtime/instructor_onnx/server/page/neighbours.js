// The nearest neighbours of a text under each instruction, side by side, and how many of them differ.

import { element, pauses } from "./dom.js";
import { nearest, similarities } from "./geometry.js";
import { signIcon } from "./shapes.js";

const SHOWN = 6;
export const COMPARED = 5; // of the sentence about all texts

/** A column of one instruction: the title and the list of neighbours. */
export function columns(result, chosen, onChoose) {
  const scores = result.units.map((unit) => similarities(unit, result.width, chosen));
  const lists = scores.map((each) => nearest(each, chosen, SHOWN));
  return lists.map((list, at) => {
    const items = list.map((text) => {
      const bar = element("span", { className: "bar" }, element("span", {}));
      bar.firstChild.style.width = `${Math.round(100 * Math.max(0, Math.min(1, scores[at][text])))}%`;
      const button = element(
        "button",
        { type: "button", className: "neighbour" },
        element("span", { className: "value" }, scores[at][text].toFixed(2)),
        bar,
        element("span", { className: "text" }, ...(result.labels ? [signIcon(result.signs.of[text]), " "] : []), result.texts[text]),
        ...(result.labels ? [element("span", { className: "unseen" }, `, ${result.labels[text]}`)] : []),
      );
      const alone = lists.every((other) => other === list || !other.includes(text));
      if (alone) button.append(element("span", { className: "only" }, "only here"));
      button.addEventListener("click", () => onChoose(text));
      return element("li", { className: alone ? "alone" : "" }, button);
    });
    return element("div", {}, result.title(at), element("ol", { className: "neighbours" }, ...items));
  });
}

/**
 * Of all texts: {kept: how many of the COMPARED nearest under the first instruction are so under the last, on average;
 * agreeing: for each instruction, in how many of 100 texts the nearest one has its label}.
 */
export async function overview({ units, width, labels, texts }, signal) {
  const most = Math.min(COMPARED, texts.length - 1);
  let kept = 0;
  const agreeing = units.map(() => 0);
  const pause = pauses(signal);
  for (let text = 0; text < texts.length; text++) {
    const lists = units.map((unit) => nearest(similarities(unit, width, text), text, most));
    kept += lists[0].filter((other) => lists.at(-1).includes(other)).length;
    if (labels) lists.forEach((list, at) => (agreeing[at] += Number(labels[list[0]] === labels[text])));
    await pause();
  }
  return { most, kept: kept / texts.length, agreeing: agreeing.map((count) => Math.round((100 * count) / texts.length)) };
}
