"use strict";
// Foreign text only ever becomes a text node or a property: nothing in these files reads text as HTML.
const { report: REPORT, said: SAID, sources: SOURCES } = JSON.parse(document.getElementById("data").textContent);
const BROKEN = new Set(["failed", "error"]);

const at = (id) => document.getElementById(id);

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function table(caption, head, rows) {
  const cell = (tag, value) => (value instanceof Node ? element(tag, {}, value) : element(tag, typeof value === "number" ? { class: "number" } : {}, String(value)));
  return element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value) => cell("td", value))))));
}

// Text between backticks is code, as in the comment.
function prose(text) {
  return text.split(/`+([^`]+)`+/).map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function show(id) {
  at(id).hidden = false;
}

function duration(seconds) {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

// Rounded down, so that 99.99 is never shown as 100.
const percent = (value) => `${Math.floor(value * 10) / 10} %`;
const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const place = (path, line) => (line ? `${path}:${line}` : path);
const ranges = (stretches) => stretches.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");

// The first ones, and a button for the rest.
function listed(items, make, limit = 20) {
  const list = element("ul", { class: "plain" }, ...items.slice(0, limit).map((item) => element("li", {}, make(item))));
  if (items.length > limit) {
    const more = element("button", { type: "button", onclick: () => {
      more.parentNode.remove();
      list.append(...items.slice(limit).map((item) => element("li", {}, make(item))));
    } }, `and ${plural(items.length - limit, "test")} more`);
    list.append(element("li", {}, more));
  }
  return list;
}
