// Scatter plot of individual images: a score of one method against the share of foreground or against another method.
const SCORES = DATA.scores;
const groupOf = (state) => DATA.images.find((group) => group.dataset === state.dataset && group.region === state.region);
const regionsOf = (dataset) => DATA.images.filter((group) => group.dataset === dataset).map((group) => group.region);
const mainRegion = (dataset) => (regionsOf(dataset).includes("fov") ? "fov" : regionsOf(dataset)[0]);
const methodsOf = (state) => (groupOf(state) ? Object.keys(groupOf(state).scores).map(Number) : []);
const scoreOfDataset = (dataset) => (METHODS.find((method) => method.dataset === dataset)?.multiclass ? "iou" : "f1");
const SHARE = "share";
const PAGE = 50;

const imageState = { dataset: DATA.images[0]?.dataset, page: 0, search: "", xAxis: SHARE, order: "worst" };
function makeValid(state) {
  if (!regionsOf(state.dataset).includes(state.region)) state.region = mainRegion(state.dataset);
  const methods = methodsOf(state);
  if (!methods.includes(state.method)) {
    state.method = methods[0];
    state.xAxis = SHARE;
    state.score = scoreOfDataset(state.dataset);
  }
  if (state.xAxis !== SHARE && (Number(state.xAxis) === state.method || !methods.includes(Number(state.xAxis)))) state.xAxis = SHARE;
}
const xValues = (state, group) => (state.xAxis === SHARE ? group.share : group.scores[state.xAxis][state.score]);
new Figure("images", {
  state: imageState,
  controls: (state, set) => {
    if (!DATA.images.length) return [];
    makeValid(state);
    const names = methodsOf(state).map((index) => [index, nameOf(index)]);
    const change = (name, value) => { state.page = 0; set(name, value); };
    return [
      select("Data set", options(DATA.images.map((group) => group.dataset)), state.dataset, (value) => change("dataset", value)),
      select("Region", options(regionsOf(state.dataset)), state.region, (value) => change("region", value)),
      select("Y axis", names, state.method, (value) => change("method", Number(value))),
      select("Score", Object.entries(SCORES), state.score, (value) => change("score", value)),
      select("X axis", [[SHARE, "share of foreground"], ...names.filter(([index]) => index !== state.method)], state.xAxis, (value) => change("xAxis", value)),
    ];
  },
  plots: (state) => {
    byId("images-plots").classList.add("single");
    const group = groupOf(state);
    if (!group) return [];
    const position = positions.get(state.method);
    const y = group.scores[state.method][state.score];
    const x = xValues(state, group);
    const xTitle = state.xAxis === SHARE ? "share of foreground" : `${SCORES[state.score]} of ${plain(nameOf(state.xAxis))}`;
    const many = group.ids.length > 1000;
    const diagonal = { type: "line", x0: 0, x1: 1, y0: 0, y1: 1, line: { color: css("--soft"), dash: "dot", width: 1 }, layer: "below" };
    return [{
      traces: [{ x, y, customdata: group.ids.map((id, index) => [plain(id), index]), mode: "markers", name: plain(nameOf(state.method)),
        marker: { color: colour(position), symbol: many ? "circle" : MARKERS[position % 7], size: many ? 5 : 9, opacity: many ? 0.5 : 0.85, line: { width: many ? 0 : 1, color: css("--paper") } },
        hovertemplate: `%{customdata[0]}<br>${xTitle} %{x:.3f}<br>${SCORES[state.score]} %{y:.3f}<extra></extra>` }],
      layout: layout(`${SCORES[state.score]} of the test images, ${plain(nameOf(state.method))}`, xTitle, SCORES[state.score],
        { yaxis: { range: [-0.03, 1.03] }, showlegend: false, ...(state.xAxis === SHARE ? { xaxis: { rangemode: "tozero" } } : { xaxis: { range: [-0.03, 1.03] }, shapes: [diagonal] }) }),
      alt: `Scatter of ${group.ids.length} test images: ${SCORES[state.score]} of ${nameOf(state.method)} over ${xTitle}. Every image can be opened from the table below.`,
    }];
  },
  afterRender: (chart, state) => {
    chart.removeAllListeners?.("plotly_click");
    chart.on("plotly_click", (event) => openImage(state.method, groupOf(state).ids[event.points[0].pointIndex], state.region));
  },
  summary: (state) => {
    const group = groupOf(state);
    const values = group.scores[state.method][state.score].filter((value) => value !== null).sort((a, b) => a - b);
    const median = values.length ? (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2 : null;
    let text = `${nameOf(state.method)}: ${values.length} of ${group.ids.length} test images have this score; lowest ${number(values[0])}, median ${number(median)}, highest ${number(values.at(-1))}.`;
    if (state.xAxis !== SHARE) {
      const xScores = xValues(state, group);
      const higher = group.scores[state.method][state.score].filter((value, i) => value !== null && xScores[i] !== null && value > xScores[i]).length;
      text += ` Higher than ${nameOf(state.xAxis)} on ${higher} of them.`;
    }
    return text;
  },
  rows: imageTable,
});

function imageTable(state) {
  const group = groupOf(state);
  if (!group) return element("p", {}, "No data.");
  const scores = group.scores[state.method];
  const refresh = () => figures.get("images").fillTable();
  const indices = group.ids.map((id, index) => index).filter((index) => group.ids[index].toLowerCase().includes(state.search.toLowerCase()));
  const score = (index) => scores[state.score][index];
  const sign = { worst: 1, best: -1 }[state.order];
  // images without a score come last in both orders
  if (sign) indices.sort((a, b) => (score(a) === null) - (score(b) === null) || sign * (score(a) - score(b)));
  const pages = Math.max(1, Math.ceil(indices.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const rows = indices.slice(state.page * PAGE, (state.page + 1) * PAGE).map((index) => [
    element("button", { type: "button", onclick: () => openImage(state.method, group.ids[index], state.region) }, element("span", { class: "name" }, group.ids[index])),
    number(group.share[index]), ...Object.keys(SCORES).map((name) => number(scores[name][index])),
  ]);
  const pageButton = (text, step, disabled) => element("button", { type: "button", disabled, onclick: () => { state.page += step; refresh(); } }, text);
  const search = element("input", { type: "search", value: state.search, id: "find-image", onchange: (event) => { state.search = event.target.value; state.page = 0; refresh(); } });
  return element("div", {},
    element("div", { class: "controls" }, element("label", {}, "Identifier contains", search),
      select("Order", [["worst", "worst first"], ["best", "best first"], ["id", "by identifier"]], state.order, (value) => { state.order = value; state.page = 0; refresh(); }),
      pageButton("Previous", -1, state.page === 0), element("span", { role: "status" }, `page ${state.page + 1} of ${pages}`), pageButton("Next", 1, state.page >= pages - 1)),
    table(["Image", "Foreground", ...Object.values(SCORES)], rows));
}
