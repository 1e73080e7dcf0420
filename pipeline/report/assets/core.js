// What all parts share: the data, the theme, small helpers. Texts become nodes, never markup.
const DATA = JSON.parse(document.getElementById("data-figures").textContent);
const IMAGES = JSON.parse(document.getElementById("data-images").textContent);
const METHODS = DATA.methods;
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const number = (value, digits = 3) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits));

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function select(label, options, chosen, changed) {
  const box = element("select", { onchange: () => changed(box.value) });
  for (const [value, text] of options) box.append(element("option", { value, selected: String(value) === String(chosen) }, text));
  return element("label", {}, label, box);
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, index) =>
    element(index ? "td" : "th", index ? { class: "number" } : { scope: "row" }, typeof cell === "object" && cell !== null ? cell : String(cell ?? "–")))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

// -- theme ---------------------------------------------------------------------------------------------------------------
const themeListeners = [];
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const printing = matchMedia("print");
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return !printing.matches && (chosen === "dark" || (chosen !== "light" && darkSystem.matches));
};
function changeTheme(value) {
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
  for (const listener of themeListeners) listener();
}
byId("theme").addEventListener("change", (event) => changeTheme(event.target.value));
darkSystem.addEventListener("change", () => themeListeners.forEach((listener) => listener()));

// -- print: everything that is folded opens, and what waits to be seen is drawn ----------------------------------------------
const beforePrint = [];
let openedForPrint = [];
function toPrint() {
  if (openedForPrint.length) return;
  openedForPrint = [...document.querySelectorAll("details:not([open]):not([data-table]):not(.chooser)")];
  for (const details of openedForPrint) details.open = true;
  for (const prepare of beforePrint) prepare();
  themeListeners.forEach((listener) => listener());
}
function afterPrint() {
  for (const details of openedForPrint) details.open = false;
  openedForPrint = [];
  themeListeners.forEach((listener) => listener());
}
addEventListener("beforeprint", toPrint);
addEventListener("afterprint", afterPrint);
printing.addEventListener("change", (event) => (event.matches ? toPrint() : afterPrint()));
