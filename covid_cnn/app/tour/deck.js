// The tour's slides, all made at once; what `data` holds is made by slides.py. Words are set as text, never as markup.
let at = 0; // the slide that is shown, also after another page

const make = (tag, className, ...parts) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...parts.filter((part) => part !== undefined));
  return element;
};

const button = (words, does, className = "") => {
  const one = make("button", className, words);
  one.type = "button";
  one.onclick = does;
  return one;
};

function figure({ source, alt, words }) {
  const image = make("img");
  Object.assign(image, { src: source, alt });
  return make("figure", "", image, make("figcaption", "", words));
}

function bars(rows) {
  return make("table", rows.length > 4 ? "many" : "", make("tbody", "", ...rows.map(({ name, value, low, high, words }) => {
    const [bar, interval] = [make("span"), make("i")];
    bar.style.width = `${100 * value}%`;
    Object.assign(interval.style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
    const head = make("th", "", name);
    head.scope = "row";
    return make("tr", "", head, make("td", "", make("span", "track", bar, interval)), make("td", "", words));
  })));
}

// First the audience, then the model, then the model with a letter.
function guess({ choices, truth, answers }) {
  const film = figure({ source: answers[0].source, alt: "A chest X-ray", words: "" });
  const panel = make("div", "panel");
  const tell = ({ words, shares }) => panel.append(make("p", "say", words), make("p", "note", shares));
  const stamp = button("Stamp an R in the corner", () => {
    film.querySelector("img").src = answers[1].source;
    film.querySelector("img").alt = "The same chest X-ray with an R";
    stamp.remove();
    tell(answers[1]);
  }, "main");
  const buttons = make("div", "choices", ...choices.map((choice) => button(choice, () => {
    buttons.replaceWith(make("p", "say", `You said: ${choice}. ${truth}`));
    tell(answers[0]);
    panel.append(stamp);
    stamp.focus();
  }, "main")));
  panel.append(buttons);
  return [film, panel];
}

function draw(slide, number, go, end) {
  const picture = make("div", `picture${slide.stacked ? " stacked" : ""}`);
  if (slide.pictures) picture.append(...slide.pictures.map(figure));
  if (slide.bars) picture.append(bars(slide.bars));
  if (slide.number) picture.append(make("p", "number", slide.number));
  if (slide.guess) picture.append(...guess(slide.guess));
  if (slide.points) picture.append(make("ol", "", ...slide.points.map((point) => make("li", "", point))));
  const section = make("section", "slide", make("h2", "", slide.title), make("p", "message", slide.message), picture);
  if (slide.note) section.append(make("p", "note", slide.note));
  if (slide.link) section.append(button(slide.link.words, () => go(slide.link.page), "go"));
  if (slide.points) section.append(button("Try your X-ray", () => go(end), "main go"));
  return section;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const deck = parentElement.querySelector(".deck");
  const [slides, back, next] = [".slides", ".back", ".next"].map((name) => deck.querySelector(name));
  const before = deck.made ?? [];
  deck.made = data.slides.map((slide, n) => {
    const id = JSON.stringify(slide);
    return before[n]?.id === id ? before[n] : { id, drawn: draw(slide, n, (page) => setTriggerValue("page", page), data.end) };
  });
  if (deck.made.length !== before.length || deck.made.some((one, n) => one !== before[n])) {
    slides.replaceChildren(...deck.made.map(({ drawn }) => drawn));
  }
  const show = (wanted) => {
    at = Math.max(0, Math.min(wanted, data.slides.length - 1));
    [...slides.children].forEach((slide, n) => { slide.hidden = n !== at; });
    back.disabled = at === 0;
    next.disabled = at === data.slides.length - 1;
    deck.querySelector(".place").textContent = `${at + 1} of ${data.slides.length}`;
  };
  back.onclick = () => show(at - 1);
  next.onclick = () => show(at + 1);
  show(at);
  deck.stop?.abort(); // this is called with every run of the page
  const stop = (deck.stop = new AbortController());
  // The keys of a keyboard and of a presenter's remote control.
  const keys = {
    ArrowRight: () => at + 1, ArrowLeft: () => at - 1, PageDown: () => at + 1, PageUp: () => at - 1,
    Home: () => 0, End: () => data.slides.length - 1,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.composedPath()[0]?.closest?.("input, textarea, select")) return;
    if (!keys[event.key]) return;
    event.preventDefault();
    show(keys[event.key]());
  }, { signal: stop.signal });
  return () => deck.stop.abort();
}
