// Test images: thumbnails that can be filtered, and a viewer with linked views.
const LAYERS = ["image", "mask", "prediction", "errors"];
const SCORES = DATA.scores;
const MORE = 30; // thumbnails that each click on "Show more" adds
const SMALL = 200; // images with fewer pixels per side are enlarged without interpolation
const albums = METHODS.map((_, method) =>
  new Map(DATA.album_ids[method].map((id, index) => [id, DATA.layers[method][index]])));
const groupOf = (dataset) => DATA.images.find((group) => group.dataset === dataset);
const mainScore = (method) => (METHODS[method].multiclass ? "iou" : "f1");

// An image with one of its layers over it
function stage(method, id, layer) {
  const images = albums[method].get(id);
  if (!images) return element("span", { class: "stage missing" }, "not embedded");
  const image = (index, more) => element("img", { src: `data:image/webp;base64,${IMAGES[index]}`, ...more });
  const under = image(images[0], { class: "under", alt: layer === "image" ? `image ${id}` : "" });
  const box = element("span", { class: `stage ${layer}` }, under);
  const alt = `${layer} of ${id}, ${nameOf(method)}`;
  if (layer !== "image") box.append(image(images[LAYERS.indexOf(layer)], { class: "over", alt }));
  under.addEventListener("load", () =>
    box.classList.toggle("small", Math.max(under.naturalWidth, under.naturalHeight) < SMALL));
  return box;
}

for (const button of document.querySelectorAll("button.thumb")) {
  const [method, id] = [Number(button.dataset.method), button.dataset.id];
  const ids = [...button.parentElement.children].map((other) => other.dataset.id);
  button.prepend(stage(method, id, "errors"));
  button.addEventListener("click", () => openViewer(method, ids, ids.indexOf(id)));
}

// -- thumbnails of one method, filtered and in order ---------------------------------------------------------------
const filter = { dataset: DATA.images[0]?.dataset, search: "", low: "", high: "", order: "worst", layer: "errors" };
function showImages(change = {}) {
  if (!DATA.images.length) return;
  Object.assign(filter, { count: MORE }, change);
  const { ids, scores: scoresOf } = groupOf(filter.dataset);
  const methods = Object.keys(scoresOf).map(Number);
  if (!methods.includes(filter.method)) {
    filter.method = methods.find((method) => METHODS[method].best) ?? methods[0];
    filter.score = mainScore(filter.method);
  }
  const menu = (label, name, values) => select(label, values, filter[name], (value) => showImages({ [name]: value }));
  const input = (label, name, properties) => element("label", {}, label, element("input", {
    value: filter[name], ...properties, onchange: (event) => showImages({ [name]: event.target.value }),
  }));
  const limit = { type: "number", min: 0, max: 1, step: 0.05 };
  setControls(byId("images-controls"), [
    menu("Data set", "dataset", options(DATA.images.map((group) => group.dataset))),
    select("Method", methods.map((method) => [method, nameOf(method)]), filter.method,
      (value) => showImages({ method: Number(value) })),
    menu("Score", "score", Object.entries(SCORES)),
    input("From", "low", limit), input("To", "high", limit),
    menu("Order", "order", [["worst", "lowest first"], ["best", "highest first"], ["id", "by identifier"]]),
    input("Identifier contains", "search", { type: "search" }),
    menu("Layer", "layer", options(LAYERS)),
  ]);

  const scores = scoresOf[filter.method][filter.score];
  const { low, high } = filter;
  const passes = (score) => (score === null ? low + high === ""
    : (low === "" || score >= Number(low)) && (high === "" || score <= Number(high)));
  const indices = [...ids.keys()].filter((index) =>
    ids[index].toLowerCase().includes(filter.search.toLowerCase()) && passes(scores[index]));
  const sign = { worst: 1, best: -1 }[filter.order];
  // images without a score come last
  if (sign) indices.sort((a, b) => (scores[a] === null) - (scores[b] === null) || sign * (scores[a] - scores[b]));
  const shown = indices.map((index) => ids[index]);
  const grid = element("div", { class: "grid" }, ...indices.slice(0, filter.count).map((index, at) => element("button",
    { type: "button", class: "thumb", onclick: () => openViewer(filter.method, shown, at) },
    stage(filter.method, ids[index], filter.layer),
    element("span", { class: "caption" }, element("b", {}, number(scores[index])), " ", named(ids[index])))));
  const showMore = () => showImages({ count: filter.count + MORE });
  const more = element("button", { type: "button", onclick: showMore }, "Show more");
  byId("images-content").replaceChildren(grid, ...(indices.length > filter.count ? [more] : []));
  byId("images-note").replaceChildren(`${indices.length} of ${ids.length} test images. `,
    ...(filter.layer === "errors" ? [] : DATA.legends[filter.dataset] ?? []).map(([name, colour]) =>
      element("span", {}, element("i", { style: `background: ${colour}` }), name)));
}
for (const link of document.querySelectorAll("a[data-below]")) {
  link.addEventListener("click", () => {
    const [method, high] = [Number(link.dataset.method), link.dataset.below];
    const { dataset } = METHODS[method];
    showImages({ dataset, method, score: mainScore(method), low: "", high, search: "", order: "worst" });
  });
}
showImages();

// -- viewer: views of one image that zoom and move together ---------------------------------------------------------
const viewer = byId("viewer");
const panes = byId("panes");
const MOST_ZOOM = 32;
// x, y: position of the image's corner, in widths and heights of a pane
const view = { scale: 1, x: 0, y: 0, ids: [], index: 0, beside: "" };

function zoomTo(scale, px = 0.5, py = 0.5) {
  const next = Math.min(MOST_ZOOM, Math.max(1, scale));
  const inside = (position) => Math.min(0, Math.max(1 - next, position));
  view.x = inside(px - (px - view.x) * (next / view.scale));
  view.y = inside(py - (py - view.y) * (next / view.scale));
  view.scale = next;
  for (const box of panes.querySelectorAll(".stage")) {
    box.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${next})`;
    box.classList.toggle("zoomed", next > 2);
    box.parentElement.classList.toggle("movable", next > 1);
  }
  byId("viewer-status").textContent = `${view.index + 1} of ${view.ids.length}, ${next.toFixed(1)}×`;
}
function move(dx, dy) {
  view.x += dx;
  view.y += dy;
  zoomTo(view.scale, 0, 0);
}

function showView() {
  const { method, ids, index } = view;
  const id = ids[index];
  const { dataset, panels } = METHODS[method];
  const { ids: allIds, share, scores, region } = groupOf(dataset);
  const at = allIds.indexOf(id);
  const scoreOf = (owner, name) => number(scores[owner]?.[name][at]);
  const label = (owner) => `${nameOf(owner)}: ${SCORES[mainScore(owner)]} ${scoreOf(owner, mainScore(owner))}`;
  byId("viewer-title").replaceChildren(named(id), `, ${label(method)}`);
  const others = [...METHODS.keys()].filter((other) =>
    other !== method && METHODS[other].dataset === dataset && albums[other].has(id));
  if (!others.includes(Number(view.beside))) view.beside = "";
  const choices = [["", "no other method"], ...others.map((other) => [other, nameOf(other)])];
  const menu = select("Beside it", choices, view.beside, (value) => { view.beside = value; showView(); });
  setControls(byId("viewer-beside"), others.length ? [menu] : []);
  const shown = LAYERS.map((layer) => [method, layer, layer]);
  for (const layer of view.beside === "" ? [] : ["prediction", "errors"]) {
    shown.push([Number(view.beside), layer, `${layer} of ${label(Number(view.beside))}`]);
  }
  panes.replaceChildren(...(albums[method].has(id) ? shown.map(([owner, layer, text]) => element("figure", {},
    element("div", { class: "frame" }, stage(owner, id, layer)), element("figcaption", {}, text)))
    : [element("p", {}, "This image is not embedded, because there are too many test images.")]));
  const facts = Object.entries(SCORES).map(([name, text]) => [text, scoreOf(method, name)]);
  facts.push(["Foreground", number(share[at])], ["Region", REGIONS[region]]);
  const href = `${panels}/${encodeURIComponent(id)}.png`;
  if (panels) facts.push(["File", element("a", { href }, "full panel")]);
  byId("viewer-facts").replaceChildren(...facts.flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]));
  zoomTo(1);
}
function openViewer(method, ids, index) {
  Object.assign(view, { method, ids, index });
  showView();
  viewer.showModal();
  panes.focus();
}
function step(by) {
  if (view.ids[view.index + by] === undefined) return;
  view.index += by;
  showView();
}
byId("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
const ACTIONS = new Map([
  ["ArrowLeft", ["← Previous", () => step(-1)]], ["ArrowRight", ["Next →", () => step(1)]],
  ["-", ["Zoom out", () => zoomTo(view.scale / 1.5)]], ["+", ["Zoom in", () => zoomTo(view.scale * 1.5)]],
  ["0", ["Whole image", () => zoomTo(1)]],
  ["Shift+ArrowLeft", ["", () => move(1 / 8, 0)]], ["Shift+ArrowRight", ["", () => move(-1 / 8, 0)]],
  ["Shift+ArrowUp", ["", () => move(0, 1 / 8)]], ["Shift+ArrowDown", ["", () => move(0, -1 / 8)]],
]);
byId("viewer-beside").before(...[...ACTIONS].filter(([, [label]]) => label).map(([key, [label, action]]) =>
  element("button", { type: "button", "aria-keyshortcuts": key, onclick: action }, label)));
viewer.addEventListener("keydown", (event) => {
  const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
  const [, action] = ACTIONS.get(shiftKey && key.startsWith("Arrow") ? `Shift+${key}` : key) ?? [];
  if (!action || event.target.matches("select") || ctrlKey || metaKey || altKey) return;
  action();
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
const pointers = new Map(); // frame and position in it of each pressed pointer
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
for (const name of ["pointerup", "pointercancel"]) {
  panes.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
