// Draws every element with data-chart once it comes near the view, also those that arrive later, in
// the colours of the theme. Plotly is fetched for the first of them.
import { drawCurves } from "./curves.js";
import { drawGuidance } from "./guidance.js";
import { drawLoss } from "./loss.js";
import { drawNfe } from "./nfe.js";
import { say } from "./palette.js";
import { drawTrilemma } from "./trilemma.js";

const DRAW = { compare: drawCurves, guidance: drawGuidance, loss: drawLoss, nfe: drawNfe, trilemma: drawTrilemma };
const LIBRARY = document.querySelector("script[data-plotly]").dataset.plotly;
let library = null;

function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    script.src = LIBRARY;
    document.head.append(script);
  });
  return library;
}

async function draw(element) {
  try {
    await plotly();
  } catch {
    return say(element, "The chart's library could not be loaded; reload the page to try again.");
  }
  DRAW[element.dataset.chart](element);
}

const seen = new WeakSet();
const watch = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    watch.unobserve(target);
    seen.add(target);
    draw(target);
  }
}, { rootMargin: "300px" });

function drawAll(root) {
  const inside = [...root.querySelectorAll("[data-chart]")];
  if (root.matches?.("[data-chart]")) inside.push(root);
  for (const element of inside) seen.has(element) ? draw(element) : watch.observe(element);
}

drawAll(document);
document.addEventListener("themechange", () => drawAll(document));
document.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
document.addEventListener("htmx:beforeCleanupElement", (event) => {
  for (const element of event.detail.elt.querySelectorAll?.("[data-chart]") ?? []) {
    watch.unobserve(element);
    window.Plotly?.purge(element);
  }
});
