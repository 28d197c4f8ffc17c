// Sets the colour theme before anything is painted, and remembers the reader's choice.
(() => {
  const KEY = "trilemma-theme";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem(KEY); } catch { /* storage is off: follow the system */ }

  const current = () => chosen ?? (system.matches ? "dark" : "light");
  const apply = () => {
    root.dataset.theme = current();
    root.classList.add("has-script");
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  apply();
  system.addEventListener("change", apply);

  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        chosen = current() === "dark" ? "light" : "dark";
        try { localStorage.setItem(KEY, chosen); } catch { /* lasts for this page only */ }
        apply();
      });
    }
  });
})();
