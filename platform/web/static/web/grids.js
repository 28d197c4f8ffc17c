// Grids that are shown larger than they are keep hard pixels; smaller ones are smoothed.
function look(image) {
  const shown = image.clientWidth * window.devicePixelRatio;
  image.classList.toggle("is-enlarged", image.naturalWidth > 0 && shown > image.naturalWidth);
}

const lookAll = () => document.querySelectorAll(".grid-image").forEach(look);
// Load events do not bubble; capturing also sees pictures that arrive later.
document.addEventListener("load", (event) => {
  if (event.target.matches?.(".grid-image")) look(event.target);
}, true);
window.addEventListener("resize", lookAll);
lookAll();
