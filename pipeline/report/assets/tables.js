// Tables: sort by a heading, filter rows, fold baselines, show or hide columns; matrix of comparisons.
const rowsOf = (body) => [...body.rows].filter((row) => row.className !== "group");
for (const sortable of document.querySelectorAll("table.sortable")) {
  const headings = [...sortable.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const numeric = heading.dataset.numeric !== undefined;
    const orders = ["ascending", "descending"];
    if (heading.dataset.numeric === "more") orders.reverse();
    const order = orders[heading.getAttribute("aria-sort") === orders[0] ? 1 : 0];
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const compare = (a, b) => {
      if (!numeric) return sign * value(a).localeCompare(value(b), "en", { numeric: true });
      const [x, y] = [parseFloat(value(a)), parseFloat(value(b))];
      return Number.isNaN(x) - Number.isNaN(y) || sign * (x - y); // cells without a number come last
    };
    for (const body of sortable.tBodies) body.append(...rowsOf(body).sort(compare));
  }));
}

const board = byId("board");
const columnBoxes = [...document.querySelectorAll("[data-column]")];
const conditionBoxes = columnBoxes.filter((box) => board.tHead.querySelector(`.c-${box.dataset.column}:not(.number)`));
const filters = [...document.querySelectorAll("#filters [data-filter]")];
const plural = (count, noun) => `${count} ${noun}${Number(count) === 1 ? "" : "s"}`;
const isOpen = (body) => body.dataset.open === "1"; // whether baselines are shown
const ANY_VALUE = ["threshold", "left_out"]; // conditions that may differ without a column of their own
const LABELLED = ["threshold", "threshold_source", "empty_masks", "left_out"];
function filterBoard() {
  const active = filters.map((box) => [box.dataset.filter, box.value]).filter(([, value]) => value !== "");
  const differing = new Set();
  let count = 0;
  for (const body of board.tBodies) {
    const mainRegion = body.querySelector('[data-region="fov"]') ? "fov" : "full";
    const matching = rowsOf(body).filter((row) => active.every(([name, value]) => {
      if (name === "dataset") return body.dataset.dataset === value;
      if (name === "text") return row.cells[0].dataset.v.toLowerCase().includes(value.toLowerCase());
      if (value === "overall") return row.dataset.overall === "1";
      return row.dataset[name] === (value === "main" ? mainRegion : value);
    }));
    const shown = matching.filter((row) => row.dataset.kind !== "baseline" || isOpen(body));
    for (const row of rowsOf(body)) row.hidden = !shown.includes(row);
    body.hidden = !matching.length;
    count += shown.length;
    const texts = [];
    conditionBoxes.forEach(({ dataset: { column } }, index) => { // said once, or shown in a column
      const values = unique(shown.map((row) => row.cells[index + 1].textContent)).filter(Boolean);
      const label = board.tHead.rows[0].cells[index + 1].textContent.toLowerCase();
      const text = LABELLED.includes(column) ? `${label}: ${values[0]}` : values[0];
      if (values.length === 1) texts.push(column === "images" ? plural(values[0], "image") : text);
      else if (values.length && !ANY_VALUE.includes(column)) differing.add(column);
    });
    body.querySelector(".shared").textContent = texts.join(" · ");
    const fold = body.querySelector(".fold");
    const baselines = matching.filter((row) => row.dataset.kind === "baseline").length;
    fold.hidden = !baselines;
    fold.textContent = `${isOpen(body) ? "−" : "+"} ${plural(baselines, "baseline")}`;
    fold.setAttribute("aria-expanded", isOpen(body));
  }
  byId("board-count").textContent = `${count} of ${[...board.tBodies].flatMap(rowsOf).length} rows.`;
  for (const box of conditionBoxes) if (!box.dataset.chosen) box.checked = differing.has(box.dataset.column);
  showColumns();
}
function showColumns() {
  const hidden = columnBoxes.filter((box) => !box.checked).map((box) => `.c-${box.dataset.column}`);
  byId("columns-off").textContent = `${[...hidden, ".c-none"].join(",")} { display: none }`;
}
function openBaselines(bodies, open) {
  for (const body of bodies) body.dataset.open = open ? "1" : "";
  filterBoard();
}
for (const body of board.tBodies) {
  body.querySelector(".fold").addEventListener("click", () => openBaselines([body], !isOpen(body)));
}
for (const box of filters) box.addEventListener("input", filterBoard);
byId("show-all").addEventListener("click", () => {
  for (const box of filters) box.value = "";
  openBaselines(board.tBodies, true);
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("all-intervals").addEventListener("change", (event) => board.classList.toggle("intervals", event.target.checked));
if (matchMedia("(max-width: 45rem)").matches) for (const box of columnBoxes) box.checked = box.dataset.narrow === "True";
for (const box of columnBoxes) box.addEventListener("change", () => { box.dataset.chosen = "1"; showColumns(); });
beforePrint.push(() => openBaselines(board.tBodies, true));
filterBoard();

// -- matrix of paired comparisons: row minus column ---------------------------------------------------------------------
const families = DATA.comparisons;
const KEYS = { dataset: "Data set", metric: "Score", region: "Region", class: "Class" };
const chosen = { ...families[0] };
const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(3)}`;
const pText = (p) => (p === null ? "" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
function showMatrix(change) {
  Object.assign(chosen, change);
  const isMulticlass = METHODS.find(({ dataset }) => dataset === chosen.dataset).multiclass;
  if (change.dataset) chosen.metric = isMulticlass ? "iou" : "f1";
  let left = families;
  const menus = Object.entries(KEYS).map(([key, label]) => {
    const values = new Map(left.map((family) => [family[key], key === "metric" ? family.label : family[key]]));
    if (!values.has(chosen[key])) chosen[key] = ["fov", "mean", ...values.keys()].find((value) => values.has(value));
    left = left.filter((family) => family[key] === chosen[key]);
    return select(label, [...values], chosen[key], (value) => showMatrix({ [key]: value }));
  });
  setControls(byId("comparisons-controls"), menus);
  const [{ pairs, lower, label, split, comparisons }] = left;
  const cells = new Map();
  for (const [a, b, difference, low, high, , p, images] of pairs) {
    const bounds = low === null ? null : [low, high];
    cells.set(`${a} ${b}`, { difference, bounds, p, images });
    cells.set(`${b} ${a}`, { difference: -difference, bounds: bounds && [-high, -low], p, images });
  }
  const sign = lower ? -1 : 1;
  const indices = unique(pairs.flatMap(([a, b]) => [a, b]));
  // best first: by the mean difference from all others; baselines are columns only
  const lead = (a) => sign * indices.reduce((sum, b) => sum + (cells.get(`${a} ${b}`)?.difference ?? 0), 0);
  const isNetwork = (index) => METHODS[index].kind !== "baseline";
  const networks = indices.filter(isNetwork).sort((a, b) => lead(b) - lead(a));
  const columns = [...networks, ...indices.filter((index) => !isNetwork(index))];
  const cell = (a, b) => {
    if (!cells.has(`${a} ${b}`)) return element("td", { class: "none" }, a === b ? "" : "–");
    const { difference, bounds, p, images } = cells.get(`${a} ${b}`);
    const side = p === null || p >= 0.05 ? "unsure" : sign * difference > 0 ? "better" : "worse";
    const interval = bounds ? `[${bounds.map(signed).join(", ")}]` : "no interval";
    const title = `${nameOf(a)} − ${nameOf(b)}, ${images} images`;
    return element("td", { class: `number ${side}`, title }, signed(difference), element("small", {}, pText(p)),
      element("small", {}, interval));
  };
  byId("comparisons-content").replaceChildren(table("matrix", "Differences of scores, row minus column",
    ["row − column", ...columns.map(nameOf)], networks.map((a) => [nameOf(a), ...columns.map((b) => cell(a, b))])));
  byId("comparisons-note").textContent = `${label}${lower ? " (lower is better)" : ""}, ${split} images: mean of row − column, `
    + `p of a paired test with Holm correction for ${comparisons} comparisons, and the bootstrap interval.`;
}
if (families.length) showMatrix({ dataset: chosen.dataset });
