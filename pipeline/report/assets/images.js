// Test images: scatter plot of their scores, grid of thumbnails, and a viewer with linked views.
const LAYERS = ["image", "mask", "prediction", "errors"];
const SCORES = DATA.scores;
const SHARE = "share";
const PAGE = 30;
const source = (index) => `data:image/webp;base64,${IMAGES[index]}`;
const SMALL = 200; // images with fewer pixels per side are enlarged without interpolation
const albums = METHODS.map((_, method) => new Map(DATA.album_ids[method].map((id, index) => [id, DATA.layers[method][index]])));
const groupOf = (dataset) => DATA.images.find((group) => group.dataset === dataset);
const methodsOf = (dataset) => Object.keys(groupOf(dataset)?.scores ?? {}).map(Number);
const mainScore = (method) => (METHODS[method].multiclass ? "iou" : "f1");
const bestOf = (dataset) => methodsOf(dataset).find((method) => METHODS[method].best) ?? methodsOf(dataset)[0];
const scoreAt = (method, id, name) => {
  const group = groupOf(METHODS[method].dataset);
  return group?.scores[method]?.[name][group.ids.indexOf(id)] ?? null;
};

// An image with one of its layers over it; null if the image is not embedded
function stage(method, id, layer) {
  const images = albums[method].get(id);
  if (!images) return null;
  const under = element("img", { class: "under", src: source(images[0]), alt: layer === "image" ? `image ${id}` : "" });
  const box = element("span", { class: `stage ${layer}` }, under);
  if (layer !== "image") box.append(element("img", { class: "over", src: source(images[LAYERS.indexOf(layer)]), alt: `${layer} of ${id}, ${nameOf(method)}` }));
  under.addEventListener("load", () => box.classList.toggle("small", Math.max(under.naturalWidth, under.naturalHeight) < SMALL));
  return box;
}

for (const button of document.querySelectorAll("button.thumb")) {
  const [method, { id }] = [Number(button.dataset.method), button.dataset];
  button.querySelector(".stage").replaceWith(stage(method, id, "errors") ?? element("span", { class: "stage missing" }, "not embedded"));
  const ids = [...button.parentElement.children].map((other) => other.dataset.id);
  button.addEventListener("click", () => openViewer(method, ids, ids.indexOf(id)));
}

// -- explorer: options, scatter plot, grid ------------------------------------------------------------------------------------------
const imageState = { dataset: DATA.images[0]?.dataset, page: 0, search: "", low: "", high: "", xAxis: SHARE, order: "worst", layer: "errors" };
function makeValid(state) {
  const methods = methodsOf(state.dataset);
  if (!methods.includes(state.method)) {
    state.method = bestOf(state.dataset);
    state.score = mainScore(state.method);
  }
  if (state.xAxis !== SHARE && (Number(state.xAxis) === state.method || !methods.includes(Number(state.xAxis)))) state.xAxis = SHARE;
}
const xValues = (state, group) => (state.xAxis === SHARE ? group.share : group.scores[state.xAxis][state.score]);

// Indices of the images that pass all filters, in order; images without a score come last
function selected(state) {
  const group = groupOf(state.dataset);
  const scores = group.scores[state.method][state.score];
  const [low, high] = [state.low === "" ? -Infinity : Number(state.low), state.high === "" ? Infinity : Number(state.high)];
  const isLimited = state.low !== "" || state.high !== "";
  const search = state.search.toLowerCase();
  const indices = group.ids.map((_, index) => index).filter((index) => group.ids[index].toLowerCase().includes(search)
    && (scores[index] === null ? !isLimited : scores[index] >= low && scores[index] <= high));
  const sign = { worst: 1, best: -1 }[state.order];
  if (sign) indices.sort((a, b) => (scores[a] === null) - (scores[b] === null) || sign * (scores[a] - scores[b]));
  return indices;
}

function showGrid(state) {
  const grid = byId("grid");
  if (!DATA.images.length) return;
  const group = groupOf(state.dataset);
  const indices = selected(state);
  const ids = indices.map((index) => group.ids[index]);
  const pages = Math.max(1, Math.ceil(indices.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const start = state.page * PAGE;
  grid.replaceChildren(...indices.slice(start, start + PAGE).map((index, offset) => {
    const id = group.ids[index];
    return element("button", { type: "button", class: "thumb", "data-id": id, onclick: () => openViewer(state.method, ids, start + offset) },
      stage(state.method, id, state.layer) ?? element("span", { class: "stage missing" }, "not embedded"),
      element("span", { class: "caption" }, element("b", {}, number(group.scores[state.method][state.score][index])), " ", element("span", { class: "name" }, id)));
  }));
  byId("page-status").textContent = `${indices.length} of ${group.ids.length} images, page ${state.page + 1} of ${pages}`;
  byId("page-back").disabled = state.page === 0;
  byId("page-on").disabled = state.page >= pages - 1;
  for (const legend of document.querySelectorAll("[data-legend]")) legend.hidden = legend.dataset.legend !== state.dataset;
}

const explorer = new Figure("images", {
  state: imageState,
  controls: (state, set) => {
    if (!DATA.images.length) return [];
    makeValid(state);
    const names = methodsOf(state.dataset).map((index) => [index, nameOf(index)]);
    const change = (name, value) => { state.page = 0; set(name, value); };
    const input = (label, name, properties) => element("label", {}, label, element("input", { value: state[name], ...properties, onchange: (event) => change(name, event.target.value) }));
    const limit = { type: "number", min: 0, max: 1, step: 0.05 };
    return [
      select("Data set", options(DATA.images.map((group) => group.dataset)), state.dataset, (value) => change("dataset", value)),
      select("Method", names, state.method, (value) => change("method", Number(value))),
      select("Score", Object.entries(SCORES), state.score, (value) => change("score", value)),
      input("From", "low", limit), input("To", "high", limit),
      select("Order", [["worst", "lowest first"], ["best", "highest first"], ["id", "by identifier"]], state.order, (value) => change("order", value)),
      input("Identifier contains", "search", { type: "search" }),
      select("Layer", options(LAYERS), state.layer, (value) => set("layer", value)),
      select("X axis", [[SHARE, "share of foreground"], ...names.filter(([index]) => index !== state.method)], state.xAxis, (value) => set("xAxis", value)),
    ];
  },
  plots: (state) => {
    showGrid(state);
    const group = groupOf(state.dataset);
    if (!group) return [];
    const position = positions.get(state.method);
    const y = group.scores[state.method][state.score];
    const x = xValues(state, group);
    const xTitle = state.xAxis === SHARE ? "share of foreground" : `${SCORES[state.score]} of ${plain(nameOf(state.xAxis))}`;
    const many = group.ids.length > 1000;
    const passing = new Set(selected(state));
    const diagonal = { type: "line", x0: 0, x1: 1, y0: 0, y1: 1, line: { color: css("--soft"), dash: "dot", width: 1 }, layer: "below" };
    return [{
      traces: [{ x, y, customdata: group.ids.map((id) => plain(id)), mode: "markers", name: plain(nameOf(state.method)),
        marker: { color: colour(position), symbol: many ? "circle" : MARKERS[position % 7], size: many ? 5 : 8, opacity: group.ids.map((_, index) => (passing.has(index) ? (many ? 0.5 : 0.85) : 0.08)), line: { width: many ? 0 : 1, color: css("--paper") } },
        hovertemplate: `%{customdata}<br>${xTitle} %{x:.3f}<br>${SCORES[state.score]} %{y:.3f}<extra></extra>` }],
      layout: layout(`${SCORES[state.score]} of each test image`, xTitle, SCORES[state.score],
        { yaxis: { range: [-0.03, 1.03] }, showlegend: false, ...(state.xAxis === SHARE ? { xaxis: { rangemode: "tozero" } } : { xaxis: { range: [-0.03, 1.03] }, shapes: [diagonal] }) }),
      alt: `Scatter of ${group.ids.length} test images: ${SCORES[state.score]} of ${nameOf(state.method)} over ${xTitle}. Every image can be opened from the list of images.`,
    }];
  },
  afterRender: (chart, state) => {
    chart.removeAllListeners?.("plotly_click");
    chart.on("plotly_click", (event) => {
      const { ids } = groupOf(state.dataset);
      const shown = selected(state);
      const clicked = event.points[0].pointIndex;
      const list = shown.includes(clicked) ? shown : [clicked];
      openViewer(state.method, list.map((index) => ids[index]), list.indexOf(clicked));
    });
  },
  summary: (state) => {
    const group = groupOf(state.dataset);
    const scores = group.scores[state.method][state.score];
    const values = scores.filter((value) => value !== null).sort((a, b) => a - b);
    const median = values.length ? (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2 : null;
    let text = `${nameOf(state.method)}: ${values.length} of ${group.ids.length} test images have this score; lowest ${number(values[0])}, median ${number(median)}, highest ${number(values.at(-1))}.`;
    if (state.xAxis !== SHARE) {
      const xScores = xValues(state, group);
      text += ` Higher than ${nameOf(state.xAxis)} on ${scores.filter((value, i) => value !== null && xScores[i] !== null && value > xScores[i]).length} of them.`;
    }
    return text;
  },
});
for (const [id, step] of [["page-back", -1], ["page-on", 1]]) byId(id).addEventListener("click", () => { imageState.page += step; showGrid(imageState); });
for (const link of document.querySelectorAll("a[data-below]")) {
  link.addEventListener("click", () => {
    const method = Number(link.dataset.method);
    Object.assign(imageState, { dataset: METHODS[method].dataset, method, score: mainScore(method), low: "", high: link.dataset.below, search: "", order: "worst", page: 0 });
    explorer.refreshControls();
    explorer.render();
  });
}

// -- viewer: views of one image that zoom and move together ------------------------------------------------------------------------
const viewer = byId("viewer");
const panes = byId("panes");
const MOST_ZOOM = 32;
const view = { scale: 1, x: 0, y: 0, ids: [], index: 0, beside: "" }; // x, y: position of the image's corner, in widths and heights of a pane
const frames = () => [...panes.querySelectorAll(".frame")];

function zoomTo(scale, px = 0.5, py = 0.5) {
  const next = Math.min(MOST_ZOOM, Math.max(1, scale));
  const inside = (position) => Math.min(0, Math.max(1 - next, position));
  view.x = inside(px - (px - view.x) * (next / view.scale));
  view.y = inside(py - (py - view.y) * (next / view.scale));
  view.scale = next;
  for (const frame of frames()) {
    const box = frame.querySelector(".stage");
    box.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${next})`;
    box.classList.toggle("zoomed", next > 2);
    frame.classList.toggle("movable", next > 1);
  }
  byId("zoom-level").textContent = `${next.toFixed(1)}×`;
}
function move(dx, dy) {
  view.x += dx;
  view.y += dy;
  zoomTo(view.scale, 0, 0);
}

function showView() {
  const { method, ids, index } = view;
  const id = ids[index];
  const { dataset } = METHODS[method];
  const others = METHODS.map((_, other) => other).filter((other) => other !== method && METHODS[other].dataset === dataset && albums[other].has(id));
  if (view.beside !== "" && !others.includes(Number(view.beside))) view.beside = "";
  const score = mainScore(method);
  const label = (owner) => `${nameOf(owner)}: ${SCORES[score]} ${number(scoreAt(owner, id, score))}`;
  byId("viewer-title").replaceChildren(element("span", { class: "name" }, id), `, ${label(method)}`);
  byId("viewer-position").textContent = `${index + 1} of ${ids.length}`;
  byId("viewer-back").disabled = index === 0;
  byId("viewer-on").disabled = index === ids.length - 1;
  const beside = select("Beside it", [["", "no other method"], ...others.map((other) => [other, nameOf(other)])], view.beside, (value) => { view.beside = value; showView(); byId("viewer-beside").querySelector("select").focus(); });
  byId("viewer-beside").replaceChildren(...(others.length ? [beside] : []));
  const shown = LAYERS.map((layer) => [method, layer, layer]);
  if (view.beside !== "") for (const layer of ["prediction", "errors"]) shown.push([Number(view.beside), layer, `${layer} of ${label(Number(view.beside))}`]);
  const pictures = albums[method].has(id) ? shown.map(([owner, layer, text]) => element("figure", {}, element("div", { class: "frame" }, stage(owner, id, layer)), element("figcaption", {}, text))) : [];
  panes.replaceChildren(...(pictures.length ? pictures : [element("p", {}, "This image is not embedded, because there are too many test images.")]));
  const facts = element("dl", {});
  const add = (name, value) => facts.append(element("dt", {}, name), element("dd", {}, value));
  for (const [name, text] of Object.entries(SCORES)) add(text, number(scoreAt(method, id, name)));
  const group = groupOf(dataset);
  add("Foreground", number(group?.share[group.ids.indexOf(id)]));
  add("Region", group?.region === "fov" ? "field of view" : "whole image");
  if (METHODS[method].panels) add("File", element("a", { href: `${METHODS[method].panels}/${encodeURIComponent(id)}.png` }, "full panel"));
  byId("viewer-facts").replaceChildren(facts);
  zoomTo(1);
}
function openViewer(method, ids, index) {
  Object.assign(view, { method, ids, index });
  showView();
  viewer.showModal();
  panes.focus();
}
function step(by) {
  const index = view.index + by;
  if (index < 0 || index >= view.ids.length) return;
  view.index = index;
  showView();
}
byId("viewer-close").addEventListener("click", () => viewer.close());
byId("viewer-back").addEventListener("click", () => step(-1));
byId("viewer-on").addEventListener("click", () => step(1));
byId("zoom-in").addEventListener("click", () => zoomTo(view.scale * 1.5));
byId("zoom-out").addEventListener("click", () => zoomTo(view.scale / 1.5));
byId("zoom-reset").addEventListener("click", () => zoomTo(1));
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
viewer.addEventListener("keydown", (event) => {
  if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
  const upwards = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
  if (event.shiftKey && (sideways || upwards)) move(-sideways / 8, -upwards / 8);
  else if (sideways) step(sideways);
  else if (event.key === "+" || event.key === "=") zoomTo(view.scale * 1.5);
  else if (event.key === "-") zoomTo(view.scale / 1.5);
  else if (event.key === "0") zoomTo(1);
  else return;
  event.preventDefault();
});
const place = (frame, { clientX, clientY }) => {
  const { left, top, width, height } = frame.getBoundingClientRect();
  return [(clientX - left) / width, (clientY - top) / height];
};
panes.addEventListener("wheel", (event) => {
  const frame = event.target.closest(".frame");
  if (!frame) return;
  event.preventDefault();
  zoomTo(view.scale * Math.exp(-event.deltaY / 400), ...place(frame, event));
}, { passive: false });
panes.addEventListener("dblclick", () => zoomTo(1));
const pointers = new Map(); // position of each pressed pointer in its frame
panes.addEventListener("pointerdown", (event) => {
  const frame = event.target.closest(".frame");
  if (!frame) return;
  frame.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [frame, ...place(frame, event)]);
});
panes.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return;
  const [frame, oldX, oldY] = pointers.get(event.pointerId);
  const [x, y] = place(frame, event);
  const other = [...pointers].find(([key]) => key !== event.pointerId)?.[1];
  if (other) {
    const distance = (px, py) => Math.hypot(px - other[1], py - other[2]) || 1e-6;
    zoomTo(view.scale * (distance(x, y) / distance(oldX, oldY)), (x + other[1]) / 2, (y + other[2]) / 2);
  } else move(x - oldX, y - oldY);
  pointers.set(event.pointerId, [frame, x, y]);
});
for (const name of ["pointerup", "pointercancel"]) panes.addEventListener(name, (event) => pointers.delete(event.pointerId));

// -- links within the page: figures above the target get their final height first ---------------------------------------------------
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const target = link && byId(link.getAttribute("href").slice(1));
  if (!target) return;
  for (const figure of figures.values()) {
    if (!figure.rendered && figure.container.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING) figure.render();
  }
});
