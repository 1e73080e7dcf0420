// Figures: rendered when they scroll into view, in the colours of the theme.
const PALETTE = {
  light: ["#0072b2", "#c44e00", "#007a5a", "#a8477f", "#8a6d00", "#2a6f97", "#555555"],
  dark: ["#56b4e9", "#ff9e4a", "#2fd0a0", "#e79cc8", "#f0e442", "#9ecbff", "#bbbbbb"],
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKERS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star"];
function css(name) { // a colour of the theme
  document.documentElement.style.accentColor = `var(${name})`;
  return getComputedStyle(document.documentElement).accentColor;
}
function styleOf(method) { // by the position of a method within its data set
  const { dataset } = METHODS[method];
  const position = METHODS.slice(0, method).filter((other) => other.dataset === dataset).length;
  const theme = css("--paper") === "rgb(255, 255, 255)" ? "light" : "dark";
  const dash = DASHES[Math.floor(position / 7 + position) % 5];
  return { color: PALETTE[theme][position % 7], dash, symbol: MARKERS[position % 7] };
}

function layout(title, x, y, yaxis, xaxis = {}) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  return {
    title: { text: title, font: { size: 14 }, x: 0.02, xanchor: "left" },
    font: { family: "system-ui, sans-serif", size: 12, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 66, r: 16, t: 40, b: 44 }, hovermode: "closest", showlegend: true,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", tracegroupgap: 0, font: { size: 11 } },
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--soft"), font: { color: css("--ink") }, namelength: -1 },
    xaxis: { ...axis, title: { text: x, standoff: 6 }, ...xaxis },
    yaxis: { ...axis, title: { text: y, standoff: 6 }, ...yaxis },
  };
}
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
// Plotly interprets some HTML tags
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// Menus, plots and a line of text, which follow from the values of the menus
const figures = [];
function addFigure(name, data, menus, draw) {
  if (!data.length) {
    byId(`${name}-note`).textContent = "No data.";
    return;
  }
  const container = byId(`${name}-content`);
  container.className = "plots";
  const state = {};
  const figure = { container, render, rendered: false };
  function render() {
    if (!window.Plotly) { // the last script of the page, so that images come first
      addEventListener("load", render, { once: true });
      return;
    }
    const { plots, text } = draw(data.filter((entry) => entry.dataset === state.dataset), state);
    if (!figure.rendered) container.append(...plots.map(() => element("div", { class: "chart", role: "figure" })));
    plots.forEach(([traces, design], index) => { // after all charts exist, so that each has its final width
      const chart = container.children[index];
      const entries = traces.filter((trace) => trace.showlegend !== false);
      const rows = Math.ceil(entries.length * 170 / chart.clientWidth);
      chart.style.height = `${330 + 19 * rows}px`; // room for the legend below the plot
      const names = entries.map((trace) => trace.name).join(", ");
      chart.setAttribute("aria-label", `${design.title.text}; its points are in the CSV files. Lines: ${names}`);
      Plotly.react(chart, traces, design, CONFIG);
    });
    figure.rendered = true;
    byId(`${name}-note`).textContent = text;
  }
  for (const [key, label, values] of [["dataset", "Data set", options(data.map((entry) => entry.dataset))], ...menus]) {
    state[key] = values[0][0];
    byId(`${name}-controls`).append(select(label, values, state[key], (value) => { state[key] = value; render(); }));
  }
  const seen = ([entry]) => entry.isIntersecting && !figure.rendered && render();
  new IntersectionObserver(seen, { rootMargin: "400px" }).observe(container);
  themeListeners.push(() => figure.rendered && render());
  beforePrint.push(render);
  figures.push(figure);
}

// Links within the page: figures above the target get their final height first
document.addEventListener("click", (event) => {
  const target = document.querySelector(event.target.closest('a[href^="#"]')?.getAttribute("href") ?? "#none");
  for (const { container, render, rendered } of target ? figures : []) {
    if (!rendered && container.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING) render();
  }
});

const HISTORY = { val_dice: "Dice at 0.5", val_max_f: "maxF, beta² 0.3", val_mae: "MAE" };
addFigure("learning", DATA.learning, [
  ["score", "Score", Object.entries(HISTORY)],
  ["scale", "Loss axis", [["linear", "linear"], ["log", "logarithmic"]]],
], (histories, { score, scale }) => {
  const line = (history, column, suffix = "", dash = "solid") => {
    const points = history.epoch.map((epoch, i) => [epoch, history[column][i]]).filter(([, value]) => value !== null);
    const { color, symbol } = styleOf(history.method);
    return {
      x: points.map(([epoch]) => epoch), y: points.map(([, value]) => value), mode: "lines+markers",
      name: plain(nameOf(history.method) + suffix), line: { color, dash, width: 2 },
      marker: { color, symbol, size: points.length > 60 ? 3 : 5 },
      hovertemplate: "epoch %{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
    };
  };
  const losses = histories.flatMap((history) =>
    [line(history, "train_loss", ", training", "dot"), line(history, "val_loss", ", validation")]);
  const rates = { rangemode: "tozero", exponentformat: "power" };
  const [lowest] = histories.flatMap(({ method, epoch, val_loss: values }) =>
    values.map((loss, i) => ({ method, loss, epoch: epoch[i], last: epoch.at(-1) })))
    .filter(({ loss }) => loss !== null).sort((a, b) => a.loss - b.loss);
  return {
    plots: [
      [losses, layout("Loss", "epoch", "loss", { type: scale })],
      [histories.map((history) => line(history, score)),
        layout(`Validation: ${HISTORY[score]}`, "epoch", HISTORY[score], { range: [0, 1] })],
      [histories.map((history) => line(history, "lr")), layout("Learning rate", "epoch", "learning rate", rates)],
    ],
    text: !lowest ? "No validation." : `Lowest validation loss: ${nameOf(lowest.method)}, ${number(lowest.loss, 4)} `
      + `at epoch ${lowest.epoch} of ${lowest.last}.`,
  };
});

addFigure("curves", DATA.curves, [
  ["averaging", "Averaging", options(DATA.curves.map((curve) => curve.averaging)).sort()],
], (allCurves, { averaging }) => {
  const curves = allCurves.filter((curve) => curve.averaging === averaging);
  const plot = (x, y, title, xTitle, yTitle) => [curves.flatMap((curve) => {
    const { color, dash, symbol } = styleOf(curve.method);
    const name = plain(nameOf(curve.method));
    const trace = (indices, more) => ({
      x: indices.map((i) => curve[x][i]), y: indices.map((i) => curve[y][i]),
      customdata: indices.map((i) => curve.threshold[i]), name, legendgroup: curve.method,
      visible: name.endsWith(".all-background") ? "legendonly" : true,
      hovertemplate: `${xTitle} %{x:.3f}<br>${yTitle} %{y:.3f}<br>threshold %{customdata:.3f}<extra>${name}</extra>`,
      ...more,
    });
    // without predicted pixels precision is undefined; the table has 0, which is not a point of the curve
    const isPoint = (i) => y !== "precision" || curve.recall[i] !== 0 || curve.precision[i] !== 0;
    const marker = { size: 12, color: "rgba(0,0,0,0)", symbol, line: { color, width: 3 } };
    const inUse = curve.working_point === null ? [] : [curve.working_point];
    return [trace([...curve.threshold.keys()].filter(isPoint), { mode: "lines", line: { color, dash, width: 2 } }),
      trace(inUse, { mode: "markers", marker, showlegend: false })];
  }), layout(title, xTitle, yTitle, { range: [0, 1.02] }, { range: [0, 1] })];
  return {
    plots: [plot("fpr", "recall", "ROC", "false positive rate", "true positive rate"),
      plot("recall", "precision", "Precision and recall", "recall", "precision"),
      plot("threshold", "f1", "F1 over thresholds", "threshold", "F1")],
    text: curves.length ? `Images: ${curves[0].split}, ${REGIONS[curves[0].region]}.` : "",
  };
});

// -- confusion matrices: shares of each row ------------------------------------------------------------------------
function showConfusion(matrix) {
  setControls(byId("confusion-controls"), [select("Method",
    DATA.confusions.map(({ method }, index) => [index, nameOf(method)]), DATA.confusions.indexOf(matrix),
    (index) => showConfusion(DATA.confusions[index]))]);
  const rows = matrix.pixels.map((pixels, i) => {
    const sum = pixels.reduce((a, b) => a + b, 0);
    return [matrix.classes[i], ...pixels.map((count) => {
      const share = sum ? 100 * count / sum : 0;
      const text = !sum ? "–" : count && share < 0.05 ? "<0.1%" : `${share.toFixed(1)}%`;
      const title = `${count.toLocaleString("en")} pixels`;
      return element("td", { class: "number", style: `--share: ${share}%`, title }, text);
    })];
  });
  const headings = ["Mask \\ predicted", ...matrix.classes];
  byId("confusion-content").replaceChildren(table("heat shares", "Confusion matrix", headings, rows));
  const where = `${matrix.split} images, ${REGIONS[matrix.region]}`;
  byId("confusion-note").textContent = `All pixels of the ${where}; shares of the row.`;
}
if (DATA.confusions.length) {
  showConfusion(DATA.confusions.find(({ method }) => METHODS[method].best) ?? DATA.confusions[0]);
}
