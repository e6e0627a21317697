// Elements and figures. Text goes in as text alone: the page's CSP lets nothing become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; null children are left out. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

export const $ = (id) => document.getElementById(id);

/**
 * A table of text.
 * @param {string} caption read out, not seen
 * @param {string[]} headings of the columns
 * @param {Array<Array<string|Node>>} rows the first cell of each is its heading
 * @param {number} names how many columns, from the left, hold names; the others hold figures
 */
export function table(caption, headings, rows, names = 1) {
  const kind = (n) => (n < names ? {} : { class: "figure" });
  return el(
    "table",
    {},
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, headings.map((text, n) => el("th", { scope: "col", ...kind(n) }, text)))),
    el("tbody", {}, rows.map((cells) =>
      el("tr", {}, cells.map((cell, n) => el(n ? "td" : "th", n ? kind(n) : { scope: "row" }, cell))))),
  );
}

/** Puts a table into its box, which scrolls, and so is within reach of the keyboard. */
export function put(box, made) {
  const named = { tabindex: 0, role: "region", "aria-label": made.caption.textContent };
  for (const [name, value] of Object.entries(named)) box.setAttribute(name, value);
  box.replaceChildren(made);
}

export const count = (n) => Number(n).toLocaleString("en");

export const percent = (share, digits = 1) => (share === null ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`);

/** USD as people read it: fewer digits the more it is; a part of a cent is not 0. */
export function usd(amount) {
  const n = Number(amount);
  const size = Math.abs(n);
  const digits = size >= 1000 ? 0 : size >= 1 || size === 0 ? 2 : size >= 0.01 ? 4 : 6;
  const text = size.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${n < 0 ? "−" : ""}$${text}`;
}

/** The colour that the style sheet gives a name, such as "cheap". */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
