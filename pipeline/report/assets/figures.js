// Figures: rendered when they scroll into view, in the colours of the theme.
const PALETTE = {
  light: ["#0072b2", "#c44e00", "#007a5a", "#a8477f", "#8a6d00", "#2a6f97", "#555555"],
  dark: ["#56b4e9", "#ff9e4a", "#2fd0a0", "#e79cc8", "#f0e442", "#9ecbff", "#bbbbbb"],
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKERS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star"];
const positions = new Map(); // position of a method within its data set; it selects colour, dash and marker
for (const [index, method] of METHODS.entries()) {
  positions.set(index, METHODS.slice(0, index).filter((other) => other.dataset === method.dataset).length);
}
const colour = (index) => PALETTE[isDark() ? "dark" : "light"][index % 7];
const dash = (position) => DASHES[Math.floor(position / 7 + position) % 5];
function css(name) { // a colour of the theme
  document.documentElement.style.accentColor = `var(${name})`;
  return getComputedStyle(document.documentElement).accentColor;
}

function layout(title, x, y, more = {}) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  return {
    title: { text: title, font: { size: 14 }, x: 0.02, xanchor: "left" },
    font: { family: "system-ui, sans-serif", size: 12, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 66, r: 16, t: 40, b: 44 }, hovermode: "closest", showlegend: true,
    legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", tracegroupgap: 0, font: { size: 11 } },
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--soft"), font: { color: css("--ink") }, namelength: -1 },
    xaxis: { ...axis, title: { text: x, standoff: 6 }, ...(more.xaxis ?? {}) },
    yaxis: { ...axis, title: { text: y, standoff: 6 }, ...(more.yaxis ?? {}) },
    ...Object.fromEntries(Object.entries(more).filter(([name]) => name !== "xaxis" && name !== "yaxis")),
  };
}
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // Plotly interprets some HTML tags

// A figure: controls, plots, a text summary and a table of the same numbers.
const figures = new Map();
class Figure {
  constructor(name, { controls, state, plots, summary, afterRender = () => {} }) {
    Object.assign(this, { name, state, controls, plots, summary, afterRender, rendered: false });
    this.container = byId(`${name}-plots`);
    figures.set(name, this);
    this.refreshControls();
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        this.render();
      }
    }, { rootMargin: "400px" }).observe(this.container);
    themeListeners.push(() => this.rendered && this.render());
    beforePrint.push(() => this.render());
    this.details = document.querySelector(`details[data-table="${name}"]`);
    this.details?.addEventListener("toggle", () => this.fillTable());
  }
  refreshControls() {
    const box = byId(`${this.name}-controls`);
    setControls(box, this.controls(this.state, (name, value) => {
      this.state[name] = value;
      this.refreshControls();
      this.render();
    }));
  }
  render() {
    const plots = this.plots(this.state);
    if (!window.Plotly) { // the last script of the page, so that images come first
      addEventListener("load", () => this.render(), { once: true });
      return;
    }
    while (this.container.children.length > plots.length) {
      Plotly.purge(this.container.lastChild);
      this.container.lastChild.remove();
    }
    while (this.container.children.length < plots.length) this.container.append(element("div", { class: "chart", role: "figure" }));
    plots.forEach(({ traces, layout: plotLayout, alt }, index) => { // after all charts exist, so that each has its final width
      const chart = this.container.children[index];
      const entries = plotLayout.showlegend ? traces.filter((trace) => trace.showlegend !== false).length : 0;
      chart.style.height = `${330 + 19 * Math.ceil(entries * 170 / chart.clientWidth)}px`; // room for the legend below the plot
      chart.setAttribute("aria-label", alt);
      Plotly.react(chart, traces, plotLayout, CONFIG);
      this.afterRender(chart, this.state);
    });
    this.container.classList.toggle("empty", !plots.length);
    this.rendered = true;
    this.shown = plots;
    byId(`${this.name}-summary`).textContent = plots.length ? this.summary(this.state) : "No data.";
    this.fillTable();
  }
  fillTable() { // the points of all plots; of long lines every 16th
    if (!this.details?.open || !this.rendered) return;
    const rows = this.shown.flatMap(({ traces, layout: { title } }) => traces.flatMap(({ name, x, y }) => x.map((value, i) => [title.text, name, value, number(y[i], 4)])
      .filter((_, i) => x.length < 64 || i % 16 === 0).map(([figure, method, ...values]) => [`${figure}: ${method}`, ...values])));
    this.details.querySelector(".scroll").replaceChildren(table(["Line", "x", "y"], rows));
  }
}

// -- learning curves -----------------------------------------------------------------------------------------------------
const HISTORY = { val_dice: "Dice at 0.5", val_max_f: "maxF, beta² 0.3", val_mae: "MAE" };
const learning = (state) => DATA.learning.filter((history) => history.dataset === state.dataset);
const indexOfLowest = (values) => values.reduce((best, value, index) => (value !== null && (best < 0 || value < values[best]) ? index : best), -1);
new Figure("learning", {
  state: { dataset: DATA.learning[0]?.dataset, score: "val_dice", scale: "linear" },
  controls: (state, set) => DATA.learning.length ? [
    select("Data set", options(DATA.learning.map((history) => history.dataset)), state.dataset, (value) => set("dataset", value)),
    select("Score", Object.entries(HISTORY), state.score, (value) => set("score", value)),
    select("Loss axis", [["linear", "linear"], ["log", "logarithmic"]], state.scale, (value) => set("scale", value)),
  ] : [],
  plots: (state) => {
    const line = (history, column, style, name) => {
      const points = history.epoch.map((epoch, index) => [epoch, history[column][index]]).filter(([, value]) => value !== null);
      const position = positions.get(history.method);
      return {
        x: points.map(([epoch]) => epoch), y: points.map(([, value]) => value), name: plain(name), mode: "lines+markers",
        line: { color: colour(position), dash: style, width: 2 }, marker: { color: colour(position), symbol: MARKERS[position % 7], size: points.length > 60 ? 3 : 5 },
        hovertemplate: "epoch %{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
      };
    };
    const histories = learning(state);
    if (!histories.length) return [];
    const alt = (quantity) => `${quantity} over epochs of ${histories.map((history) => nameOf(history.method)).join(", ")}; the points are in the table below.`;
    const scored = histories.filter((history) => history[state.score].some((value) => value !== null));
    return [
      { traces: histories.flatMap((history) => [line(history, "train_loss", "dot", `${nameOf(history.method)}, training`), line(history, "val_loss", "solid", `${nameOf(history.method)}, validation`)]),
        layout: layout("Loss", "epoch", "loss", { yaxis: { type: state.scale } }), alt: alt("Training and validation loss") },
      ...(scored.length ? [{ traces: scored.map((history) => line(history, state.score, "solid", nameOf(history.method))),
        layout: layout(`Validation: ${HISTORY[state.score]}`, "epoch", HISTORY[state.score], { yaxis: { range: [0, 1] } }), alt: alt(HISTORY[state.score]) }] : []),
      { traces: histories.map((history) => line(history, "lr", "solid", nameOf(history.method))),
        layout: layout("Learning rate", "epoch", "learning rate", { yaxis: { rangemode: "tozero", exponentformat: "power" } }), alt: alt("Learning rate") },
    ];
  },
  summary: (state) => {
    const lowest = learning(state).map((history) => [indexOfLowest(history.val_loss), history]).filter(([index]) => index >= 0)
      .sort(([i, a], [j, b]) => a.val_loss[i] - b.val_loss[j])[0];
    if (!lowest) return "No validation.";
    const [index, history] = lowest;
    return `Lowest validation loss: ${nameOf(history.method)}, ${number(history.val_loss[index], 4)} at epoch ${history.epoch[index]} of ${history.epoch.at(-1)}.`;
  },
});

// -- ROC, precision and recall, F1 over thresholds ------------------------------------------------------------------------
const curvesOf = (state) => DATA.curves.filter((curve) => curve.dataset === state.dataset && curve.averaging === state.averaging);
new Figure("curves", {
  state: { dataset: DATA.curves[0]?.dataset, averaging: "macro" },
  controls: (state, set) => DATA.curves.length ? [
    select("Data set", options(DATA.curves.map((curve) => curve.dataset)), state.dataset, (value) => set("dataset", value)),
    select("Averaging", options(DATA.curves.map((curve) => curve.averaging)), state.averaging, (value) => set("averaging", value)),
  ] : [],
  plots: (state) => {
    const shown = curvesOf(state);
    if (!shown.length) return [];
    // without predicted pixels precision is undefined; the table has 0, which is not a point of the curve
    const validPoints = (curve, y) => curve.threshold.map((_, i) => i).filter((i) => !(y === "precision" && curve.recall[i] === 0 && curve.precision[i] === 0));
    const plot = (x, y, title, xTitle, yTitle, xRange = [0, 1]) => ({
      traces: shown.flatMap((curve) => {
        const indices = validPoints(curve, y);
        const pick = (values) => indices.map((i) => values[i]);
        const position = positions.get(curve.method);
        const visible = METHODS[curve.method].name.endsWith(".all-background") ? "legendonly" : true;
        const hover = `${xTitle} %{x:.3f}<br>${yTitle} %{y:.3f}<br>threshold %{customdata:.3f}<extra>${plain(nameOf(curve.method))}</extra>`;
        const line = { x: pick(curve[x]), y: pick(curve[y]), customdata: pick(curve.threshold), name: plain(nameOf(curve.method)), legendgroup: curve.method, visible, mode: "lines",
          line: { color: colour(position), dash: dash(position), width: 2 }, hovertemplate: hover };
        const i = curve.working_point;
        if (i === null) return [line];
        return [line, { x: [curve[x][i]], y: [curve[y][i]], customdata: [curve.threshold[i]], name: plain(nameOf(curve.method)), legendgroup: curve.method, showlegend: false, visible,
          mode: "markers", marker: { size: 12, color: "rgba(0,0,0,0)", symbol: MARKERS[position % 7], line: { color: colour(position), width: 3 } }, hovertemplate: hover }];
      }),
      layout: layout(title, xTitle, yTitle, { xaxis: { range: xRange }, yaxis: { range: [0, 1.02] } }),
      alt: `${title} of ${shown.map((curve) => nameOf(curve.method)).join(", ")}; the points are in the table below.`,
    });
    return [plot("fpr", "recall", "ROC", "false positive rate", "true positive rate"), plot("recall", "precision", "Precision and recall", "recall", "precision"),
      plot("threshold", "f1", "F1 over thresholds", "threshold", "F1")];
  },
  summary: (state) => curvesOf(state).slice(0, 1).map((curve) => `${curve.split} images, ${curve.region === "fov" ? "field of view" : "whole image"}.`).join(""),
});

// -- confusion matrices: tables of the shares of each row -----------------------------------------------------------------------------
function showConfusion(method = (DATA.confusions.find((matrix) => METHODS[matrix.method].best) ?? DATA.confusions[0])?.method) {
  const matrix = DATA.confusions.find((other) => other.method === method);
  if (!matrix) return;
  setControls(byId("confusion-controls"), [select("Method", DATA.confusions.map((other) => [other.method, nameOf(other.method)]), method, (value) => showConfusion(Number(value)))]);
  const rows = matrix.pixels.map((pixels, i) => {
    const sum = pixels.reduce((a, b) => a + b, 0);
    return [matrix.classes[i], ...pixels.map((count) => [sum ? count / sum : null, count])];
  });
  const shares = table(["Mask \\ predicted", ...matrix.classes], rows.map(([head, ...cells]) => [head, ...cells.map(([share]) => percent(share))]));
  shares.className = "heat shares";
  [...shares.tBodies[0].rows].forEach((row, i) => [...row.cells].slice(1).forEach((cell, j) => {
    cell.style.setProperty("--share", `${100 * rows[i][j + 1][0]}%`);
    cell.title = `${rows[i][j + 1][1].toLocaleString("en")} pixels`;
  }));
  byId("confusion-table").replaceChildren(shares);
  byId("confusion-note").textContent = `All pixels of the ${matrix.split} images, ${matrix.region === "fov" ? "field of view" : "whole image"}; shares of the row.`;
}
showConfusion();
