// Figures: drawn when they come into sight, in colours that follow the theme.
const PALETTE = {
  light: ["#0072b2", "#c44e00", "#007a5a", "#a8477f", "#8a6d00", "#2a6f97", "#555555"],
  dark: ["#56b4e9", "#ff9e4a", "#2fd0a0", "#e79cc8", "#f0e442", "#9ecbff", "#bbbbbb"],
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star"];
const places = new Map(); // of a method among those of its data set: colour, dash and mark
for (const [index, method] of METHODS.entries()) {
  places.set(index, METHODS.slice(0, index).filter((other) => other.dataset === method.dataset).length);
}
const colour = (index) => PALETTE[isDark() ? "dark" : "light"][index % 7];
const dash = (place) => DASHES[Math.floor(place / 7 + place) % 5];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function layout(title, x, y, more = {}) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  return {
    title: { text: title, font: { size: 14 }, x: 0.02, xanchor: "left" },
    font: { family: "system-ui, sans-serif", size: 12, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 66, r: 16, t: 40, b: 44 }, hovermode: "closest", showlegend: true,
    legend: { orientation: "h", x: 0, yanchor: "top", tracegroupgap: 0, font: { size: 11 } },
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--soft"), font: { color: css("--ink") }, namelength: -1 },
    xaxis: { ...axis, title: { text: x, standoff: 6 }, ...(more.xaxis ?? {}) },
    yaxis: { ...axis, title: { text: y, standoff: 6 }, ...(more.yaxis ?? {}) },
    ...Object.fromEntries(Object.entries(more).filter(([name]) => name !== "xaxis" && name !== "yaxis")),
  };
}
// Room below a plot for its legend, in rows of as many names as fit.
const INNER = 260, LEGEND_TOP = 52, LEGEND_ROW = 22;
function fitted(look, traces, holder) {
  if (look.height || !look.showlegend) return look;
  const width = holder.clientWidth;
  const names = traces.filter((one) => one.showlegend !== false).map((one) => one.name.length);
  const perRow = Math.max(1, Math.floor((width - 70) / (Math.max(...names, 1) * 6.5 + 50)));
  const bottom = LEGEND_TOP + LEGEND_ROW * Math.ceil(names.length / perRow);
  holder.style.height = `${INNER + bottom + look.margin.t}px`;
  return { ...look, margin: { ...look.margin, b: bottom, autoexpand: false }, legend: { ...look.legend, y: -LEGEND_TOP / INNER } };
}
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // Plotly knows some tags

// A figure: its controls, plots, a sentence and a table about what is shown.
const figures = new Map();
class Figure {
  constructor(name, { controls = () => [], state, plots, said = () => "", rows = null, after = () => {} }) {
    Object.assign(this, { name, state, controls, plots, said, rows, after, rendered: false });
    this.place = byId(`${name}-plots`);
    if (!this.place) return;
    figures.set(name, this);
    this.refreshControls();
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        this.draw();
      }
    }, { rootMargin: "400px" }).observe(this.place);
    themeListeners.push(() => this.rendered && this.draw());
    beforePrint.push(() => this.draw());
    this.details = document.querySelector(`details[data-table="${name}"]`);
    this.details?.addEventListener("toggle", () => this.fillTable());
  }
  refreshControls() {
    const box = byId(`${this.name}-controls`);
    if (!box) return;
    const focused = [...box.querySelectorAll("select, input")].indexOf(document.activeElement);
    box.replaceChildren(...this.controls(this.state, (name, value) => {
      this.state[name] = value;
      this.refreshControls();
      this.draw();
    }));
    if (focused >= 0) box.querySelectorAll("select, input")[focused]?.focus();
  }
  draw() {
    const plots = this.plots(this.state);
    while (this.place.children.length > plots.length) {
      Plotly.purge(this.place.lastChild);
      this.place.lastChild.remove();
    }
    while (this.place.children.length < plots.length) this.place.append(element("div", { class: "chart", role: "figure" }));
    plots.forEach(({ traces, layout: look, alt }, index) => { // all of them are there by now, so each has its width
      const holder = this.place.children[index];
      holder.setAttribute("aria-label", alt);
      Plotly.react(holder, traces, fitted(look, traces, holder), CONFIG);
      this.after(holder, this.state);
    });
    this.place.classList.toggle("nothing", !plots.length);
    this.rendered = true;
    this.filled = plots.length > 0;
    byId(`${this.name}-said`).textContent = plots.length ? this.said(this.state) : "Nothing to show.";
    this.fillTable();
  }
  fillTable() {
    if (this.details?.open && this.rows && this.filled) this.details.querySelector(".scroll").replaceChildren(this.rows(this.state));
  }
}
const options = (values) => unique(values).map((value) => [value, value]);
const nameOf = (index) => METHODS[index].name;

// -- learning curves -----------------------------------------------------------------------------------------------------
const HISTORY = { val_dice: "Dice at 0.5", val_max_f: "maxF, beta² 0.3", val_mae: "MAE" };
const learning = (state) => DATA.learning.filter((one) => one.dataset === state.dataset);
const lowest = (values) => values.reduce((best, value, index) => (value !== null && (best < 0 || value < values[best]) ? index : best), -1);
new Figure("learning", {
  state: { dataset: DATA.learning[0]?.dataset, score: "val_dice", scale: "linear" },
  controls: (state, set) => DATA.learning.length ? [
    select("Data set", options(DATA.learning.map((one) => one.dataset)), state.dataset, (value) => set("dataset", value)),
    select("Score", Object.entries(HISTORY), state.score, (value) => set("score", value)),
    select("Axis of the loss", [["linear", "linear"], ["log", "logarithmic"]], state.scale, (value) => set("scale", value)),
  ] : [],
  plots: (state) => {
    const line = (one, column, style, name) => {
      const there = one.epoch.map((epoch, index) => [epoch, one[column][index]]).filter(([, value]) => value !== null);
      const place = places.get(one.method);
      return {
        x: there.map(([epoch]) => epoch), y: there.map(([, value]) => value), name: plain(name), mode: "lines+markers",
        line: { color: colour(place), dash: style, width: 2 }, marker: { color: colour(place), symbol: MARKS[place % 7], size: there.length > 60 ? 3 : 5 },
        hovertemplate: "epoch %{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
      };
    };
    const chosen = learning(state);
    if (!chosen.length) return [];
    const said = (what) => `${what} over epochs of ${chosen.map((one) => nameOf(one.method)).join(", ")}; numbers are in the table below.`;
    const scored = chosen.filter((one) => one[state.score].some((value) => value !== null));
    return [
      { traces: chosen.flatMap((one) => [line(one, "train_loss", "dot", `${nameOf(one.method)}, training`), line(one, "val_loss", "solid", `${nameOf(one.method)}, validation`)]),
        layout: layout("Loss", "epoch", "loss", { yaxis: { type: state.scale } }), alt: said("Training and validation loss") },
      ...(scored.length ? [{ traces: scored.map((one) => line(one, state.score, "solid", nameOf(one.method))),
        layout: layout(`Validation: ${HISTORY[state.score]}`, "epoch", HISTORY[state.score], { yaxis: { range: [0, 1] } }), alt: said(HISTORY[state.score]) }] : []),
      { traces: chosen.map((one) => line(one, "lr", "solid", nameOf(one.method))),
        layout: layout("Learning rate", "epoch", "learning rate", { yaxis: { rangemode: "tozero", exponentformat: "power" } }), alt: said("Learning rate") },
    ];
  },
  said: (state) => learning(state).map((one) => {
    const at = lowest(one.val_loss);
    return at < 0 ? `${nameOf(one.method)}: no validation.` : `${nameOf(one.method)}: lowest validation loss ${number(one.val_loss[at], 4)} at epoch ${one.epoch[at]} of ${one.epoch.at(-1)}.`;
  }).join(" "),
  rows: (state) => table(["Experiment", "Epoch", "Training loss", "Validation loss", "Dice at 0.5", "maxF", "MAE", "Learning rate"],
    learning(state).flatMap((one) => one.epoch.map((epoch, i) => [nameOf(one.method), epoch,
      ...["train_loss", "val_loss", "val_dice", "val_max_f", "val_mae"].map((name) => number(one[name][i], 4)), one.lr[i]]))),
});

// -- ROC, precision and recall, F1 over thresholds ------------------------------------------------------------------------
const firstCurve = DATA.curves[0]?.dataset;
const curvesOf = (state, less = []) => DATA.curves.filter((one) => ["dataset", "split", "region", "averaging"].every((name) => less.includes(name) || one[name] === state[name]));
function keepPossible(state) {
  for (const name of ["split", "region"]) {
    const possible = unique(DATA.curves.filter((one) => one.dataset === state.dataset).map((one) => one[name]));
    if (!possible.includes(state[name])) state[name] = possible.includes("test") ? "test" : possible.includes("fov") ? "fov" : possible[0];
  }
}
const curveState = { dataset: firstCurve, split: "", region: "", averaging: "macro" };
keepPossible(curveState);
new Figure("curves", {
  state: curveState,
  controls: (state, set) => {
    keepPossible(state);
    const mine = DATA.curves.filter((one) => one.dataset === state.dataset);
    return mine.length ? [
      select("Data set", options(DATA.curves.map((one) => one.dataset)), state.dataset, (value) => set("dataset", value)),
      ...["split", "region", "averaging"].map((name) => select(name[0].toUpperCase() + name.slice(1), options(mine.map((one) => one[name])), state[name], (value) => set(name, value))),
    ] : [];
  },
  plots: (state) => {
    const chosen = curvesOf(state);
    if (!chosen.length) return [];
    // where nothing is predicted there is no precision, and the table's 0 is no point of the curve
    const visible = (one, y) => one.threshold.map((_, i) => i).filter((i) => !(y === "precision" && one.recall[i] === 0 && one.precision[i] === 0));
    const draw = (x, y, title, xTitle, yTitle, xRange = [0, 1]) => ({
      traces: chosen.flatMap((one) => {
        const kept = visible(one, y);
        const pick = (values) => kept.map((i) => values[i]);
        const place = places.get(one.method);
        const shown = METHODS[one.method].name.endsWith(".all-background") ? "legendonly" : true;
        const hover = `${xTitle} %{x:.3f}<br>${yTitle} %{y:.3f}<br>threshold %{customdata:.3f}<extra>${plain(nameOf(one.method))}</extra>`;
        const line = { x: pick(one[x]), y: pick(one[y]), customdata: pick(one.threshold), name: plain(nameOf(one.method)), legendgroup: one.method, visible: shown, mode: "lines",
          line: { color: colour(place), dash: dash(place), width: 2 }, hovertemplate: hover };
        if (one.at === null) return [line];
        return [line, { x: [one[x][one.at]], y: [one[y][one.at]], customdata: [one.threshold[one.at]], name: plain(nameOf(one.method)), legendgroup: one.method, showlegend: false, visible: shown,
          mode: "markers", marker: { size: 12, color: "rgba(0,0,0,0)", symbol: MARKS[place % 7], line: { color: colour(place), width: 3 } }, hovertemplate: hover }];
      }),
      layout: layout(title, xTitle, yTitle, { xaxis: { range: xRange }, yaxis: { range: [0, 1.02] } }),
      alt: `${title} of ${chosen.map((one) => nameOf(one.method)).join(", ")}; working points are in the text and table below.`,
    });
    return [draw("fpr", "recall", "ROC", "false positive rate", "true positive rate"), draw("recall", "precision", "Precision and recall", "recall", "precision"),
      draw("threshold", "f1", "F1 over thresholds", "threshold", "F1")];
  },
  said: (state) => curvesOf(state).filter((one) => one.at !== null).map((one) =>
    `${nameOf(one.method)} at its threshold: precision ${number(one.precision[one.at])}, recall ${number(one.recall[one.at])}, false positive rate ${number(one.fpr[one.at])}, F1 ${number(one.f1[one.at])}.`).join(" "),
  rows: (state) => table(["Name", "Threshold", "Precision", "Recall", "False positive rate", "F1", "Note"],
    curvesOf(state).flatMap((one) => one.threshold.map((threshold, i) => [threshold, i]).filter(([, i]) => i === one.at || i % 16 === 0).map(([threshold, i]) =>
      [nameOf(one.method), number(threshold), number(one.precision[i]), number(one.recall[i]), number(one.fpr[i]), number(one.f1[i]), i === one.at ? "works here" : ""]))),
});

// -- confusion ---------------------------------------------------------------------------------------------------------------
const confusions = (state) => DATA.confusions.filter((one) => one.method === state.method);
const matrixOf = (state) => confusions(state).find((one) => one.split === state.split && one.region === state.region) ?? confusions(state)[0];
const shares = (one) => one.pixels.map((row) => {
  const sum = row.reduce((a, b) => a + b, 0);
  return row.map((value) => (sum ? value / sum : null));
});
const percent = (share) => (share === null ? "–" : share > 0 && share < 0.0005 ? "<0.1%" : `${(100 * share).toFixed(1)}%`);
const firstMatrix = DATA.confusions.find((one) => one.split === "test" && one.region === "fov") ?? DATA.confusions.find((one) => one.split === "test") ?? DATA.confusions[0];
new Figure("confusion", {
  state: { method: firstMatrix?.method, split: firstMatrix?.split, region: firstMatrix?.region },
  controls: (state, set) => DATA.confusions.length ? [
    select("Name", unique(DATA.confusions.map((one) => one.method)).map((index) => [index, nameOf(index)]), state.method, (value) => set("method", Number(value))),
    select("Split", options(confusions(state).map((one) => one.split)), matrixOf(state).split, (value) => set("split", value)),
    select("Region", options(confusions(state).map((one) => one.region)), matrixOf(state).region, (value) => set("region", value)),
  ] : [],
  plots: (state) => {
    const one = matrixOf(state);
    byId("confusion-plots").classList.add("square");
    if (!one) return [];
    const values = shares(one);
    const names = one.classes.map(plain);
    const scale = isDark() ? [[0, "#1e242b"], [1, "#56b4e9"]] : [[0, "#f4f6f8"], [1, "#0b5cab"]];
    const ink = (share) => (isDark() ? (share > 0.5 ? "#101418" : "#e8ecf0") : share > 0.5 ? "#ffffff" : "#16202b");
    const numbers = values.length <= 16 ? values.flatMap((row, y) => row.map((share, x) => ({ x, y, text: percent(share), showarrow: false, font: { color: ink(share), size: values.length > 8 ? 9 : 12 } }))) : [];
    const ticks = { tickmode: "array", tickvals: names.map((_, i) => i), ticktext: names, showgrid: false };
    return [{
      traces: [{ type: "heatmap", z: values, customdata: one.pixels, zmin: 0, zmax: 1, colorscale: scale, colorbar: { title: { text: "share of the row" }, thickness: 12 }, xgap: 2, ygap: 2,
        text: one.classes.map((truth) => one.classes.map((said) => `${plain(truth)} called ${plain(said)}`)), hovertemplate: "%{text}<br>%{z:.2%}, %{customdata:,} pixels<extra></extra>" }],
      layout: layout(`${plain(nameOf(one.method))}, ${one.split}, ${one.region}`, "predicted", "mask", { xaxis: ticks, yaxis: { ...ticks, autorange: "reversed" }, annotations: numbers, showlegend: false }),
      alt: `Confusion matrix of ${nameOf(one.method)}, ${one.split}, ${one.region}: the same as the table below.`,
    }];
  },
  said: (state) => {
    const one = matrixOf(state);
    const values = shares(one);
    return one.classes.map((name, i) => `${name}: ${percent(values[i][i])} right`).join("; ") + ".";
  },
  rows: (state) => {
    const one = matrixOf(state);
    const values = shares(one);
    return table(["Mask \\ predicted", ...one.classes], one.classes.map((name, i) => [name, ...values[i].map((share, j) => `${percent(share)} (${one.pixels[i][j].toLocaleString("en")})`)]));
  },
});

// -- time ------------------------------------------------------------------------------------------------------------------
const times = byId("times") ? [...byId("times").tBodies[0].rows].map((row) => [row.cells[0].textContent, row.cells[1].textContent, Number(row.cells[3].dataset.v)]) : [];
if (times.length) {
  const stages = unique(times.map(([stage]) => stage));
  const seconds = (test) => times.filter(test).reduce((sum, [, , value]) => sum + value, 0);
  const whose = unique(times.map(([, name]) => name)).sort((a, b) => seconds(([, name]) => name === b) - seconds(([, name]) => name === a));
  const shown = whose.slice(0, 12);
  new Figure("runs", {
    state: {},
    plots: () => {
      byId("runs-plots").classList.add("single");
      const bar = (name, place, belongs) => ({
        type: "bar", orientation: "h", name: plain(name), y: stages, x: stages.map((stage) => seconds(([of, who]) => of === stage && belongs(who))),
        marker: { color: colour(place), pattern: { shape: ["", "/", "\\", "x", "-", "|", "."][Math.floor(place / 7 + place) % 7], fillmode: "overlay", fgopacity: 0.5, size: 6 } },
        hovertemplate: "%{y}: %{x:.1f} s<extra>%{fullData.name}</extra>",
      });
      const traces = shown.map((name, place) => bar(name, place, (who) => who === name));
      if (whose.length > shown.length) traces.push(bar("others", 12, (who) => !shown.includes(who)));
      return [{ traces, alt: "Seconds of each stage, by experiment or data set; the same as the table below.",
        layout: layout("Seconds of each stage", "seconds, added up over jobs", "", { barmode: "stack", height: 120 + 34 * stages.length, yaxis: { autorange: "reversed", showgrid: false } }) }];
    },
    said: () => stages.map((stage) => [stage, seconds(([of]) => of === stage)]).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([stage, sum]) => `${stage} ${sum.toFixed(1)} s`).join(", ") + " took most.",
  });
}
