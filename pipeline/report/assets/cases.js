// Images of a case: a layer (mask, prediction or errors) over the image, and a slider that reveals it.
const LAYERS = ["image", "mask", "prediction", "errors"];
const albums = METHODS.map((_, method) => new Map(DATA.album_ids[method].map((id, index) => [id, DATA.layers[method][index]])));
const SMALL = 200; // images with fewer pixels per side are enlarged without interpolation
let counter = 0;

function scoresOf(method, id, region) {
  const group = DATA.images.find((candidate) => candidate.dataset === METHODS[method].dataset && candidate.region === region);
  const index = group?.ids.indexOf(id) ?? -1;
  const scores = index < 0 ? undefined : group.scores[method];
  if (!scores) return [];
  return [...Object.entries(SCORES).map(([name, label]) => [label, number(scores[name][index])]), ["Foreground", number(group.share[index])], ["Region", region]];
}

function facts(method, id, region) {
  const list = element("dl", {});
  for (const [label, text] of scoresOf(method, id, region)) list.append(element("dt", {}, label), element("dd", {}, text));
  if (METHODS[method].panels) {
    const link = element("a", { href: `${METHODS[method].panels}/${encodeURIComponent(id)}.png` }, "full panel");
    list.append(element("dt", {}, "File"), element("dd", {}, link));
  }
  return list;
}

function showLayer(box, name) {
  const [image, ...layers] = box.images;
  const overlay = { mask: layers[0], prediction: layers[1], errors: layers[2] }[name];
  box.stage.classList.toggle("errors", name === "errors");
  box.over.hidden = box.edge.hidden = overlay === undefined;
  if (overlay !== undefined) box.over.src = IMAGES[overlay];
  box.under.src = IMAGES[image];
  box.over.alt = overlay === undefined ? "" : `${name} of ${box.id}`;
  box.range.disabled = overlay === undefined;
  reveal(box);
}

function reveal(box) {
  const share = Number(box.range.value);
  box.over.style.clipPath = `inset(0 0 0 ${100 - share}%)`;
  box.edge.style.left = `${100 - share}%`;
  box.edge.hidden = box.over.hidden || share === 100 || share === 0;
  box.range.setAttribute("aria-valuetext", `${share} % of the ${box.layer}`);
}

function mountCase(container, method, id, region, layer = "errors") {
  const images = albums[method].get(id);
  if (!images) {
    container.append(element("p", {}, "The images of this sample are not embedded, because there are too many test images."), facts(method, id, region));
    return null;
  }
  counter += 1;
  const under = element("img", { class: "under", alt: `image ${id} of ${METHODS[method].dataset}` });
  const box = { id, images, under, over: element("img", { class: "over", alt: "" }), edge: element("span", { class: "edge" }), layer };
  under.addEventListener("load", () => box.stage.classList.toggle("small", Math.max(under.naturalWidth, under.naturalHeight) < SMALL));
  box.stage = element("div", { class: "stage" }, under, box.over, box.edge);
  box.range = element("input", { type: "range", min: 0, max: 100, value: 100, step: 5, "aria-label": `Visible share of the layer over image ${id}`, oninput: () => reveal(box) });
  const choose = (name) => { box.layer = name; showLayer(box, name); };
  const name = `layer-${counter}`;
  const radios = LAYERS.map((value) => element("label", {}, element("input", { type: "radio", name, value, checked: value === layer, onchange: () => choose(value) }), ` ${value}`));
  container.append(box.stage, element("fieldset", { class: "layer-choice" }, element("legend", { class: "hidden" }, `Layer of ${id}`), ...radios),
    element("label", { class: "reveal" }, "Reveal", box.range), facts(method, id, region));
  choose(layer);
  box.show = (value) => { radios[LAYERS.indexOf(value)].firstChild.checked = true; choose(value); };
  beforePrint.push(() => container.querySelector(".strip") ?? container.append(strip(box)));
  return box;
}

function strip(box) {
  const [image, ...layers] = box.images;
  const frame = (name, ...indices) => element("figure", {}, element("div", { class: `frame ${name}` }, ...indices.map((index) => element("img", { src: IMAGES[index], alt: `${name} of ${box.id}` }))), element("figcaption", {}, name));
  return element("div", { class: "strip" }, frame("image", image), frame("mask", layers[0]), frame("prediction", layers[1]), frame("errors", image, layers[2]));
}

for (const gallery of document.querySelectorAll(".gallery")) {
  const method = Number(gallery.dataset.method);
  const region = mainRegion(METHODS[method].dataset);
  let boxes = null;
  const mount = () => {
    if (boxes || !gallery.open) return;
    boxes = [...gallery.querySelectorAll(".case")].map((container) => mountCase(container, method, container.dataset.id, region)).filter(Boolean);
  };
  gallery.addEventListener("toggle", mount);
  beforePrint.unshift(mount);
  mount();
  for (const radio of gallery.querySelectorAll(".for-all input")) {
    radio.addEventListener("change", () => { for (const box of boxes ?? []) box.show(LAYERS[Number(radio.value)]); });
  }
}

// -- viewer of one image ---------------------------------------------------------------------------------------------------
const viewer = byId("viewer");
function openImage(method, id, region) {
  const container = element("div", { class: "case" });
  byId("viewer-title").replaceChildren(element("span", { class: "name" }, id), `, ${nameOf(method)}`);
  byId("viewer-body").replaceChildren(container);
  mountCase(container, method, id, region);
  viewer.showModal();
}
byId("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
