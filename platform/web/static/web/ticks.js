// Ticked rows stay ticked when a live board is drawn anew, and the button says how many they are.
const ticked = new Set();
const boxes = () => [...document.querySelectorAll("input.tick")];

function tell() {
  const text = ticked.size ? `Compare ${ticked.size} ticked row${ticked.size > 1 ? "s" : ""}` : "Compare ticked rows";
  document.querySelectorAll(".compare-bar button").forEach((button) => { button.textContent = text; });
}

function note(box) {
  if (box.checked) ticked.add(box.value);
  else ticked.delete(box.value);
}

boxes().forEach(note); // a browser that goes back remembers some
tell();
document.addEventListener("change", (event) => {
  if (!event.target.matches?.("input.tick")) return;
  note(event.target);
  for (const box of boxes()) box.checked = ticked.has(box.value); // the same entry on another board
  tell();
});
document.addEventListener("htmx:load", () => {
  for (const box of boxes()) box.checked = ticked.has(box.value);
  tell();
});
