// After each check while somebody types: says which fields are wrong to those who do not see it.
function mark() {
  for (const slot of document.querySelectorAll("[data-wrong]")) {
    const control = document.getElementById(slot.dataset.wrong);
    if (slot.textContent) control?.setAttribute("aria-invalid", "true");
    else control?.removeAttribute("aria-invalid");
  }
}

document.addEventListener("htmx:afterSettle", mark);

// The YAML and the costs stay unfolded when what they show is sent anew.
let unfolded = [];
const panel = () => document.getElementById("submit-panel");
document.addEventListener("htmx:beforeSwap", () => {
  unfolded = [...panel()?.querySelectorAll("details") ?? []].map((fold) => fold.open && fold.textContent.slice(0, 9));
});
document.addEventListener("htmx:afterSwap", () => {
  for (const fold of panel()?.querySelectorAll("details") ?? []) {
    fold.open = unfolded.includes(fold.textContent.slice(0, 9));
  }
});
