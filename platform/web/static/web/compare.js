// Comparison: a click enlarges a row of samples in every column; the slider moves all trainings.
function zoomRows(grid) {
  grid.addEventListener("click", (event) => {
    const link = event.target.closest(".compare-image");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const row = link.closest("tr");
    const was = row.classList.contains("is-zoomed");
    grid.querySelectorAll("tr.is-zoomed").forEach((other) => other.classList.remove("is-zoomed"));
    row.classList.toggle("is-zoomed", !was);
  });
}

// Without this the form asks the server for the step; with it the pictures follow the handle.
function followSlider(form) {
  const slider = form.querySelector("input[type=range]");
  const films = [...document.querySelectorAll("[data-film]")];
  form.querySelector("button").hidden = true;
  slider.addEventListener("input", () => {
    let furthest = "0";
    for (const film of films) {
      const frame = film.querySelectorAll(".film-frames li")[slider.value - 1];
      const image = film.querySelector("img");
      image.hidden = !frame.dataset.src;
      if (frame.dataset.src) image.src = frame.dataset.src;
      const seen = frame.dataset.seen;
      film.querySelector("[data-film-caption]").textContent =
        seen ? `after ${seen} images` : "nothing was drawn so early";
      if (seen && number(seen) > number(furthest)) furthest = seen;
    }
    form.querySelector(".choices-name").textContent =
      `After ${furthest} images, step ${slider.value} of ${slider.max}`;
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

const number = (text) => Number(text.replaceAll(",", ""));

document.querySelectorAll(".compare-grid").forEach(zoomRows);
document.querySelectorAll("[data-films]").forEach(followSlider);
