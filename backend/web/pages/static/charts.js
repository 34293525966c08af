// Draws each <figure class="chart"> by uPlot: what is in its <script type="application/json">, into its <div class="plot">.
// {"kind": "time" or "score", "format": "percent", "ratio" or "seconds", "x": [...], "series": [{"name", "colour", "values",
// "low", "high", "counts"}], "top": a number or null}. A series' interval is a band; a value that is null is a gap.

const FORMATS = {
  percent: (value) => `${Math.round(100 * value)} %`,
  ratio: (value) => value.toFixed(2),
  seconds: (value) => `${Math.round(value)} s`,
};
const drawn = new Map(); // figure -> uPlot

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const day = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 10);

function faint(hex) {
  return `${hex}2e`;
}

function columns(chart) {
  const data = [chart.x];
  const series = [{}];
  const bands = [];
  for (const each of chart.series) {
    const stroke = colour(each.colour);
    const place = data.length;
    data.push(each.values, each.low, each.high);
    series.push(
      { stroke, width: 2, points: { show: true, size: 7, fill: stroke, width: 0 }, spanGaps: false },
      { stroke: "transparent", width: 0, points: { show: false } },
      { stroke: "transparent", width: 0, points: { show: false } },
    );
    bands.push({ series: [place + 2, place + 1], fill: faint(stroke) });
  }
  return { data, series, bands };
}

// Of a band of one point, and where lines would not join: a bar from the interval's one end to the other.
function bars(chart) {
  return (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.lineWidth = 1.5 * devicePixelRatio;
    chart.series.forEach((each, number) => {
      ctx.strokeStyle = colour(each.colour);
      each.values.forEach((value, place) => {
        const isAlone = each.values[place - 1] == null && each.values[place + 1] == null;
        if (value == null || each.low[place] == null || !(isAlone || chart.kind === "score")) return;
        const x = plot.valToPos(chart.x[place], "x", true) + 3 * number * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x, plot.valToPos(each.low[place], "y", true));
        ctx.lineTo(x, plot.valToPos(each.high[place], "y", true));
        ctx.stroke();
      });
    });
    if (chart.kind === "score") {
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.strokeStyle = colour("muted");
      ctx.beginPath();
      ctx.moveTo(plot.valToPos(0, "x", true), plot.valToPos(0, "y", true));
      ctx.lineTo(plot.valToPos(1, "x", true), plot.valToPos(1, "y", true));
      ctx.stroke();
    }
    ctx.restore();
  };
}

function tip(chart, format) {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  const line = (text) => box.appendChild(document.createElement("div")).append(text);
  const show = (plot) => {
    const place = plot.cursor.idx;
    box.hidden = place == null || plot.cursor.left < 0;
    if (box.hidden) return;
    box.replaceChildren();
    line(chart.kind === "time" ? `${chart.period} of ${day(chart.x[place])}` : `score about ${chart.x[place].toFixed(2)}`);
    for (const each of chart.series) {
      if (each.values[place] == null) continue;
      const interval = each.low[place] == null ? "" : ` (${format(each.low[place])} – ${format(each.high[place])})`;
      line(`${each.name}: ${format(each.values[place])}${interval}, of ${each.counts[place]}`);
    }
    const isRight = plot.cursor.left > plot.over.clientWidth / 2;
    box.style.left = isRight ? "auto" : `${plot.cursor.left + 12}px`;
    box.style.right = isRight ? `${plot.over.clientWidth - plot.cursor.left + 12}px` : "auto";
    box.style.top = "8px";
  };
  return { hooks: { init: (plot) => plot.over.append(box), setCursor: show } };
}

function draw(figure) {
  const place = figure.querySelector(".plot");
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const format = FORMATS[chart.format];
  const { data, series, bands } = columns(chart);
  drawn.get(figure)?.destroy();
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const isTime = chart.kind === "time";
  const values = (_, splits) => splits.map((each) => (isTime ? day(each).slice(5) : each.toFixed(1)));
  const [first, last] = [chart.x[0], chart.x[chart.x.length - 1]];
  const margin = Math.max(0.04 * (last - first), 43200);
  const options = {
    width: Math.max(place.clientWidth, 200),
    height: 250,
    series,
    bands,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    scales: {
      x: { time: isTime, range: isTime ? [first - margin, last + margin] : [0, 1] },
      y: { range: (_, low, high) => [0, chart.top ?? Math.max(1.1 * (high ?? 1), 1e-6)] },
    },
    axes: [{ ...axis, values, size: 34, space: 70, splits: isTime ? chooseDays(chart.x, place.clientWidth) : undefined },
      { ...axis, size: 58, values: (_, splits) => splits.map(format) }],
    hooks: { draw: [bars(chart)] },
    plugins: [tip(chart, format)],
  };
  drawn.set(figure, new uPlot(options, data, place));
}

function chooseDays(x, width) {
  const step = Math.max(1, Math.ceil(x.length / Math.max(2, Math.floor(width / 80))));
  return x.filter((_, place) => place % step === 0);
}

function drawAll() {
  for (const [figure, plot] of drawn) {
    if (!figure.isConnected) {
      plot.destroy();
      drawn.delete(figure);
    }
  }
  document.querySelectorAll("figure.chart").forEach(draw);
}

let waiting;
function drawSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 120);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
addEventListener("resize", drawSoon);
new MutationObserver((changes) => {
  if (changes.some(({ target }) => target.parentElement?.matches?.("figure.chart script"))) drawSoon(); // by live.js
}).observe(document.querySelector("main"), { subtree: true, characterData: true });
drawAll();
