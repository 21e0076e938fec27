// Stage mode is a class on the root element, with full screen where the browser grants it. Escape leaves both.
const root = document.documentElement;
const typed = "input, textarea, select, [contenteditable=true], [role=textbox]";

export default function ({ parentElement }) {
  const button = parentElement.querySelector(".stage-button");
  button.onclick = toggle;
  tell(button);
  const stop = new AbortController();
  const { signal } = stop;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.composedPath()[0]?.closest?.(typed)) return;
    if (event.key === "p" || event.key === "P") toggle();
    if (event.key === "Escape" && (document.fullscreenElement ?? root) === root) leave();
  }, { signal });
  document.addEventListener("fullscreenchange", () => document.fullscreenElement || leave(), { signal });
  document.addEventListener("stagechange", () => tell(button), { signal });
  return () => stop.abort();
}

function toggle() {
  if (root.classList.contains("stage")) return leave();
  root.classList.add("stage");
  document.dispatchEvent(new Event("stagechange"));
  root.requestFullscreen?.().catch(() => {}); // not granted: large type without it
}

function leave() {
  root.classList.remove("stage");
  document.dispatchEvent(new Event("stagechange"));
  if (document.fullscreenElement === root) document.exitFullscreen();
}

function tell(button) {
  button.setAttribute("aria-pressed", String(root.classList.contains("stage")));
}
