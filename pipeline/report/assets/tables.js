// Tables: sort by a heading, filter rows, fold baselines, show or hide columns; matrix of comparisons.
for (const sortable of document.querySelectorAll("table.sortable")) {
  const headings = [...sortable.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.dataset.numeric !== undefined;
      const defaultOrder = heading.dataset.numeric === "more" ? "descending" : "ascending";
      const reversed = defaultOrder === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === defaultOrder ? reversed : defaultOrder;
      for (const cell of headings) cell.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      for (const body of sortable.tBodies) {
        const rows = [...body.rows].filter((row) => row.className !== "group").map((row) => [numeric ? parseFloat(value(row)) : value(row), row]);
        rows.sort(([a], [b]) => {
          if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
          if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // cells without a number come last
          return sign * (a - b);
        });
        body.append(...rows.map(([, row]) => row));
      }
    });
  });
}

const board = byId("board");
const filters = [...document.querySelectorAll("#filters [data-filter]")];
const columnBoxes = [...document.querySelectorAll("[data-column]")];
const conditionBoxes = columnBoxes.filter((box) => board.tHead.querySelector(`.c-${box.dataset.column}:not(.number)`));
const mainRegionOf = (body) => (body.querySelector('[data-region="fov"]') ? "fov" : "full");
const ANY_VALUE = ["threshold", "left_out"]; // conditions that may differ without a column of their own
function filterBoard() {
  const active = filters.map((box) => [box.dataset.filter, box.value]).filter(([, value]) => value !== "");
  let [count, total] = [0, 0];
  const differing = new Set();
  for (const body of board.tBodies) {
    const shown = [];
    let baselines = 0;
    for (const row of body.rows) {
      if (row.className === "group") continue;
      const matches = active.every(([name, value]) => {
        if (name === "dataset") return body.dataset.dataset === value;
        if (name === "text") return row.cells[0].dataset.v.toLowerCase().includes(value.toLowerCase());
        if (name === "class") return value === "overall" ? row.dataset.overall === "1" : row.dataset.class === value.slice(1);
        if (name === "region" && value === "main") return row.dataset.region === mainRegionOf(body);
        return row.dataset[name] === value;
      });
      const folded = row.dataset.kind === "baseline" && body.dataset.open === undefined;
      row.hidden = !matches || folded;
      if (matches && row.dataset.kind === "baseline") baselines += 1;
      if (!row.hidden) shown.push(row);
      total += 1;
    }
    count += shown.length;
    body.hidden = !shown.length && !baselines;
    const texts = [];
    conditionBoxes.forEach((box, index) => {
      const values = unique(shown.map((row) => row.cells[index + 1].textContent)).filter(Boolean);
      const label = board.tHead.rows[0].cells[index + 1].textContent.toLowerCase();
      const prefix = ["threshold", "threshold_source", "empty_masks", "left_out"].includes(box.dataset.column) ? `${label}: ` : "";
      if (values.length === 1) texts.push(`${prefix}${values[0]}${box.dataset.column === "images" ? ` image${values[0] === "1" ? "" : "s"}` : ""}`);
      else if (values.length && !ANY_VALUE.includes(box.dataset.column)) differing.add(box.dataset.column);
    });
    body.querySelector(".shared").textContent = texts.join(" · ");
    const fold = body.querySelector(".fold");
    fold.hidden = !baselines;
    fold.textContent = `${body.dataset.open === undefined ? "+" : "−"} ${baselines} baseline${baselines === 1 ? "" : "s"}`;
    fold.setAttribute("aria-expanded", body.dataset.open !== undefined);
  }
  byId("board-count").textContent = `${count} of ${total} rows.`;
  for (const box of conditionBoxes) if (!box.dataset.chosen) box.checked = differing.has(box.dataset.column);
  showColumns();
}
function showColumns() {
  const hidden = columnBoxes.filter((box) => !box.checked).map((box) => `.c-${box.dataset.column}`);
  byId("columns-off").textContent = hidden.length ? `${hidden.join(",")} { display: none }` : "";
}
for (const fold of document.querySelectorAll(".fold")) {
  fold.addEventListener("click", () => {
    const body = fold.closest("tbody");
    if (body.dataset.open === undefined) body.dataset.open = "";
    else delete body.dataset.open;
    filterBoard();
  });
}
for (const box of filters) box.addEventListener("input", filterBoard);
byId("show-all").addEventListener("click", () => {
  for (const box of filters) box.value = "";
  for (const body of board.tBodies) body.dataset.open = "";
  filterBoard();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("all-intervals").addEventListener("change", (event) => board.classList.toggle("intervals", event.target.checked));
if (matchMedia("(max-width: 45rem)").matches) for (const box of columnBoxes) box.checked = box.dataset.narrow === "1";
for (const box of columnBoxes) box.addEventListener("change", () => { box.dataset.chosen = "1"; showColumns(); });
beforePrint.push(() => { for (const body of board.tBodies) body.dataset.open = ""; filterBoard(); });
filterBoard();

// -- matrix of paired comparisons: row minus column -----------------------------------------------------------------------------
const families = DATA.comparisons;
const KEYS = ["dataset", "metric", "region", "class"];
const chosen = { ...families[0] };
function showMatrix(change = { dataset: chosen.dataset }) {
  Object.assign(chosen, change);
  if (change.dataset) chosen.metric = METHODS.find(({ dataset }) => dataset === change.dataset).multiclass ? "iou" : "f1";
  let left = families;
  const menus = KEYS.map((key) => {
    const values = unique(left.map((family) => family[key]));
    if (!values.includes(chosen[key])) chosen[key] = values.includes("fov") ? "fov" : values.includes("mean") ? "mean" : values[0];
    left = left.filter((family) => family[key] === chosen[key]);
    const labels = values.map((value) => [value, key === "metric" ? families.find((family) => family.metric === value).label : value]);
    return select({ dataset: "Data set", metric: "Score", region: "Region", class: "Class" }[key], labels, chosen[key], (value) => showMatrix({ [key]: value }));
  });
  setControls(byId("matrix-controls"), menus);
  const [family] = left;
  const cells = new Map();
  for (const [a, b, difference, low, high, , p, images] of family.pairs) {
    cells.set(`${a} ${b}`, [difference, low, high, p, images]);
    cells.set(`${b} ${a}`, [-difference, high === null ? null : -high, low === null ? null : -low, p, images]);
  }
  const indices = unique(family.pairs.flatMap(([a, b]) => [a, b]));
  const networks = indices.filter((index) => METHODS[index].kind !== "baseline");
  // best first: by the mean difference from all others
  const mean = (a) => indices.reduce((sum, b) => sum + (cells.get(`${a} ${b}`)?.[0] ?? 0), 0) * (family.lower ? 1 : -1);
  networks.sort((a, b) => mean(a) - mean(b));
  const columns = [...networks, ...indices.filter((index) => METHODS[index].kind === "baseline")];
  const signed = (value) => (value === null ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(3)}`);
  const pText = (p) => (p === null ? "" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
  const cell = (a, b) => {
    const found = cells.get(`${a} ${b}`);
    if (!found) return element("td", { class: "none" }, a === b ? "" : "–");
    const [difference, low, high, p, images] = found;
    const sure = p !== null && p < 0.05;
    const interval = low === null ? "no interval" : `[${signed(low)}, ${signed(high)}]`;
    const side = (family.lower ? -difference : difference) > 0 ? "better" : "worse";
    return element("td", { class: `number ${sure ? side : "unsure"}`, title: `${nameOf(a)} − ${nameOf(b)}: ${signed(difference)} ${interval}, corrected ${pText(p)}, ${images} images` },
      signed(difference), element("small", {}, pText(p)), element("small", { class: "interval" }, interval));
  };
  const head = element("tr", {}, element("th", { scope: "col" }, "row − column"), ...columns.map((index) => element("th", { scope: "col", class: "number" }, element("span", { class: "name" }, nameOf(index)))));
  const rows = networks.map((a) => element("tr", {}, element("th", { scope: "row" }, element("span", { class: "name" }, nameOf(a))), ...columns.map((b) => cell(a, b))));
  byId("matrix").replaceChildren(element("table", { class: "matrix" }, element("caption", { class: "hidden" }, "Differences of scores, row minus column"), element("thead", {}, head), element("tbody", {}, ...rows)));
  byId("matrix-note").textContent = `${family.label}${family.lower ? " (lower is better)" : ""}, ${family.split} images: mean of row − column, p of a paired test with Holm correction for ${family.comparisons} comparisons, and the bootstrap interval.`;
}
if (families.length) showMatrix();
