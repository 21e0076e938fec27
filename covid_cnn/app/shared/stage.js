// Stage mode is a class on the root element, with full screen where the browser grants it. Escape leaves both.
const root = document.documentElement;
const app = () => document.querySelector("[data-testid=stApp]");
const typed = "input, textarea, select, [contenteditable=true], [role=textbox]";

export default function ({ parentElement }) {
  const button = parentElement.querySelector(".stage-button");
  button.onclick = toggle;
  tell(button);
  follow();
  root.stage?.abort(); // this is called with every run of a page, and one listener is enough
  const stop = (root.stage = new AbortController()), { signal } = stop;
  const observer = new MutationObserver(follow);
  observer.observe(app(), { attributes: true, attributeFilter: ["class"] });
  signal.addEventListener("abort", () => observer.disconnect());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.composedPath()[0]?.closest?.(typed)) return;
    if (event.key === "p" || event.key === "P") toggle();
    if (event.key === "Escape" && (document.fullscreenElement ?? root) === root) leave();
  }, { signal });
  document.addEventListener("fullscreenchange", () => document.fullscreenElement || leave(), { signal });
  document.addEventListener("stagechange", () => tell(button), { signal });
  return () => stop.abort();
}

// Dialogs lie outside the app's element, which alone is light or dark: the whole document follows it, and light-dark().
function follow() {
  root.style.colorScheme = root.dataset.scheme = getComputedStyle(app()).colorScheme;
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
