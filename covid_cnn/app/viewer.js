// The viewer of one X-ray and its heatmaps. All it needs comes with `data` (made by viewer.py) and is drawn here, so
// that no control waits for the server. Names of classes and models are only ever set as text, never as markup.

// What belongs to an image, and what to the person who looks: the latter goes along to the next image and viewer.
const START = { width: 1, level: 0.5, zoom: 1, x: 0.5, y: 0.5, swipe: 1, invert: false };
const HABITS = { show: null, opacity: 0.5, colours: null, drag: "move" };
const habits = { ...HABITS };
const MOST_ZOOM = 8;
const HOTTEST = 0.1; // the share of the image inside the contour
const CONTOUR = [255, 176, 0];
const ALONE = "-1"; // the choice of no second heatmap

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".viewer");
  root.viewer ??= new Viewer(root);
  root.viewer.receive(data, (map) => setStateValue("shown", [map.model, map.name]));
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.controls = Object.fromEntries([...root.querySelectorAll("[name]")].map((one) => [one.name, one]));
    this.panes = [...root.querySelectorAll("figure")].map((figure) => new Pane(figure));
    this.state = { ...START, ...HABITS, first: "0", second: ALONE };
    this.pointers = new Map();
    root.querySelector("details").open = matchMedia("(min-width: 800px)").matches;
    root.addEventListener("input", (event) => this.changed(event.target));
    this.controls.reset.onclick = () => {
      Object.assign(habits, HABITS);
      this.set({ ...START, ...this.shownAs() });
    };
    this.controls.large.onclick = () =>
      document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen();
    this.controls.large.hidden = !document.fullscreenEnabled;
    this.controls.save.onclick = () => this.save();
    for (const pane of this.panes) this.listen(pane.canvas);
    new ResizeObserver(() => this.redraw()).observe(root);
  }

  // ---- data

  async receive(data, tell) {
    this.tell = tell;
    const before = this.data;
    if (before && JSON.stringify(before) === JSON.stringify(data)) return;
    this.data = data;
    const maps = await Promise.all(data.maps.map((map) => inflated(map.heat)));
    const pixels = new Uint16Array((await inflated(data.pixels)).buffer);
    if (this.data !== data) return; // other data came meanwhile
    const chosen = (index) => before?.maps[index] && data.maps.findIndex((map) => sameMap(map, before.maps[index]));
    const kept = (index) => (chosen(index) >= 0 ? String(chosen(index)) : null);
    this.image = new Xray(pixels, data, maps);
    this.palettes = Object.fromEntries(Object.entries(data.palettes).map(([name, text]) => [name, bytes(text)]));
    this.fill(this.controls.first, data.maps.map(mapName));
    this.fill(this.controls.second, data.maps.map(mapName), "nothing");
    this.fill(this.controls.colours, Object.keys(data.palettes));
    this.root.style.setProperty("--ratio", data.width / data.height);
    const settings = {
      first: kept(this.state.first) ?? String(data.first),
      second: data.second !== null && before?.second !== data.second ? String(data.second) : kept(this.state.second) ?? ALONE,
    };
    const fresh = before?.pixels !== data.pixels;
    this.set(fresh ? { ...START, ...this.shownAs(), ...settings } : settings);
    this.say("");
  }

  // How heat is shown: as the person likes it. Of an image that the model does not know it begins hidden, whatever
  // they chose before.
  shownAs() {
    const show = this.data.show === "off" ? "off" : habits.show ?? this.data.show;
    return { ...habits, show, colours: habits.colours ?? Object.keys(this.palettes)[0] };
  }

  fill(select, names, none) {
    const options = names.map((name, index) => new Option(name, select === this.controls.colours ? name : index));
    select.replaceChildren(...(none ? [new Option(none, ALONE)] : []), ...options);
  }

  // ---- settings

  changed(control) {
    const value = control.type === "checkbox" ? control.checked : control.type === "range" ? +control.value : control.value;
    if (control.name in habits) habits[control.name] = value;
    this.set({ [control.name]: value });
    if (control.name === "first") this.tell(this.data.maps[+value]);
  }

  set(settings) {
    Object.assign(this.state, settings);
    const state = this.state;
    state.zoom = clamp(state.zoom, 1, MOST_ZOOM);
    for (const axis of ["x", "y"]) state[axis] = clamp(state[axis], 0.5 / state.zoom, 1 - 0.5 / state.zoom);
    state.width = clamp(state.width, 0.02, 1);
    state.level = clamp(state.level, 0, 1);
    for (const [name, control] of Object.entries(this.controls)) {
      if (!(name in state)) continue;
      if (control.type === "checkbox") control.checked = state[name];
      else control.value = state[name];
    }
    this.controls.opacity.disabled = state.show !== "colours";
    this.controls.swipe.disabled = state.show === "off";
    this.root.classList.toggle("grabbed", state.zoom > 1 || state.drag === "window");
    this.redraw();
  }

  redraw() {
    if (this.pending || !this.image) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      const { state, data } = this;
      [state.first, state.second].forEach((index, n) => {
        const pane = this.panes[n];
        pane.figure.hidden = +index < 0;
        if (pane.figure.hidden) return;
        this.image.compose(pane.picture, +index, state, this.palettes[state.colours]);
        pane.draw(state);
        const name = mapName(data.maps[+index]);
        const heat = this.image.threshold(+index) ? `what speaks for ${name} (Grad-CAM)` : `nothing here speaks for ${name}`;
        const text = state.show === "off" ? "The X-ray alone" : `The X-ray, and ${heat}`;
        pane.caption.textContent = text;
        pane.canvas.setAttribute("aria-label", text);
      });
      this.drawScale();
    });
  }

  drawScale() {
    const canvas = this.root.querySelector(".scale canvas");
    canvas.parentElement.hidden = this.state.show !== "colours";
    const context = canvas.getContext("2d");
    const strip = context.createImageData(256, 1);
    const palette = this.palettes[this.state.colours];
    for (let i = 0; i < 256; i++) strip.data.set([...palette.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    context.putImageData(strip, 0, 0);
  }

  // ---- pointer and keys

  listen(canvas) {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.read(canvas, event);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.read(canvas, event);
      if (this.pointers.has(event.pointerId)) this.drag(canvas, event);
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.say(""));
    canvas.addEventListener("dblclick", () => this.set({ zoom: this.state.zoom > 1 ? 1 : 3 }));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // without Ctrl the wheel is the page's
      event.preventDefault();
      this.set({ zoom: this.state.zoom * Math.exp(-event.deltaY / 300) });
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = 0.1 / this.state.zoom;
      const { x, y, zoom } = this.state;
      const act = {
        ArrowLeft: { x: x - step }, ArrowRight: { x: x + step }, ArrowUp: { y: y - step }, ArrowDown: { y: y + step },
        "+": { zoom: zoom * 1.25 }, "-": { zoom: zoom / 1.25 }, 0: { zoom: 1, width: 1, level: 0.5 },
      }[event.key];
      if (!act || (event.key.startsWith("Arrow") && zoom === 1) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.set(act);
    });
  }

  drag(canvas, event) {
    const before = this.pointers.get(event.pointerId);
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    const { state } = this;
    if (others.length) {
      const apart = (point) => Math.hypot(point[0] - others[0][1][0], point[1] - others[0][1][1]);
      this.set({ zoom: (state.zoom * apart(now)) / Math.max(apart(before), 1) });
    } else if (state.drag === "window") {
      this.set({ width: state.width + dx / 400, level: state.level + dy / 400 });
    } else {
      const { clientWidth, clientHeight } = canvas;
      this.set({ x: state.x - dx / clientWidth / state.zoom, y: state.y - dy / clientHeight / state.zoom });
    }
  }

  // The raw numbers under the pointer: the place in the file's own pixels, the grey, and the heat of what is shown.
  read(canvas, event) {
    if (!this.image) return;
    const box = canvas.getBoundingClientRect();
    const x = this.state.x + ((event.clientX - box.left) / box.width - 0.5) / this.state.zoom;
    const y = this.state.y + ((event.clientY - box.top) / box.height - 0.5) / this.state.zoom;
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return this.say("");
    const { grey, heats } = this.image.at(x, y);
    const place = `x ${Math.floor(x * this.data.full_width)}, y ${Math.floor(y * this.data.full_height)}`;
    const shown = [this.state.first, this.state.second].filter((index) => +index >= 0);
    const told = shown.map((index) => `${heats[+index].toFixed(2)} (${mapName(this.data.maps[+index])})`).join(", ");
    this.say(`${place}: grey ${grey.toFixed(3)}, heat ${told}`);
  }

  say(text) {
    this.controls.readout.textContent = text || "Point at the image to read its numbers.";
  }

  // What is shown, whole and unmagnified, over a line that says what it is.
  save() {
    const shown = this.panes.filter((pane) => !pane.figure.hidden);
    const { width, height } = this.data;
    const size = Math.max(14, Math.round(width / 40));
    const canvas = new OffscreenCanvas(width * shown.length, height + 4 * size);
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = "white";
    context.font = `${size}px sans-serif`;
    shown.forEach((pane, n) => {
      context.drawImage(pane.picture, n * width, 0);
      context.fillText(pane.caption.textContent, n * width + size / 2, height + 1.5 * size, width - size);
    });
    context.fillText(this.data.notice, size / 2, height + 3.2 * size, canvas.width - size);
    canvas.convertToBlob().then((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "overlay.png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    });
  }
}

// One of the two places for a picture.
class Pane {
  constructor(figure) {
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.caption = figure.querySelector("figcaption");
    this.picture = new OffscreenCanvas(1, 1);
  }

  draw({ x, y, zoom, swipe, show }) {
    const { canvas, picture } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (!width || !height) return;
    const context = canvas.getContext("2d");
    const [left, top] = [width / 2 - x * width * zoom, height / 2 - y * height * zoom];
    context.imageSmoothingEnabled = zoom * width < 3 * picture.width;
    context.imageSmoothingQuality = "high";
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, left, top, width * zoom, height * zoom);
    if (show === "off" || swipe >= 1) return;
    context.fillStyle = "white";
    context.fillRect(left + swipe * width * zoom - ratio, 0, 2 * ratio, height);
    context.fillStyle = "black";
  }
}

// The numbers: 16-bit greys, and for each map 8-bit heat on a coarser grid that is enlarged when it is first asked for.
class Xray {
  constructor(pixels, { width, height, heat_width, heat_height }, maps) {
    Object.assign(this, { pixels, width, height, heatWidth: heat_width, heatHeight: heat_height, maps });
    this.enlarged = new Map();
  }

  heat(index) {
    if (!this.enlarged.has(index)) this.enlarged.set(index, this.enlarge(this.maps[index]));
    return this.enlarged.get(index);
  }

  // Linear interpolation between the centres of the cells.
  enlarge(map) {
    const { width, height, heatWidth: w, heatHeight: h } = this;
    const heat = new Uint8Array(width * height);
    const across = Array.from({ length: width }, (_, x) => between(((x + 0.5) * w) / width - 0.5, w));
    for (let y = 0, at = 0; y < height; y++) {
      const [upper, lower, down] = between(((y + 0.5) * h) / height - 0.5, h);
      for (let x = 0; x < width; x++, at++) {
        const [left, right, part] = across[x];
        const above = map[upper * w + left] * (1 - part) + map[upper * w + right] * part;
        const below = map[lower * w + left] * (1 - part) + map[lower * w + right] * part;
        heat[at] = above * (1 - down) + below * down + 0.5;
      }
    }
    return heat;
  }

  // The heat from which on a pixel is among the hottest tenth; 0 where there is no heat at all.
  threshold(index) {
    const heat = this.heat(index);
    heat.counts ??= heat.reduce((counts, value) => (counts[value]++, counts), new Uint32Array(256));
    let level = heat.counts.findLastIndex((count) => count > 0);
    for (let count = heat.counts[level]; level > 1 && count + heat.counts[level - 1] <= HOTTEST * heat.length; )
      count += heat.counts[--level];
    return level;
  }

  at(x, y) {
    const place = Math.floor(y * this.height) * this.width + Math.floor(x * this.width);
    return { grey: this.pixels[place] / 65535, heats: this.maps.map((_, index) => this.heat(index)[place] / 255) };
  }

  // The colour covers a pixel by opacity times the heat there, as in figures.overlay.
  compose(canvas, index, { show, opacity, swipe, width: window, level, invert }, palette) {
    const { width, height, pixels } = this;
    Object.assign(canvas, { width, height });
    const grey = new Uint8Array(4096);
    for (let i = 0; i < 4096; i++) {
      const value = clamp((i / 4095 - level) / window + 0.5, 0, 1);
      grey[i] = 255 * (invert ? 1 - value : value) + 0.5;
    }
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const out = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < out.length; i++) out[i] = 0xff000000 | (grey[pixels[i] >> 4] * 0x010101);
    const edge = show === "off" ? 0 : Math.round(swipe * width);
    if (show === "colours") this.colour(picture.data, this.heat(index), edge, opacity, palette);
    if (show === "contour") this.outline(picture.data, this.heat(index), edge, this.threshold(index));
    context.putImageData(picture, 0, 0);
  }

  colour(out, heat, edge, opacity, palette) {
    for (let y = 0; y < this.height; y++) {
      for (let at = y * this.width, end = at + edge; at < end; at++) {
        const cover = (opacity * heat[at]) / 255;
        if (cover === 0) continue;
        for (let c = 0; c < 3; c++) out[4 * at + c] = (1 - cover) * out[4 * at + c] + cover * palette[3 * heat[at] + c];
      }
    }
  }

  outline(out, heat, edge, threshold) {
    if (!threshold) return;
    const reach = Math.ceil(this.width / 400);
    for (let y = reach; y < this.height - reach; y++) {
      for (let x = reach; x < Math.min(edge, this.width - reach); x++) {
        const at = y * this.width + x;
        if (heat[at] < threshold) continue;
        const around = [at - reach, at + reach, at - reach * this.width, at + reach * this.width];
        if (around.some((place) => heat[place] < threshold)) out.set(CONTOUR, 4 * at);
      }
    }
  }
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sameMap = (one, other) => one.model === other.model && one.name === other.name;
const mapName = (map) => (map.several ? `${map.name}, ${map.model}` : map.name);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// The two cells around a place on a line of `count` cells, and how far the place is towards the second.
function between(place, count) {
  const inside = clamp(place, 0, count - 1);
  const first = Math.floor(inside);
  return [first, Math.min(first + 1, count - 1), inside - first];
}

async function inflated(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
