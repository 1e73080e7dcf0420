// Shared by all scripts: data, theme, helpers. Texts are inserted as text nodes, never as markup.
const DATA = JSON.parse(document.getElementById("data-figures").textContent);
const IMAGES = JSON.parse(document.getElementById("data-images").textContent);
const METHODS = DATA.methods;
const nameOf = (index) => METHODS[index].name;
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const number = (value, digits = 3) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits));

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function select(label, options, selected, onChange) {
  const menu = element("select", { onchange: () => onChange(menu.value) });
  for (const [value, text] of options) menu.append(element("option", { value, selected: String(value) === String(selected) }, text));
  return element("label", {}, label, menu);
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, index) =>
    element(index ? "td" : "th", index ? { class: "number" } : { scope: "row" }, typeof cell === "object" && cell !== null ? cell : String(cell ?? "–")))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

const options = (values) => unique(values).map((value) => [value, value]);
const percent = (share) => (share === null ? "–" : share > 0 && share < 0.0005 ? "<0.1%" : `${(100 * share).toFixed(1)}%`);

// Replaces the controls of a group, and keeps the focus on the one that was used
function setControls(box, nodes) {
  const focused = [...box.querySelectorAll("select, input")].indexOf(document.activeElement);
  box.replaceChildren(...nodes);
  box.querySelectorAll("select, input")[focused]?.focus();
}

// -- theme ---------------------------------------------------------------------------------------------------------------
const themeListeners = [];
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const printing = matchMedia("print");
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return !printing.matches && (theme === "dark" || (theme !== "light" && systemDark.matches));
};
function changeTheme(value) {
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
  for (const listener of themeListeners) listener();
}
byId("theme").addEventListener("change", (event) => changeTheme(event.target.value));
systemDark.addEventListener("change", () => themeListeners.forEach((listener) => listener()));

// -- print: open all details and render all figures -----------------------------------------------------------------------
const beforePrint = [];
let openedForPrint = [];
function preparePrint() {
  if (openedForPrint.length) return;
  openedForPrint = [...document.querySelectorAll("details:not([open]):not([data-table]):not(.chooser)")];
  for (const details of openedForPrint) details.open = true;
  for (const prepare of beforePrint) prepare();
  themeListeners.forEach((listener) => listener());
}
function restoreAfterPrint() {
  for (const details of openedForPrint) details.open = false;
  openedForPrint = [];
  themeListeners.forEach((listener) => listener());
}
addEventListener("beforeprint", preparePrint);
addEventListener("afterprint", restoreAfterPrint);
printing.addEventListener("change", (event) => (event.matches ? preparePrint() : restoreAfterPrint()));
