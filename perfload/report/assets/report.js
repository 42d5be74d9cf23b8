(function () {
  "use strict";

  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const charts = [...document.querySelectorAll("[data-figure]")].filter((chart) => figures[chart.dataset.figure]);
  const timeCharts = charts.filter((chart) => (figures[chart.dataset.figure].layout.meta || {}).time);
  const PRINT_WIDTH_PX = 980;
  const config = {
    responsive: true,
    displayModeBar: false,
  };

  // Colours of text and lines come from the style sheet, so that light, dark and print have one source.
  function theme(chart) {
    const style = getComputedStyle(root);
    const color = (name) => style.getPropertyValue(name).trim();
    const axes = Object.keys(figures[chart.dataset.figure].layout).filter((key) => /^[xy]axis/.test(key));
    const ofAxes = axes.flatMap((axis) => [
      [axis + ".tickfont.color", color("--muted")],
      [axis + ".title.font.color", color("--muted")],
      [axis + ".gridcolor", color("--grid")],
      [axis + ".linecolor", color("--line")],
      [axis + ".zerolinecolor", color("--line")],
    ]);
    return {
      ...Object.fromEntries(ofAxes),
      "paper_bgcolor": "rgba(0,0,0,0)",
      "plot_bgcolor": "rgba(0,0,0,0)",
      "font.color": color("--ink"),
      "font.family": style.getPropertyValue("--sans").trim(),
      "font.size": 12,
      "hoverlabel.bgcolor": color("--surface"),
      "hoverlabel.bordercolor": color("--line"),
      "hoverlabel.font.color": color("--ink"),
    };
  }

  function set(layout, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    keys.reduce((part, key) => (part[key] = part[key] || {}), layout)[last] = value;
  }

  function draw(chart) {
    const figure = figures[chart.dataset.figure];
    Object.entries(theme(chart)).forEach(([path, value]) => set(figure.layout, path, value));
    return Plotly.newPlot(chart, figure.data, figure.layout, config);
  }

  function paint() {
    charts.forEach((chart) => Plotly.relayout(chart, theme(chart)));
  }

  // Zooming into one chart over time zooms all of them.
  let following = false;
  function follow(chart, event) {
    const whole = event["xaxis.autorange"];
    if (following || !(whole || "xaxis.range[0]" in event || "xaxis.range" in event)) return;
    const range = whole ? figures[chart.dataset.figure].layout.meta.range : chart.layout.xaxis.range;
    following = true;
    Promise.all(timeCharts.map((each) => Plotly.relayout(each, { "xaxis.range": range.slice() })))
      .finally(() => { following = false; });
  }

  function toggleLog(button) {
    const chart = document.querySelector('[data-figure="' + button.dataset.log + '"]');
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    Plotly.relayout(chart, { "yaxis.type": on ? "log" : "linear", "yaxis.autorange": true });
  }

  let failures = 0;
  charts.forEach((chart) => {
    try {
      draw(chart);
    } catch (error) {
      failures += 1;
      chart.textContent = "This chart could not be drawn: " + error.message;
    }
  });
  timeCharts.forEach((chart) => {
    if (chart.on) chart.on("plotly_relayout", (event) => follow(chart, event));
  });
  document.querySelectorAll("[data-log]").forEach((button) => {
    button.addEventListener("click", () => toggleLog(button));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    charts.forEach((chart) => {
      const share = chart.closest(".two") ? 0.48 : 1;
      Plotly.relayout(chart, Object.assign({ width: PRINT_WIDTH_PX * share }, theme(chart)));
    });
  });
  addEventListener("afterprint", () => {
    delete root.dataset.theme;
    charts.forEach((chart) => Plotly.relayout(chart, Object.assign({ width: null, autosize: true }, theme(chart))));
  });
  root.dataset.charts = String(charts.length - failures);
  root.dataset.chartFailures = String(failures);
})();
