// The guidance curve: following against diversity, one trained model at several scales joined in order.
import { CONFIG, LINES, axis, colour, layout, ready } from "./palette.js";
import { awayLabels, bars, nearLabel, nearPlace, placeLabels, shape, viewOf } from "./trilemma.js";

const ROLES = { ceiling: "triangle-up-open", floor: "triangle-down-open" };
const RADIUS = 5; // of a marker
const DASHES = ["solid", "dash", "dot"]; // after the last colour the first comes again, dashed

export function drawGuidance(element) {
  const data = JSON.parse(document.getElementById(element.dataset.points).textContent);
  const curves = data.curves.map((curve) => ({ ...curve, points: drawn(curve) })).filter((curve) => curve.points.length);
  const families = [...new Set(curves.map((curve) => curve.family))];
  const all = curves.flatMap((curve) => curve.points);
  ready(element);
  const draw = (places) => window.Plotly.react(element, curves.map((curve, number) => trace(curve, number, families, places, data)), layout({
    xaxis: axis(`${data.diversity.label}, more varied to the right`),
    yaxis: axis(`${data.following.label}, better followed upwards`, { rangemode: "tozero" }),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    showlegend: true,
    hovermode: "closest",
    annotations: awayLabels(places, false),
  }), CONFIG);
  draw(new Map()).then(() => draw(placeLabels(all, viewOf(element), () => RADIUS)));
}

// Points with both values, named as `placeLabels` and `bars` of the trilemma want them.
function drawn(curve) {
  return curve.points
    .filter((point) => point.following.value !== null && point.diversity.value !== null)
    .map((point) => ({ ...point, label: point.name, coverage: point.diversity, quality: point.following }));
}

function trace(curve, number, families, places, data) {
  const points = curve.points;
  const isControl = points[0].role !== "";
  const hue = colour(isControl ? "family-control" : LINES[number % LINES.length]);
  return {
    type: "scatter",
    mode: points.length > 1 ? "lines+markers+text" : "markers+text",
    name: curve.label,
    x: points.map((point) => point.coverage.value),
    y: points.map((point) => point.quality.value),
    text: points.map((point) => nearLabel(point, places)),
    textposition: points.map((point) => nearPlace(point, places)),
    textfont: { size: 11, color: colour("text-muted") },
    cliponaxis: false,
    line: { color: hue, width: 1.6, dash: DASHES[Math.floor(number / LINES.length) % DASHES.length] },
    error_x: bars(points, "coverage", hue),
    error_y: bars(points, "quality", hue),
    marker: { color: hue, symbol: ROLES[points[0].role] ?? shape(curve.family, families), size: 2 * RADIUS },
    customdata: points.map((point) => [curve.label, point.sampler]),
    hovertemplate: `<b>%{customdata[0]}</b><br>%{customdata[1]}<br>${data.following.label} %{y:.4g}<br>${data.diversity.label} %{x:.4g}<extra></extra>`,
  };
}
