// Losses of compared entries: a line each, the interval over seeds as a band.
import { CONFIG, LINES, axis, colour, layout, ready, say } from "./palette.js";

const DASHES = ["solid", "dash"];
const known = new WeakMap(); // element -> the answer
const waiting = new WeakSet();

export function drawCurves(element) {
  if (known.has(element)) draw(element, known.get(element));
  else if (!waiting.has(element)) ask(element);
}

async function ask(element) {
  waiting.add(element);
  try {
    const answer = await fetch(element.dataset.source, { headers: { Accept: "application/json" } });
    const found = await answer.json();
    if (!answer.ok) return say(element, found.detail);
    known.set(element, found);
    draw(element, found);
  } catch {
    say(element, "The server does not answer; reload the page to try again.");
  }
}

function draw(element, found) {
  if (!found.curves.length) return say(element, "No loss was recorded.");
  ready(element);
  window.Plotly.react(element, found.curves.flatMap(traces), layout({
    xaxis: axis(found.x, { tickformat: "~s" }),
    yaxis: axis(found.words, { type: found.scale, tickformat: "~g", nticks: 6 }),
    showlegend: true,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    hovermode: "x",
  }), CONFIG);
}

function traces(curve, place) {
  const hue = colour(LINES[place % LINES.length]);
  const shared = { x: curve.x, legendgroup: String(curve.entry), mode: "lines", connectgaps: false };
  const quiet = { ...shared, showlegend: false, hoverinfo: "skip" };
  const dash = DASHES[Math.floor(place / LINES.length) % DASHES.length];
  const found = runs(curve).map(([begin, end]) => ({
    ...quiet,
    x: [...curve.x.slice(begin, end), ...curve.x.slice(begin, end).reverse()],
    y: [...curve.high.slice(begin, end), ...curve.low.slice(begin, end).reverse()],
    fill: "toself",
    fillcolor: hue,
    opacity: 0.16,
    line: { width: 0 },
  }));
  if (curve.raw.length) found.push({ ...quiet, y: curve.raw, opacity: 0.3, line: { color: hue, width: 1, dash } });
  found.push({
    ...shared,
    y: curve.mean,
    name: `${curve.label}, n = ${curve.seeds}`,
    mode: curve.x.length > 1 ? "lines" : "markers",
    line: { color: hue, width: 1.8, dash },
    customdata: curve.n.map((n, at) => [n, curve.low[at] === null ? "" : ` [${short(curve.low[at])}, ${short(curve.high[at])}]`]),
    hovertemplate: `${curve.label} %{y:.4g}%{customdata[1]}, n = %{customdata[0]}<extra></extra>`,
  });
  return found;
}

const short = (value) => Number(value.toPrecision(3)).toString();

// Where a curve has an interval: pairs of a place and the one behind the last.
function runs(curve) {
  const found = [];
  curve.low.forEach((low, at) => {
    if (low === null || curve.high[at] === null) return;
    if (found.length && found.at(-1)[1] === at) found.at(-1)[1] = at + 1;
    else found.push([at, at + 1]);
  });
  return found;
}
