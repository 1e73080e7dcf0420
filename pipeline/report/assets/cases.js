// Images of single cases: image, mask, prediction or errors, and a slider that draws one over the other.
const LAYERS = ["image", "mask", "prediction", "errors"];
const albums = METHODS.map((_, index) => new Map(DATA.shown[index].map((id, place) => [id, DATA.album[index][place]])));
const SMALL = 200; // pixels: below, each pixel of the image is to be seen
let counter = 0;

function scoresOf(method, id, region) {
  const group = DATA.images.find((one) => one.dataset === METHODS[method].dataset && one.region === region);
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

function layer(box, name) {
  const [image, ...others] = box.images;
  const over = { mask: others[0], prediction: others[1], errors: others[2] }[name];
  box.stage.classList.toggle("errors", name === "errors");
  box.over.hidden = box.edge.hidden = over === undefined;
  if (over !== undefined) box.over.src = IMAGES[over];
  box.under.src = IMAGES[image];
  box.over.alt = over === undefined ? "" : `${name} of ${box.id}`;
  box.range.disabled = over === undefined;
  reveal(box);
}

function reveal(box) {
  const share = Number(box.range.value);
  box.over.style.clipPath = `inset(0 0 0 ${100 - share}%)`;
  box.edge.style.left = `${100 - share}%`;
  box.edge.hidden = box.over.hidden || share === 100 || share === 0;
  box.range.setAttribute("aria-valuetext", `${share} % of the ${box.chosen}`);
}

function mountCase(place, method, id, region, first = "errors") {
  const images = albums[method].get(id);
  if (!images) {
    place.append(element("p", {}, "This image is not in this file: too many test images."), facts(method, id, region));
    return null;
  }
  counter += 1;
  const under = element("img", { class: "under", alt: `image ${id} of ${METHODS[method].dataset}` });
  const box = { id, images, under, over: element("img", { class: "over", alt: "" }), edge: element("span", { class: "edge" }), chosen: first };
  under.addEventListener("load", () => box.stage.classList.toggle("small", Math.max(under.naturalWidth, under.naturalHeight) < SMALL));
  box.stage = element("div", { class: "stage" }, under, box.over, box.edge);
  box.range = element("input", { type: "range", min: 0, max: 100, value: 100, step: 5, "aria-label": `How much of the layer lies over image ${id}`, oninput: () => reveal(box) });
  const choose = (name) => { box.chosen = name; layer(box, name); };
  const name = `layer-${counter}`;
  const radios = LAYERS.map((one) => element("label", {}, element("input", { type: "radio", name, value: one, checked: one === first, onchange: () => choose(one) }), ` ${one}`));
  place.append(box.stage, element("fieldset", { class: "layer-choice" }, element("legend", { class: "hidden" }, `Layer shown of ${id}`), ...radios),
    element("label", { class: "reveal" }, "Reveal", box.range), facts(method, id, region));
  choose(first);
  box.show = (one) => { radios[LAYERS.indexOf(one)].firstChild.checked = true; choose(one); };
  beforePrint.push(() => place.querySelector(".strip") ?? place.append(strip(box)));
  return box;
}

function strip(box) {
  const [image, ...others] = box.images;
  const frame = (name, ...places) => element("figure", {}, element("div", { class: `frame ${name}` }, ...places.map((one) => element("img", { src: IMAGES[one], alt: `${name} of ${box.id}` }))), element("figcaption", {}, name));
  return element("div", { class: "strip" }, frame("image", image), frame("mask", others[0]), frame("prediction", others[1]), frame("errors", image, others[2]));
}

for (const gallery of document.querySelectorAll(".gallery")) {
  const method = Number(gallery.dataset.method);
  const region = mainRegion(METHODS[method].dataset);
  let boxes = null;
  const mount = () => {
    if (boxes || !gallery.open) return;
    boxes = [...gallery.querySelectorAll(".case")].map((place) => mountCase(place, method, place.dataset.id, region)).filter(Boolean);
  };
  gallery.addEventListener("toggle", mount);
  beforePrint.unshift(mount);
  mount();
  for (const radio of gallery.querySelectorAll(".for-all input")) {
    radio.addEventListener("change", () => { for (const box of boxes ?? []) box.show(LAYERS[Number(radio.value)]); });
  }
}

// -- one image by itself ---------------------------------------------------------------------------------------------------
const viewer = byId("viewer");
function openImage(method, id, region) {
  const place = element("div", { class: "case" });
  byId("viewer-title").replaceChildren(element("span", { class: "name" }, id), `, ${nameOf(method)}`);
  byId("viewer-body").replaceChildren(place);
  mountCase(place, method, id, region);
  viewer.showModal();
}
byId("viewer-close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
