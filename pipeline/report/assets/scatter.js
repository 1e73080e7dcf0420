// Single images: one score of a method against the share of foreground, or against another method.
const SCORES = DATA.scores;
const groupOf = (state) => DATA.images.find((one) => one.dataset === state.dataset && one.region === state.region);
const regionsOf = (dataset) => DATA.images.filter((one) => one.dataset === dataset).map((one) => one.region);
const mainRegion = (dataset) => (regionsOf(dataset).includes("fov") ? "fov" : regionsOf(dataset)[0]);
const scoredBy = (state) => (groupOf(state) ? Object.keys(groupOf(state).scores).map(Number) : []);
const scoreOfDataset = (dataset) => (METHODS.find((one) => one.dataset === dataset)?.several ? "iou" : "f1");
const SHARE = "share";
const PAGE = 50;

const imageState = { dataset: DATA.images[0]?.dataset, page: 0, find: "", against: SHARE, order: "worst" };
function settle(state) {
  if (!regionsOf(state.dataset).includes(state.region)) state.region = mainRegion(state.dataset);
  const there = scoredBy(state);
  if (!there.includes(state.method)) {
    state.method = there[0];
    state.against = SHARE;
    state.score = scoreOfDataset(state.dataset);
  }
  if (state.against !== SHARE && (Number(state.against) === state.method || !there.includes(Number(state.against)))) state.against = SHARE;
}
const across = (state, group) => (state.against === SHARE ? group.share : group.scores[state.against][state.score]);
new Figure("images", {
  state: imageState,
  controls: (state, set) => {
    if (!DATA.images.length) return [];
    settle(state);
    const names = scoredBy(state).map((index) => [index, nameOf(index)]);
    const change = (name, value) => { state.page = 0; set(name, value); };
    return [
      select("Data set", options(DATA.images.map((one) => one.dataset)), state.dataset, (value) => change("dataset", value)),
      select("Region", options(regionsOf(state.dataset)), state.region, (value) => change("region", value)),
      select("Upwards", names, state.method, (value) => change("method", Number(value))),
      select("Score", Object.entries(SCORES), state.score, (value) => change("score", value)),
      select("Sideways", [[SHARE, "share of foreground"], ...names.filter(([index]) => index !== state.method)], state.against, (value) => change("against", value)),
    ];
  },
  plots: (state) => {
    byId("images-plots").classList.add("single");
    const group = groupOf(state);
    if (!group) return [];
    const place = places.get(state.method);
    const y = group.scores[state.method][state.score];
    const x = across(state, group);
    const against = state.against === SHARE ? "share of foreground" : `${SCORES[state.score]} of ${plain(nameOf(state.against))}`;
    const many = group.ids.length > 1000;
    const line = { type: "line", x0: 0, x1: 1, y0: 0, y1: 1, line: { color: css("--soft"), dash: "dot", width: 1 }, layer: "below" };
    return [{
      traces: [{ x, y, customdata: group.ids.map((id, index) => [plain(id), index]), mode: "markers", name: plain(nameOf(state.method)),
        marker: { color: colour(place), symbol: many ? "circle" : MARKS[place % 7], size: many ? 5 : 9, opacity: many ? 0.5 : 0.85, line: { width: many ? 0 : 1, color: css("--paper") } },
        hovertemplate: `%{customdata[0]}<br>${against} %{x:.3f}<br>${SCORES[state.score]} %{y:.3f}<extra></extra>` }],
      layout: layout(`${SCORES[state.score]} of the test images, ${plain(nameOf(state.method))}`, against, SCORES[state.score],
        { yaxis: { range: [-0.03, 1.03] }, showlegend: false, ...(state.against === SHARE ? { xaxis: { rangemode: "tozero" } } : { xaxis: { range: [-0.03, 1.03] }, shapes: [line] }) }),
      alt: `Scatter of ${group.ids.length} test images: ${SCORES[state.score]} of ${nameOf(state.method)} over ${against}. Every image can be opened from the table below.`,
    }];
  },
  after: (holder, state) => {
    holder.removeAllListeners?.("plotly_click");
    holder.on("plotly_click", (event) => openImage(state.method, groupOf(state).ids[event.points[0].pointIndex], state.region));
  },
  said: (state) => {
    const group = groupOf(state);
    const values = group.scores[state.method][state.score].filter((value) => value !== null).sort((a, b) => a - b);
    const middle = values.length ? (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2 : null;
    let text = `${nameOf(state.method)}: ${values.length} of ${group.ids.length} test images have this score; lowest ${number(values[0])}, median ${number(middle)}, highest ${number(values.at(-1))}.`;
    if (state.against !== SHARE) {
      const other = across(state, group);
      const better = group.scores[state.method][state.score].filter((value, i) => value !== null && other[i] !== null && value > other[i]).length;
      text += ` Better than ${nameOf(state.against)} on ${better} of them.`;
    }
    return text;
  },
  rows: imageTable,
});

function imageTable(state) {
  const group = groupOf(state);
  if (!group) return element("p", {}, "Nothing to show.");
  const scores = group.scores[state.method];
  const redraw = () => figures.get("images").fillTable();
  const found = group.ids.map((id, index) => index).filter((index) => group.ids[index].toLowerCase().includes(state.find.toLowerCase()));
  const score = (index) => scores[state.score][index];
  const sign = { worst: 1, best: -1 }[state.order];
  // what has no score stands behind all that have one, in both orders
  if (sign) found.sort((a, b) => (score(a) === null) - (score(b) === null) || sign * (score(a) - score(b)));
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const rows = found.slice(state.page * PAGE, (state.page + 1) * PAGE).map((index) => [
    element("button", { type: "button", onclick: () => openImage(state.method, group.ids[index], state.region) }, element("span", { class: "name" }, group.ids[index])),
    number(group.share[index]), ...Object.keys(SCORES).map((name) => number(scores[name][index])),
  ]);
  const turn = (text, by, off) => element("button", { type: "button", disabled: off, onclick: () => { state.page += by; redraw(); } }, text);
  const search = element("input", { type: "search", value: state.find, id: "find-image", onchange: (event) => { state.find = event.target.value; state.page = 0; redraw(); } });
  return element("div", {},
    element("div", { class: "controls" }, element("label", {}, "Identifier contains", search),
      select("Order", [["worst", "worst first"], ["best", "best first"], ["id", "by identifier"]], state.order, (value) => { state.order = value; state.page = 0; redraw(); }),
      turn("Previous", -1, state.page === 0), element("span", { role: "status" }, `page ${state.page + 1} of ${pages}`), turn("Next", 1, state.page >= pages - 1)),
    table(["Image", "Foreground", ...Object.values(SCORES)], rows));
}
