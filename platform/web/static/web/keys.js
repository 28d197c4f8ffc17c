// The keyboard: / to the first field that filters, j and k along the rows, ? for this list.
const FIELD = ".content input[type=search], .content input[type=text], .content select";
const ROWS = ".content tbody tr";
const HELP = [["/", "to the first field that filters"], ["j", "to the next row"], ["k", "to the row before"], ["Enter", "opens the row's page"], ["?", "shows or hides these keys"], ["Esc", "leaves a field, hides this"]];

function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]");
}

function toField() {
  const field = [...document.querySelectorAll(FIELD)].find((each) => each.checkVisibility() && !each.disabled);
  field?.focus();
  return Boolean(field);
}

// Rows are walked by what can be opened in them: the focus stays on a real link.
function step(by) {
  const rows = [...document.querySelectorAll(ROWS)].filter((row) => row.checkVisibility() && row.querySelector("a[href]"));
  if (!rows.length) return false;
  const here = rows.indexOf(document.activeElement.closest("tr"));
  const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(here + by, 0), rows.length - 1);
  rows[next].querySelector("a[href]").focus();
  return true;
}

function showKeys() {
  const dialog = document.querySelector(".keys") ?? makeKeys();
  dialog.open ? dialog.close() : dialog.showModal();
  return true;
}

function makeKeys() {
  const dialog = document.createElement("dialog");
  dialog.className = "keys";
  dialog.setAttribute("aria-label", "Keys");
  const list = document.createElement("dl");
  for (const [key, what] of HELP) {
    const term = document.createElement("dt");
    const said = document.createElement("dd");
    term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    said.textContent = what;
    list.append(term, said);
  }
  const close = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.append(list, close);
  document.body.append(dialog);
  return dialog;
}

const DO = { "/": toField, j: () => step(1), k: () => step(-1), "?": showKeys };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape" && isTyping(event.target)) return event.target.blur();
  if (isTyping(event.target)) return;
  if (DO[event.key]?.()) event.preventDefault();
});
