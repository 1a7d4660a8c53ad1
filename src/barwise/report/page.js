// Draws the charts of the page in the colours of the theme, and redraws them when the theme or the medium changes.
(() => {
  "use strict";

  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 700px)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const button = document.getElementById("theme");
  // On paper nothing adapts: these are the sizes that page.css has for the medium.
  const printedSize = (plot) => {
    if (plot.closest(".small-charts")) return { width: 332, height: 240 };
    return { width: 680, height: plot.classList.contains("tall") ? 430 : 300 };
  };
  // Named one by one: Plotly's own set has a button that would send the chart to a server.
  const BUTTONS = [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

  // "@long" is the value of the custom property --long.
  function coloured(value, styles) {
    if (typeof value === "string") {
      return value.startsWith("@") ? styles.getPropertyValue(`--${value.slice(1)}`).trim() : value;
    }
    if (Array.isArray(value)) {
      const simple = typeof value[0] === "number" || value[0] === null;
      return simple ? value : value.map((item) => coloured(item, styles));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, styles)]));
    }
    return value;
  }

  // Above the chart, except where it is long or buttons stand there.
  function legendOf(spec, small) {
    const place = spec.fits ? { y: -0.1, yanchor: "top" } : { y: 1.01, yanchor: "bottom" };
    return { orientation: "h", x: 0, font: { size: small ? 10 : 12 }, ...place };
  }

  function layoutOf(spec, styles, size) {
    const axis = {
      gridcolor: "@grid", linecolor: "@rule", zerolinecolor: "@rule", tickcolor: "@rule", automargin: true,
      separatethousands: true, exponentformat: "none",
    };
    const small = size ? false : narrow.matches;
    const layout = {
      autosize: !size,
      ...size,
      font: { family: styles.getPropertyValue("--font"), size: small ? 11 : 12, color: "@ink" },
      paper_bgcolor: "@page",
      plot_bgcolor: "@page",
      margin: { l: small ? 44 : 60, r: small ? 8 : 16, t: 36, b: 36 },
      hoverlabel: { bgcolor: "@card", bordercolor: "@rule", font: { color: "@ink" } },
      legend: legendOf(spec, small),
      dragmode: coarse.matches ? false : "zoom",
      ...spec.layout,
    };
    for (const name of ["xaxis", "yaxis", "yaxis2", "yaxis3"]) {
      if (name > "yaxis" && !layout[name]) continue;
      layout[name] = { ...axis, ...layout[name] };
      if (layout[name].rangeselector) {
        layout[name].rangeselector = {
          ...layout[name].rangeselector,
          bgcolor: "@card", activecolor: "@rule", bordercolor: "@rule", borderwidth: 1, x: 0, y: 1.02,
          visible: !size,
        };
      }
    }
    return coloured(layout, styles);
  }

  // Zooming in time fits the prices to the candles that are visible.
  function fitPrices(plot, trace, event) {
    if (event["xaxis.autorange"]) {
      Plotly.relayout(plot, { "yaxis.autorange": true });
      return;
    }
    const range = event["xaxis.range"] || [event["xaxis.range[0]"], event["xaxis.range[1]"]];
    if (range[0] === undefined || event["yaxis.range[0]"] !== undefined) return;
    const [first, last] = range.map((time) => {
      if (typeof time === "number") return time;
      return Date.parse(time.length > 10 ? `${time.replace(" ", "T").slice(0, 23)}Z` : time);
    });
    let low = Infinity;
    let high = -Infinity;
    trace.x.forEach((time, i) => {
      if (time < first || time > last) return;
      low = Math.min(low, trace.low[i]);
      high = Math.max(high, trace.high[i]);
    });
    if (low > high) return;
    const room = (high - low) * 0.05 || high * 0.001;
    Plotly.relayout(plot, { "yaxis.range": [low - room, high + room] });
  }

  function draw(printing) {
    const styles = getComputedStyle(root);
    for (const [name, spec] of Object.entries(figures)) {
      const plot = document.getElementById(`chart-${name}`);
      const first = !plot.classList.contains("js-plotly-plot");
      const config = { responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: BUTTONS };
      Plotly.react(plot, coloured(spec.data, styles), layoutOf(spec, styles, printing && printedSize(plot)), config);
      if (first && spec.fits) plot.on("plotly_relayout", (event) => fitPrices(plot, spec.data[0], event));
    }
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    draw();
  });
  prefersDark.addEventListener("change", () => draw());
  narrow.addEventListener("change", () => draw());
  let screenTheme;
  window.addEventListener("beforeprint", () => {
    screenTheme = root.dataset.theme;
    root.dataset.theme = "light";
    draw(true);
  });
  window.addEventListener("afterprint", () => {
    if (screenTheme) root.dataset.theme = screenTheme;
    else delete root.dataset.theme;
    draw();
  });
  draw();
})();
