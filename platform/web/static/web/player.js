// Plays a film that the page shows as a table: one frame at a time, larger, with what is said of it.
const FRAME_MS = 200;
const reduced = window.matchMedia("(prefers-reduced-motion: reduce)");

class Player {
  constructor(element) {
    this.element = element;
    this.slider = element.querySelector("[data-frame]");
    this.button = element.querySelector("[data-play]");
    const table = element.parentElement.querySelector("[data-film]");
    this.heads = [...table.tHead.rows[0].cells].slice(1);
    this.rows = [...table.tBodies[0].rows];
    this.stage = this.rows.map((row) => this.figure(row));
    element.querySelector("[data-stage]").append(...this.stage.map((each) => each.figure));
    this.slider.addEventListener("input", () => { this.pause(); this.show(); });
    this.button.addEventListener("click", () => (this.timer ? this.pause() : this.play()));
    element.addEventListener("keydown", (event) => this.key(event));
    element.hidden = false;
    this.show();
    if (!reduced.matches && !document.hidden) this.play();
  }

  figure(row) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const note = document.createElement("span");
    const picture = row.cells[1].querySelector("svg").cloneNode(true);
    picture.setAttribute("class", "player-image");
    note.className = "muted";
    caption.append(row.cells[0].textContent, " ", note);
    figure.append(picture, caption);
    return { figure, picture, note };
  }

  get at() { return Number(this.slider.value) - 1; }

  get last() { return this.heads.length - 1; }

  show() {
    this.rows.forEach((row, index) => {
      const cell = row.cells[this.at + 1];
      const shown = cell.querySelector("svg");
      const { picture, note } = this.stage[index];
      picture.setAttribute("viewBox", shown.getAttribute("viewBox"));
      picture.setAttribute("aria-label", shown.getAttribute("aria-label"));
      note.textContent = [...cell.querySelectorAll(".film-line")].map((each) => each.textContent).join(" · ");
    });
    const said = this.heads[this.at].dataset.lines;
    this.element.querySelector("[data-said]").textContent = said;
    this.element.querySelector("[data-place]").textContent = `${this.at + 1} of ${this.last + 1}`;
    this.slider.setAttribute("aria-valuetext", said);
  }

  go(to) {
    this.slider.value = Math.min(Math.max(to, 0), this.last) + 1;
    this.show();
  }

  play() {
    if (this.at === this.last) this.go(0);
    this.timer = setInterval(() => {
      if (!this.element.isConnected || this.at === this.last) return this.pause();
      if (!document.hidden) this.go(this.at + 1);
    }, FRAME_MS);
    this.button.textContent = "Pause";
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }

  key(event) {
    const to = { ArrowRight: this.at + 1, ArrowUp: this.at + 1, ArrowLeft: this.at - 1, ArrowDown: this.at - 1, Home: 0, End: this.last }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.pause();
    this.go(to);
  }
}

const known = new WeakSet();
function find(root) {
  for (const element of root.querySelectorAll?.("[data-player]") ?? []) {
    if (!known.has(element)) known.add(element), new Player(element);
  }
}

find(document);
document.addEventListener("htmx:load", (event) => find(event.detail.elt));
