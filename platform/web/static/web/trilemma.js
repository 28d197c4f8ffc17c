// The trilemma: quality against coverage, speed as the marker's size, family as colour and shape.
import { CONFIG, axis, colour, layout, ready } from "./palette.js";

const SHAPES = { gan: "circle", vae: "square", diffusion: "diamond", control: "x" };
const SMALLEST = 9;
const LARGEST = 26;

export function drawTrilemma(element) {
  const data = JSON.parse(document.getElementById(element.dataset.points).textContent);
  const families = [...new Set(data.points.map((point) => point.family))];
  ready(element);
  window.Plotly.react(element, families.map((family) => trace(data, family)), layout({
    xaxis: axis(`${data.coverage.label}, better to the right`, better(data.coverage)),
    yaxis: axis(`${data.quality.label}, better upwards`, better(data.quality)),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, itemsizing: "constant" },
    showlegend: true,
    hovermode: "closest",
  }), CONFIG);
}

// Better is up and to the right: an axis where lower is better runs backwards.
function better(side) {
  return side.higher_is_better ? {} : { autorange: "reversed" };
}

function trace(data, family) {
  const points = data.points.filter((point) => point.family === family);
  return {
    type: "scatter",
    mode: "markers+text",
    name: points[0].family_label,
    x: points.map((point) => point.coverage.value),
    y: points.map((point) => point.quality.value),
    text: points.map((point) => point.label),
    textposition: points.map((point) => place(point, data)),
    textfont: { size: 11, color: colour("text-muted") },
    cliponaxis: false,
    error_x: bars(points, "coverage", family),
    error_y: bars(points, "quality", family),
    marker: {
      color: colour(`family-${family}`),
      symbol: SHAPES[family] ?? "circle",
      size: points.map((point) => size(point, data.points)),
      opacity: 0.9,
      line: { width: 1, color: colour("surface") },
    },
    customdata: points.map((point) => [point.experiment, speed(point)]),
    hovertemplate: `<b>%{text}</b><br>%{customdata[0]}<br>${data.quality.label} %{y:.4g}<br>${data.coverage.label} %{x:.4g}<br>%{customdata[1]}<extra></extra>`,
  };
}

// Labels stand beside the error bars, inside the chart, and below a close neighbour.
function place(point, data) {
  const coverage = data.points.map((other) => other.coverage.value);
  const quality = data.points.map((other) => other.quality.value);
  const width = Math.max(...coverage) - Math.min(...coverage) || 1;
  const height = Math.max(...quality) - Math.min(...quality) || 1;
  const sign = data.quality.higher_is_better ? 1 : -1;
  const isBelow = data.points.some((other) => other !== point
    && Math.abs(other.coverage.value - point.coverage.value) < 0.3 * width
    && sign * (other.quality.value - point.quality.value) > 0
    && sign * (other.quality.value - point.quality.value) < 0.15 * height);
  const isRight = (point.coverage.value - Math.min(...coverage)) / width > 0.7;
  const atRight = data.coverage.higher_is_better === isRight;
  return `${isBelow ? "bottom" : "top"} ${atRight ? "left" : "right"}`;
}

function bars(points, side, family) {
  const reach = (point, end) => {
    const { value, [end]: bound } = point[side];
    return bound === null ? 0 : Math.abs(bound - value);
  };
  return {
    type: "data",
    symmetric: false,
    array: points.map((point) => reach(point, "high")),
    arrayminus: points.map((point) => reach(point, "low")),
    color: colour(`family-${family}`),
    thickness: 1,
    width: 3,
  };
}

// The marker's size grows with the logarithm of images per second.
function size(point, all) {
  const speeds = all.map((other) => other.images_per_second).filter((value) => value > 0);
  if (!(point.images_per_second > 0)) return SMALLEST;
  const low = Math.log(Math.min(...speeds));
  const high = Math.log(Math.max(...speeds));
  if (high === low) return (SMALLEST + LARGEST) / 2;
  return SMALLEST + (LARGEST - SMALLEST) * (Math.log(point.images_per_second) - low) / (high - low);
}

function speed(point) {
  if (!(point.images_per_second > 0)) return "not sampled";
  return `${point.images_per_second.toPrecision(3)} images/s`;
}
