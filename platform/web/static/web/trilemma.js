// The trilemma: quality against coverage, speed as the marker's size, family as colour and shape,
// with the Pareto front; joined with the board's table by pointing.
import { CONFIG, axis, colour, cut, layout, ready } from "./palette.js";

const SHAPES = { gan: "circle", vae: "square", diffusion: "diamond", control: "x" };
const MORE_SHAPES = ["triangle-up", "pentagon", "star", "hexagon", "triangle-down"]; // of other packages' families
const SMALLEST = 9;
const LARGEST = 26;
const HEIGHT = 280; // pixels between the axes
const PLACES = [
  ["top right", 1, -1], ["bottom right", 1, 1], ["top left", -1, -1], ["bottom left", -1, 1],
  ["top center", 0, -1], ["bottom center", 0, 1], ["middle right", 1, 0], ["middle left", -1, 0],
];

const FAR = [36, 54, 72, 90]; // pixels between a marker and a label that stands away

export function drawTrilemma(element) {
  const data = JSON.parse(document.getElementById(element.dataset.points).textContent);
  const others = data.others.map(([label, family, familyLabel, x, y, speed]) => (
    { label, family, family_label: familyLabel, x, y, images_per_second: speed }));
  const all = [...data.points, ...others];
  const families = [...new Set(all.map((point) => point.family))];
  ready(element);
  const shown = new Set(data.points.map((point) => point.family));
  const traces = (places) => [
    ...joined(data),
    ...families.filter((family) => others.some((point) => point.family === family))
      .map((family) => paler(data, others.filter((point) => point.family === family), family, families, !shown.has(family))),
    ...families.filter((family) => shown.has(family)).map((family) => trace(data, family, families, places)),
    ...(data.front.length > 1 ? [frontLine(data)] : []),
  ];
  const draw = (places) => window.Plotly.react(element, traces(places), layout({
    xaxis: axis(`${data.coverage.label}, better to the right`, better(data.coverage)),
    yaxis: axis(`${data.quality.label}, better upwards`, { ...better(data.quality), ...(data.log ? { type: "log", tickformat: "~g", nticks: 6 } : {}) }),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, itemsizing: "constant" },
    showlegend: true,
    hovermode: "closest",
    annotations: awayLabels(places, data.log),
  }), CONFIG);
  // Once it is drawn it is known where everything stands, and where labels have room.
  draw(new Map()).then(() => draw(placeLabels(data.points, viewOf(element), (point) => size(point, data.points) / 2)));
  link(element);
}

// The samplers of one trained model, by how often they ask the network.
function joined(data) {
  return data.joined.map((keys) => {
    const points = keys.map((key) => data.points.find((point) => point.key === key));
    return {
      type: "scatter",
      mode: "lines",
      showlegend: false,
      x: points.map((point) => point.coverage.value),
      y: points.map((point) => point.quality.value),
      line: { color: colour(`family-${points[0].family}`), width: 1.2 },
      opacity: 0.6,
      hoverinfo: "skip",
    };
  });
}

// Between the entries that nobody beats in both: as good as it gets here for each coverage.
function frontLine(data) {
  const points = data.front.map((key) => data.points.find((point) => point.key === key));
  return {
    type: "scatter",
    mode: "lines",
    name: "Pareto front",
    x: points.map((point) => point.coverage.value),
    y: points.map((point) => point.quality.value),
    line: { color: colour("text-muted"), width: 1, dash: "dot" },
    hoverinfo: "skip",
  };
}

// A point that is pointed at marks its row in the table, and a row its point.
function link(element) {
  const table = (element.closest(".board") ?? document).querySelector(".ranking");
  if (!table || element.dataset.linked) return;
  element.dataset.linked = "true";
  const marked = (event, on) => {
    for (const { customdata } of event.points) {
      const tick = table.querySelector(`.tick[value="${CSS.escape(customdata?.[3] ?? "")}"]`);
      tick?.closest("tr").classList.toggle("is-pointed", on);
    }
  };
  element.on("plotly_hover", (event) => marked(event, true));
  element.on("plotly_unhover", (event) => marked(event, false));
  table.addEventListener("mouseover", (event) => point(element, event.target.closest("tr")));
  table.addEventListener("mouseleave", () => window.Plotly.Fx.unhover(element));
  element.on("plotly_relayout", () => brush(element, table));
}

// Rows whose points a drag left outside are paler until all is shown again.
function brush(element, table) {
  const view = viewOf(element);
  const { xaxis, yaxis } = element._fullLayout;
  const isAll = xaxis.autorange && yaxis.autorange;
  const within = (at, most) => at >= 0 && at <= most;
  for (const { x, y, customdata } of element.data) {
    customdata?.forEach((known, at) => {
      const row = table.querySelector(`.tick[value="${CSS.escape(known[3] ?? "")}"]`)?.closest("tr");
      const isInside = isAll || (within(view.x(x[at]), view.width) && within(view.y(y[at]), view.height));
      row?.classList.toggle("is-outside", !isInside);
    });
  }
}

function point(element, row) {
  const key = row?.querySelector(".tick")?.value;
  const found = (element.data ?? []).flatMap((trace, curveNumber) => {
    const pointNumber = (trace.customdata ?? []).findIndex((known) => known[3] === key);
    return pointNumber < 0 ? [] : [{ curveNumber, pointNumber }];
  });
  if (key && found.length) window.Plotly.Fx.hover(element, found);
}

export function shape(family, families) {
  const others = families.filter((name) => !(name in SHAPES));
  return SHAPES[family] ?? MORE_SHAPES[others.sort().indexOf(family) % MORE_SHAPES.length];
}

// Better is up and to the right: an axis where lower is better runs backwards.
function better(side) {
  return side.higher_is_better ? {} : { autorange: "reversed" };
}

function trace(data, family, families, places) {
  const hue = colour(`family-${family}`);
  const points = data.points.filter((point) => point.family === family);
  return {
    type: "scatter",
    mode: "markers+text",
    name: points[0].family_label,
    x: points.map((point) => point.coverage.value),
    y: points.map((point) => point.quality.value),
    text: points.map((point) => nearLabel(point, places)),
    textposition: points.map((point) => nearPlace(point, places)),
    textfont: { size: 11, color: colour("text-muted") },
    cliponaxis: false,
    error_x: bars(points, "coverage", hue),
    error_y: bars(points, "quality", hue),
    marker: {
      color: hue,
      symbol: shape(family, families),
      size: points.map((point) => size(point, data.points)),
      opacity: 0.9,
      line: {
        width: points.map((point) => (point.on_front ? 2 : 1)),
        color: points.map((point) => colour(point.on_front ? "text" : "surface")),
      },
    },
    customdata: points.map((point) => [point.experiment, speed(point), point.label, point.key]),
    hovertemplate: `<b>%{customdata[2]}</b><br>%{customdata[0]}<br>${data.quality.label} %{y:.4g}<br>${data.coverage.label} %{x:.4g}<br>%{customdata[1]}<extra></extra>`,
  };
}

// Rows of other pages: small and pale, their names in the tooltip alone.
function paler(data, points, family, families, named) {
  return {
    type: "scatter",
    mode: "markers",
    name: points[0].family_label,
    showlegend: named,
    x: points.map((point) => point.x),
    y: points.map((point) => point.y),
    marker: { color: colour(`family-${family}`), symbol: shape(family, families), size: SMALLEST - 3, opacity: 0.35 },
    customdata: points.map((point) => [speed(point), point.label]),
    hovertemplate: `<b>%{customdata[1]}</b><br>on another page<br>${data.quality.label} %{y:.4g}<br>${data.coverage.label} %{x:.4g}<br>%{customdata[0]}<extra></extra>`,
  };
}

// Where values stand in a chart that is drawn, in pixels from its top left corner.
export function viewOf(element) {
  const { xaxis, yaxis } = element._fullLayout;
  return { width: xaxis._length, height: yaxis._length, x: (value) => xaxis.d2p(value), y: (value) => yaxis.d2p(value) };
}

// Where each label stands: the first place where it covers no marker, no interval and no other label;
// at the marker, as the name of one of eight places, else further away, as an offset in pixels. A label
// without any is left to the marker's tooltip.
export function placeLabels(points, view, radius) {
  const taken = points.flatMap((point) => covered(point, view, radius(point)));
  const places = new Map();
  const labels = [];
  for (const point of points) {
    const [x, y, r] = [view.x(point.coverage.value), view.y(point.quality.value), 1.25 * radius(point) + 2];
    const [w, h] = [6.2 * cut(point.label).length, 13];
    const near = PLACES.map(([name, dx, dy]) => [name, x + dx * (w / 2 + r), y + dy * (h / 2 + r)]);
    const far = [0, -1, 1].flatMap((aside) => FAR.flatMap((away) => [away, -away]).map((away) => {
      const middle = Math.min(Math.max(x + aside * (w / 2 + r), w / 2), view.width - w / 2);
      return [{ ax: middle - x, ay: away }, middle, y + away];
    }));
    const found = [...near, ...far].find(([place, middle, height]) => {
      const label = box(middle, height, w, h);
      const crossed = along(place, x, y, labels);
      return isInside(label, view) && !crossed.length && !taken.some((other) => overlap(label, other));
    });
    if (!found) continue;
    labels.push(box(found[1], found[2], w, h));
    taken.push(labels.at(-1), ...along(found[0], x, y));
    places.set(point, found[0]);
  }
  return places;
}

// Spots of the line from a marker to a label that stands away, those in some boxes alone if these are given.
function along(place, x, y, boxes) {
  if (typeof place === "string") return [];
  const spots = [0.1, 0.25, 0.4, 0.55, 0.7].map((part) => box(x + part * place.ax, y + part * place.ay, 3, 3));
  return boxes ? spots.filter((spot) => boxes.some((other) => overlap(spot, other))) : spots;
}

// Labels that stand away from their markers, with a line to these.
export function awayLabels(places, log) {
  return [...places].filter(([, place]) => typeof place !== "string").map(([point, { ax, ay }]) => ({
    x: point.coverage.value,
    y: log ? Math.log10(point.quality.value) : point.quality.value,
    ax,
    ay,
    text: cut(point.label).replace(/[<>&]/g, ""),
    font: { size: 11, color: colour("text-muted") },
    arrowhead: 0,
    arrowwidth: 0.7,
    arrowcolor: colour("text-muted"),
    standoff: 4,
    borderpad: 0,
  }));
}

// A label at a marker, "" where it has no place there.
export function nearLabel(point, places) {
  return typeof places.get(point) === "string" ? cut(point.label) : "";
}

export function nearPlace(point, places) {
  return nearLabel(point, places) ? places.get(point) : "top center";
}

function isInside(label, view) {
  return label.left >= 0 && label.right <= view.width && label.top >= -8 && label.bottom <= view.height;
}

// What a point covers: its marker and both intervals.
function covered(point, view, r) {
  const [x, y] = [view.x(point.coverage.value), view.y(point.quality.value)];
  const ends = (side, place) => [point[side].low, point[side].high]
    .map((bound) => place(bound ?? point[side].value)).filter(Number.isFinite);
  const [across, upright] = [[x, ...ends("coverage", view.x)], [y, ...ends("quality", view.y)]];
  return [
    box(x, y, 2 * r, 2 * r),
    { left: Math.min(...across), right: Math.max(...across), top: y - 2, bottom: y + 2 },
    { left: x - 2, right: x + 2, top: Math.min(...upright), bottom: Math.max(...upright) },
  ];
}

function box(x, y, width, height) {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

export function bars(points, side, hue) {
  const reach = (point, end) => {
    const { value, [end]: bound } = point[side];
    return bound === null ? 0 : Math.max(0, end === "high" ? bound - value : value - bound);
  };
  return {
    type: "data",
    symmetric: false,
    array: points.map((point) => reach(point, "high")),
    arrayminus: points.map((point) => reach(point, "low")),
    color: hue,
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
