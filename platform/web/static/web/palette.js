// What all charts have in common: colours and fonts of the page, and no decoration.
const style = () => getComputedStyle(document.documentElement);
export const colour = (name) => style().getPropertyValue(`--${name}`).trim();

export const LINES = ["line-1", "line-2", "line-3", "line-4", "line-5"];
export const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };

// As much of a name as a chart has room for; all of it stands in the tooltip.
export const cut = (name, most = 28) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

export function axis(title, more = {}) {
  return {
    title: { text: title, font: { size: 12, color: colour("text-muted") }, standoff: 10 },
    gridcolor: colour("chart-grid"),
    linecolor: colour("border-strong"),
    zeroline: false,
    tickfont: { size: 11, color: colour("text-muted") },
    automargin: true,
    ...more,
  };
}

export function layout(more = {}) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style().getPropertyValue("--font-text"), size: 12, color: colour("text") },
    margin: { l: 8, r: 12, t: 8, b: 8 },
    hoverlabel: {
      bgcolor: colour("surface-raised"),
      bordercolor: colour("border-strong"),
      font: { color: colour("text"), size: 12 },
    },
    ...more,
  };
}

export function ready(element) {
  element.querySelector(".chart-wait")?.remove();
  element.dataset.drawn = "true";
}

export function say(element, text) {
  let note = element.querySelector(".chart-wait");
  if (!note) {
    note = document.createElement("p");
    note.className = "chart-wait";
    element.append(note);
  }
  note.textContent = text;
}
