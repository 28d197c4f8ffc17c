// Draws every element with data-chart, also those that arrive later, in the colours of the theme.
import { drawCurves } from "./curves.js";
import { drawGuidance } from "./guidance.js";
import { drawLoss } from "./loss.js";
import { drawTrilemma } from "./trilemma.js";

const DRAW = { compare: drawCurves, guidance: drawGuidance, loss: drawLoss, trilemma: drawTrilemma };

function drawAll(root) {
  const inside = [...root.querySelectorAll("[data-chart]")];
  if (root.matches?.("[data-chart]")) inside.push(root);
  for (const element of inside) DRAW[element.dataset.chart](element);
}

drawAll(document);
document.addEventListener("themechange", () => drawAll(document));
document.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
document.addEventListener("htmx:beforeCleanupElement", (event) => {
  for (const element of event.detail.elt.querySelectorAll?.("[data-chart]") ?? []) {
    window.Plotly.purge(element);
  }
});
