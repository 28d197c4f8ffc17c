// The NFE curve: quality against network evaluations per image, a line for each model and sampler.
import { CONFIG, axis, colour, cut, layout, ready } from "./palette.js";
import { bars, shape } from "./trilemma.js";

const DASHES = ["solid", "dash", "dot", "dashdot"]; // of one family's lines

export function drawNfe(element) {
  const data = JSON.parse(document.getElementById(element.dataset.points).textContent);
  const families = [...new Set(data.curves.map((curve) => curve.family))];
  const before = new Map(); // lines of a family so far
  const named = new Set(); // in the legend, where points of one model by several samplers stand once
  ready(element);
  window.Plotly.react(element, data.curves.map((curve) => {
    const place = before.get(curve.family) ?? 0;
    if (curve.points.length > 1) before.set(curve.family, place + 1);
    const drawn = trace(curve, place, families, data);
    const showlegend = !named.has(drawn.name);
    named.add(drawn.name);
    return { ...drawn, name: cut(drawn.name, 40), showlegend, legendgroup: drawn.name };
  }), layout({
    xaxis: axis("network evaluations per image", { type: "log", dtick: "D2", tickformat: "~s" }),
    yaxis: axis(`${data.quality.label}, better upwards`, {
      ...(data.quality.higher_is_better ? {} : { autorange: "reversed" }),
      ...(data.log ? { type: "log", tickformat: "~g", nticks: 6 } : {}),
    }),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    showlegend: true,
    hovermode: "closest",
  }), CONFIG);
}

function trace(curve, place, families, data) {
  const hue = colour(`family-${curve.family}`);
  const isLine = curve.points.length > 1;
  return {
    type: "scatter",
    mode: isLine ? "lines+markers" : "markers",
    name: [curve.label, curve.kind].filter(Boolean).join(", "),
    x: curve.points.map((point) => point.nfe),
    y: curve.points.map((point) => point.quality.value),
    error_y: bars(curve.points, "quality", hue),
    line: { color: hue, width: 1.6, dash: DASHES[place % DASHES.length] },
    marker: { color: hue, symbol: shape(curve.family, families), size: 10 },
    cliponaxis: false,
    customdata: curve.points.map((point) => [curve.label, point.sampler, curve.experiment]),
    hovertemplate: `<b>%{customdata[0]}</b>, %{customdata[1]}<br>%{customdata[2]}<br>${data.quality.label} %{y:.4g}<br>%{x:.4g} evaluations<extra></extra>`,
  };
}
