// Asks for what lives on a page: one request a second at most, each part in turn, none while the
// page is hidden. A part is a region with hx-trigger="poll", or a chart with data-poll. One that is
// folded away is not asked for, nor one whose end somebody has scrolled away from.
const TICK_MS = 1000;
const LEAST_MS = 2000; // between two questions of the same part
const asked = new Map(); // address of a part -> when; a region is another element each time

const address = (part) => (part.getAttribute("hx-get") ?? part.dataset.source).replace(/[?&]seen=.*$/, "");
const last = (part) => asked.get(address(part)) ?? -Infinity;

const isRead = (part) => {
  const end = part.querySelector("[data-tail]");
  return end !== null && end.scrollTop < -4; // 0 is the end
};
const isFollowed = (part) => !part.closest("details:not([open])") && !isRead(part);

function tick() {
  if (document.hidden) return;
  const parts = [...document.querySelectorAll('[hx-trigger="poll"], [data-poll]')].filter(isFollowed);
  const part = parts.sort((a, b) => last(a) - last(b))[0];
  const now = performance.now();
  if (!part || now - last(part) < LEAST_MS) return;
  asked.set(address(part), now);
  part.dispatchEvent(new CustomEvent("poll"));
}

setInterval(tick, TICK_MS);

// A part with hx-trigger="near" is asked for once, a little before somebody scrolls down to it.
const near = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    near.unobserve(target);
    target.dispatchEvent(new CustomEvent("near"));
  }
}, { rootMargin: "0px 0px 800px" });

document.addEventListener("htmx:load", (event) => {
  const root = event.detail.elt;
  for (const part of root.querySelectorAll('[hx-trigger="near"]')) near.observe(part);
});
