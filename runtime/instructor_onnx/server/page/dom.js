// Elements made and found. Whatever a text says, it becomes a text node, never markup.

export const found = (id) => document.getElementById(id);

/** An element with properties (or attributes, where it has no such property) and children; a string is a text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** As `element`, of SVG. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The first characters of a text, on one line. */
export function short(text, most) {
  const line = text.replace(/\s+/g, " ").trim();
  const characters = Array.from(line.slice(0, 2 * most + 2)); // never half of a surrogate pair
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : line;
}

/** A CSS variable, as it is in the scheme (light or dark) that is shown. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** For long arithmetic: a function to await now and then, in which the browser has its turn when it is due. */
export function pauses(signal) {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < 12) return; // milliseconds: less than a picture of 60 a second
    await new Promise((resumed) => setTimeout(resumed));
    signal.throwIfAborted();
    since = performance.now();
  };
}
