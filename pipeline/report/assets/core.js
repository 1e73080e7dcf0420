// Shared by all scripts: data, theme, helpers. Texts are inserted as text nodes, never as markup.
const byId = (id) => document.getElementById(id);
const DATA = JSON.parse(byId("data-figures").textContent);
const IMAGES = JSON.parse(byId("data-images").textContent);
const METHODS = DATA.methods;
const REGIONS = { fov: "field of view", full: "whole image" };
const nameOf = (index) => METHODS[index].name;
const unique = (values) => [...new Set(values)];
const options = (values) => unique(values).map((value) => [value, value]);
const number = (value, digits = 3) => value?.toFixed(digits) ?? "–";

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}
const named = (text) => element("span", { class: "name" }, text);

function select(label, values, selected, onChange) {
  const menu = element("select", { onchange: () => onChange(menu.value) });
  for (const [value, text] of values) {
    menu.append(element("option", { value, selected: String(value) === String(selected) }, text));
  }
  return element("label", {}, label, menu);
}

function table(className, caption, headings, rows) { // rows: a text, and cells
  const head = headings.map((text, i) => element("th", { scope: "col", class: i ? "number" : null }, named(text)));
  const body = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, named(name)), ...cells));
  return element("table", { class: className }, element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

// Replaces the controls of a group, and keeps the focus on the one that was used
function setControls(box, nodes) {
  const focused = [...box.querySelectorAll("select, input")].indexOf(document.activeElement);
  box.replaceChildren(...nodes);
  box.querySelectorAll("select, input")[focused]?.focus();
}

// -- theme -------------------------------------------------------------------------------------------------------
const themeListeners = [];
const themeChanged = () => themeListeners.forEach((listener) => listener());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeChanged);

// -- print: open all details and render all figures, in light colours ------------------------------------------------
const beforePrint = [];
matchMedia("print").addEventListener("change", ({ matches }) => {
  for (const details of matches ? document.querySelectorAll("details:not(.chooser)") : []) details.open = true;
  for (const listener of matches ? beforePrint : [themeChanged]) listener();
});
