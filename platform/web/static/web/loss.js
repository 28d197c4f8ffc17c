// Loss curves: one line per loss and seed over images seen; asked for again while training lives.
import { CONFIG, LINES, axis, colour, layout, ready, say } from "./palette.js";

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const known = new WeakMap(); // element -> the last answer
const followed = new WeakSet();

export function drawLoss(element) {
  if (known.has(element)) draw(element, known.get(element));
  else if (!followed.has(element)) follow(element);
}

// live.js says when to ask again, as long as data-poll is there.
function follow(element) {
  followed.add(element);
  element.addEventListener("poll", () => ask(element));
  ask(element);
}

async function ask(element) {
  delete element.dataset.poll; // not while an answer is under way
  let finished = false;
  try {
    const answer = await fetch(element.dataset.source, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const curves = await answer.json();
      known.set(element, curves);
      draw(element, curves);
      finished = curves.finished;
    }
  } catch {
    if (!known.has(element)) say(element, "The server does not answer; trying again.");
  }
  if (!finished) element.dataset.poll = "";
}

function draw(element, curves) {
  const traces = lines(curves.runs, curves.words ?? {});
  if (!traces.length) {
    say(element, curves.finished ? "No loss was recorded." : "The first points appear soon after the training begins.");
    return;
  }
  ready(element);
  window.Plotly.react(element, traces, layout({
    xaxis: axis("images seen", { tickformat: "~s", rangemode: "tozero" }),
    yaxis: axis("", { tickformat: "~g", nticks: 6 }),
    showlegend: new Set(traces.map((trace) => trace.legendgroup)).size > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    hovermode: "x",
  }), CONFIG);
}

function lines(runs, words) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.losses)))];
  const several = runs.length > 1;
  const traces = [];
  names.forEach((name, nameIndex) => {
    runs.forEach((run, runIndex) => {
      if (!run.losses[name]) return;
      const title = words[name] ?? name;
      const label = several ? `${title}, seed ${run.seed}` : title;
      traces.push({
        x: run.images_seen,
        y: run.losses[name],
        name: title,
        showlegend: runIndex === runs.findIndex((other) => other.losses[name]),
        legendgroup: name,
        mode: run.images_seen.length > 1 ? "lines" : "markers",
        line: {
          color: colour(LINES[nameIndex % LINES.length]),
          width: 1.6,
          dash: DASHES[runIndex % DASHES.length],
        },
        connectgaps: false,
        hovertemplate: `${label} %{y:.4g}<extra></extra>`,
      });
    });
  });
  return traces;
}
