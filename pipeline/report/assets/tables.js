// Tables: sort by a heading, filter rows, show or hide columns.
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
      const rows = [...sortable.tBodies[0].rows].map((row) => [numeric ? parseFloat(value(row)) : value(row), row]);
      rows.sort(([a], [b]) => {
        if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // cells without a number come last
        return sign * (a - b);
      });
      sortable.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

const board = byId("board");
const filters = [...document.querySelectorAll("#filters [data-filter]")];
function filterBoard() {
  const active = filters.map((box) => [box.dataset.filter, box.value]).filter(([, value]) => value !== "");
  let count = 0;
  for (const row of board.tBodies[0].rows) {
    const matches = active.every(([name, value]) => {
      if (name === "text") return row.cells[0].dataset.v.toLowerCase().includes(value.toLowerCase());
      if (name === "class") return value === "overall" ? row.dataset.overall === "1" : row.dataset.class === value.slice(1);
      if (name === "kind") return value === "baseline" ? row.dataset.kind === "baseline" : row.dataset.kind !== "baseline";
      return row.dataset[name] === value;
    });
    row.hidden = !matches;
    count += matches;
  }
  byId("board-count").textContent = `${count} of ${board.tBodies[0].rows.length} rows`;
}
for (const box of filters) box.addEventListener("input", filterBoard);
byId("show-all").addEventListener("click", () => {
  for (const box of filters) box.value = "";
  filterBoard();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
filterBoard();

for (const box of document.querySelectorAll("[data-filter-table]")) {
  box.form.addEventListener("submit", (event) => event.preventDefault());
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of byId(box.dataset.filterTable).tBodies[0].rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

const columnBoxes = [...document.querySelectorAll("[data-column]")];
function showColumns() {
  const hidden = columnBoxes.filter((box) => !box.checked).map((box) => `.c-${box.dataset.column}`);
  byId("columns-off").textContent = hidden.length ? `${hidden.join(",")} { display: none }` : "";
}
if (matchMedia("(max-width: 45rem)").matches) for (const box of columnBoxes) box.checked = box.dataset.narrow === "1";
for (const box of columnBoxes) box.addEventListener("change", showColumns);
showColumns();
