// The viewer of one X-ray and its heatmaps. All it needs comes with `data` (made by viewer.py) and is drawn here, so
// that no control waits for the server. Names of classes and models are only ever set as text, never as markup.

// What belongs to an image, and what to the person who looks: the latter goes along to the next image and viewer.
const START = { zoom: 1, x: 0.5, y: 0.5, swipe: 1, invert: false, line: null };
const HABITS = { show: null, opacity: 0.5, colours: null, drag: "auto" };
const habits = { ...HABITS };
const MOST_ZOOM = 16;
const DRAG = 400; // px of dragging for the whole range of the values
const GRIP = 12; // px to either side of the swipe's line where it can be caught; twice that for a finger
const HOTTEST = 0.1; // the share of the image inside the contour
const CONTOUR = [255, 176, 0];
const ALONE = "-1"; // the choice of no second heatmap
const OWN = "-1"; // the choice of no window of the file's

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".viewer");
  root.viewer ??= new Viewer(root);
  root.viewer.receive(data, setStateValue);
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.controls = Object.fromEntries([...root.querySelectorAll("[name]")].map((one) => [one.name, one]));
    this.panes = [...root.querySelectorAll("figure")].map((figure) => new Pane(figure));
    this.state = { ...START, ...HABITS, first: "0", second: ALONE, enhanced: false, measuring: false };
    this.pointers = new Map();
    root.addEventListener("input", (event) => this.changed(event.target));
    for (const control of [this.controls.opacity, this.controls.colours]) control.onchange = () => this.drawn();
    this.controls.reset.onclick = () => {
      Object.assign(habits, HABITS);
      this.set({ ...START, ...this.window(this.data.preset), ...this.shownAs() });
      this.drawn();
    };
    this.controls.heat.onclick = () => this.turnHeat();
    this.controls.enhance.onclick = () => this.enhance();
    this.controls.measure.onclick = () => this.set({ measuring: !this.state.measuring, line: null });
    this.controls.tune.onclick = () => {
      const settings = root.querySelector(".settings");
      settings.hidden = !settings.hidden;
      this.controls.tune.setAttribute("aria-expanded", String(!settings.hidden));
      if (!settings.hidden) settings.scrollIntoView({ block: "nearest" });
    };
    this.controls.large.onclick = () => this.enlarge();
    this.controls.large.hidden = !document.fullscreenEnabled;
    this.controls.save.onclick = () => this.save();
    for (const pane of this.panes) this.listen(pane.canvas);
    new ResizeObserver(() => this.redraw()).observe(root);
    this.listenToPage();
  }

  // ---- data

  async receive(data, tell) {
    this.tell = tell;
    const before = this.data;
    const fresh = ["pixels", "measured", "preset"].some((part) => before?.[part] !== data[part]);
    if (!fresh && JSON.stringify({ ...before, pixels: "" }) === JSON.stringify({ ...data, pixels: "" })) return;
    this.data = data;
    const maps = await Promise.all(data.maps.map((map) => inflated(map.heat)));
    const stored = await inflated(data.pixels);
    const pixels = summed(data.bytes === 1 ? stored : new Uint16Array(stored.buffer), data.width);
    const measured = new Float64Array((await inflated(data.measured)).buffer);
    const greys = await Promise.all(data.presets.map((preset) => preset.greys && inflated(preset.greys)));
    const enhanced = data.enhanced && summed(await inflated(data.enhanced), data.width);
    if (this.data !== data) return; // other data came meanwhile
    const chosen = (index) => before?.maps[index] && data.maps.findIndex((map) => sameMap(map, before.maps[index]));
    const kept = (index) => (chosen(index) >= 0 ? String(chosen(index)) : null);
    this.image = new Xray(pixels, data, maps, measured, greys, enhanced);
    this.root.querySelector(".headline").textContent = data.headline;
    this.palettes = Object.fromEntries(Object.entries(data.palettes).map(([name, text]) => [name, bytes(text)]));
    this.fill(this.controls.first, data.maps.map(mapName));
    this.fill(this.controls.second, data.maps.map(mapName), "nothing");
    this.fill(this.controls.colours, Object.keys(data.palettes));
    this.fill(this.controls.preset, data.presets.map((preset) => preset.name), "as set here");
    this.limit(data.presets);
    this.root.style.setProperty("--ratio", data.width / data.height);
    const settings = {
      first: kept(this.state.first) ?? String(data.first),
      second: data.second !== null && before?.second !== data.second ? String(data.second) : kept(this.state.second) ?? ALONE,
    };
    settings.enhanced = Boolean(enhanced);
    this.set(fresh ? { ...START, ...this.window(data.preset), ...this.shownAs(), ...settings } : settings);
    this.say("");
    this.root.classList.add("ready");
  }

  // One of the file's windows as settings.
  window(preset) {
    const { center, width, function: shape } = this.data.presets[preset];
    return { preset: String(preset), center, width, shape };
  }

  // How far the sliders go: as far as the values and the file's windows.
  limit(presets) {
    const { low, high } = this.image;
    this.span = Math.max(high - low, ...presets.map((preset) => preset.width), Number.MIN_VALUE);
    this.least = Math.min(this.span / 256, ...presets.map((preset) => preset.width));
    const ends = presets.flatMap(({ center, width }) => [center - width / 2, center + width / 2]);
    Object.assign(this.controls.width, { min: this.least, max: this.span });
    [this.controls.center.min, this.controls.center.max] = [Math.min(low, ...ends), Math.max(high, ...ends)];
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
    if (control.name === "preset") this.set(value === OWN ? { preset: OWN } : this.window(value));
    else if (["width", "center"].includes(control.name)) this.set({ preset: OWN, [control.name]: value });
    else this.set({ [control.name]: value });
    if (control.name !== "first") return;
    const map = this.data.maps[+value];
    this.tell("shown", [map.model, map.name]);
  }

  // The page's other pictures follow how heat is drawn, once a slider is let go of.
  drawn() {
    this.tell("drawn", [this.state.opacity, this.state.colours]);
  }

  set(settings) {
    Object.assign(this.state, settings);
    const state = this.state;
    state.zoom = clamp(state.zoom, 1, MOST_ZOOM);
    for (const axis of ["x", "y"]) state[axis] = clamp(state[axis], 0.5 / state.zoom, 1 - 0.5 / state.zoom);
    state.width = clamp(state.width, this.least, this.span);
    state.center = clamp(state.center, +this.controls.center.min, +this.controls.center.max);
    for (const [name, control] of Object.entries(this.controls)) {
      if (!(name in state)) continue;
      if (control.type === "checkbox") control.checked = state[name];
      else control.value = state[name];
    }
    for (const [name, on] of [["heat", state.show !== "off"], ["enhance", state.enhanced], ["measure", state.measuring]])
      this.controls[name].setAttribute("aria-pressed", String(on));
    this.controls.opacity.disabled = state.show !== "colours";
    this.controls.swipe.disabled = state.show === "off";
    for (const name of ["width", "center"]) {
      const told = number(state[name], this.span);
      this.controls[name].parentElement.dataset.told = told;
      this.controls[name].setAttribute("aria-valuetext", `${told} ${this.data.unit}`);
    }
    this.root.classList.toggle("grabbed", state.zoom > 1 || state.drag === "window" || state.measuring);
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
        pane.compose(this.image, +index, state, this.palettes[state.colours]);
        pane.draw(state, this.length());
        const name = mapName(data.maps[+index]);
        const heat = this.image.threshold(+index) ? `what speaks for ${name} (${data.maps[+index].by})` : `nothing here speaks for ${name}`;
        const alone = state.show === "off";
        pane.label = alone ? "The X-ray alone" : `The X-ray, and ${heat}`;
        pane.canvas.setAttribute("aria-label", `${pane.label}. ${data.headline}`);
        pane.caption.textContent = alone ? "" : `Heat: ${this.image.threshold(+index) ? "" : "nothing here speaks for "}${name}`;
      });
      this.drawScale();
    });
  }

  // ---- buttons and their keys

  turnHeat() {
    const show = this.state.show !== "off" ? "off" : this.before ?? "colours";
    if (show === "off") this.before = this.state.show;
    if (this.data.show !== "off") habits.show = show; // of an image that the model does not know, this time alone
    this.set({ show });
  }

  // The page works it out when it is first asked for, and sends it along.
  enhance() {
    this.set({ enhanced: !this.state.enhanced });
    this.tell("enhanced", this.state.enhanced);
  }

  enlarge() {
    if (document.fullscreenElement === this.root || this.root.matches(":fullscreen")) document.exitFullscreen();
    else this.root.requestFullscreen();
  }

  // Keys that work wherever on the page one is, but for where one types.
  listenToPage() {
    const stop = new AbortController();
    const act = {
      h: () => this.turnHeat(), e: () => this.enhance(), m: () => this.controls.measure.click(), f: () => this.enlarge(),
      i: () => this.set({ invert: !this.state.invert }),
    };
    document.addEventListener("keydown", (event) => {
      if (!this.root.isConnected) return stop.abort();
      if (event.ctrlKey || event.metaKey || event.altKey || !this.image) return;
      if (event.composedPath()[0]?.closest?.("input:not([type=range], [type=checkbox]), textarea, select, [role=combobox], [role=textbox], [contenteditable=true]")) return;
      const preset = this.data.presets[event.key - 1];
      if (/^[1-9]$/.test(event.key) && preset) this.set(this.window(event.key - 1));
      else act[event.key.toLowerCase()]?.();
    }, { signal: stop.signal });
  }

  // How long the ruler's line is, in words.
  length() {
    if (!this.state.line) return "";
    const [x0, y0, x1, y1] = this.state.line;
    const { spacing, at_detector: detector, full_width: width, full_height: height } = this.data;
    const [down, across] = spacing ?? [1, 1];
    const long = Math.hypot((x1 - x0) * width * across, (y1 - y0) * height * down);
    return spacing ? `${long.toFixed(1)} mm${detector ? " at the detector" : ""}` : `${Math.round(long)} px`;
  }

  // The arrow keys, with the ruler out: they move its end, and with Shift its beginning.
  moveLine(right, down, begin) {
    const line = [...(this.state.line ?? [0.5, 0.5, 0.5, 0.5])];
    const at = begin ? 0 : 2;
    line[at] = clamp(line[at] + 0.01 * right, 0, 1);
    line[at + 1] = clamp(line[at + 1] + 0.01 * down, 0, 1);
    this.set({ line });
    this.say(this.length());
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
    canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button sets the window
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const does = this.doing(canvas, event);
      this.pointers.set(event.pointerId, { place: [event.clientX, event.clientY], does });
      if (does === "measure") this.set({ line: [...this.placeOf(canvas, event), ...this.placeOf(canvas, event)] });
      this.read(canvas, event);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.read(canvas, event);
      if (this.pointers.has(event.pointerId)) this.drag(canvas, event);
      else canvas.style.cursor = this.onLine(canvas, event) ? "ew-resize" : "";
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
      const { zoom, measuring } = this.state;
      const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      const act = {
        "+": { zoom: zoom * 1.25 }, "-": { zoom: zoom / 1.25 }, 0: { zoom: 1, ...this.window(this.data.preset) },
      }[event.key];
      if (event.ctrlKey || event.metaKey || !(act || ((right || down) && (event.shiftKey || zoom > 1 || measuring)))) return;
      event.preventDefault();
      if (act) this.set(act);
      else if (measuring) this.moveLine(right, down, event.shiftKey);
      else if (event.shiftKey) this.dragWindow(10 * right, 10 * down);
      else this.dragImage(-0.1 * right, -0.1 * down);
    });
  }

  // What a pointer that goes down here will do when it is dragged: a finger leaves the page to be scrolled.
  doing(canvas, event) {
    const { drag, zoom } = this.state;
    if (event.button === 2) return "window";
    if (this.state.measuring) return "measure";
    if (this.onLine(canvas, event)) return "swipe";
    if (drag !== "auto") return drag;
    if (zoom > 1) return "move";
    return event.pointerType === "touch" ? "nothing" : "window";
  }

  onLine(canvas, { clientX, pointerType }) {
    if (!this.image || this.state.show === "off") return false;
    const box = canvas.getBoundingClientRect();
    return Math.abs(clientX - box.left - lineAt(this.state, box.width)) <= (pointerType === "touch" ? 2 : 1) * GRIP;
  }

  drag(canvas, event) {
    const pointer = this.pointers.get(event.pointerId);
    const [before, now] = [pointer.place, [event.clientX, event.clientY]];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    pointer.place = now;
    const { clientWidth, clientHeight } = canvas;
    if (others.length) {
      const apart = (point) => Math.hypot(point[0] - others[0][1].place[0], point[1] - others[0][1].place[1]);
      this.set({ zoom: (this.state.zoom * apart(now)) / Math.max(apart(before), 1) });
    } else if (pointer.does === "measure") {
      this.set({ line: [...this.state.line.slice(0, 2), ...this.placeOf(canvas, event).map((at) => clamp(at, 0, 1))] });
    } else if (pointer.does === "swipe") {
      this.set({ swipe: clamp(this.placeOf(canvas, event)[0], 0, 1) });
    } else if (pointer.does === "window") {
      this.dragWindow(dx, dy);
    } else if (pointer.does === "move") {
      this.dragImage(dx / clientWidth, dy / clientHeight);
    }
  }

  dragWindow(dx, dy) {
    const { width, center } = this.state;
    this.set({ preset: OWN, width: width + (dx * this.span) / DRAG, center: center + (dy * this.span) / DRAG });
  }

  dragImage(dx, dy) {
    const { x, y, zoom } = this.state;
    this.set({ x: x - dx / zoom, y: y - dy / zoom });
  }

  // Where in the image, as shares of its width and height, a pointer is.
  placeOf(canvas, event) {
    const box = canvas.getBoundingClientRect();
    return [
      this.state.x + ((event.clientX - box.left) / box.width - 0.5) / this.state.zoom,
      this.state.y + ((event.clientY - box.top) / box.height - 0.5) / this.state.zoom,
    ];
  }

  // The raw numbers under the pointer: the place in the file's own pixels, what that one pixel holds, and the heat of
  // what is shown.
  read(canvas, event) {
    if (!this.image) return;
    const [x, y] = this.placeOf(canvas, event);
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return this.say("");
    const { column, row, value, heats } = this.image.at(x, y);
    const shown = [this.state.first, this.state.second].filter((index) => +index >= 0);
    const told = shown.map((index) => `${heats(+index).toFixed(2)} (${mapName(this.data.maps[+index])})`).join(", ");
    this.say(`x ${column}, y ${row}: ${+value.toPrecision(7)} ${this.data.unit}, heat ${told}`);
  }

  say(text) {
    this.controls.readout.textContent = text;
    this.controls.readout.title = this.data.every > 1 ? `One pixel in ${this.data.every} is shown, across and down.` : "";
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
      context.fillText(pane.label, n * width + size / 2, height + 1.5 * size, width - size);
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

  // The picture anew, if anything that it is made of has changed.
  compose(image, index, state, palette) {
    const { x, y, zoom, drag, first, second, line, measuring, ...parts } = state;
    const made = JSON.stringify([index, parts]);
    if (this.image === image && this.made === made) return;
    Object.assign(this, { image, made });
    image.compose(this.picture, index, state, palette);
  }

  draw({ x, y, zoom, swipe, show, line }, length) {
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
    if (show !== "off") this.drawLine(context, lineAt({ x, zoom, swipe }, width), height, ratio);
    if (line) this.drawRuler(context, line.map((at, n) => (n % 2 ? top + at * height * zoom : left + at * width * zoom)), length, ratio);
  }

  drawRuler(context, [x0, y0, x1, y1], length, ratio) {
    context.save();
    Object.assign(context, { font: `${14 * ratio}px sans-serif`, lineCap: "round", lineJoin: "round" });
    for (const [colour, wide] of [["black", 4], ["yellow", 2]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: wide * ratio });
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
    const { width } = context.measureText(length);
    const [x, y] = [clamp(x1 + 8 * ratio, 0, context.canvas.width - width), clamp(y1, 16 * ratio, context.canvas.height)];
    Object.assign(context, { strokeStyle: "black", lineWidth: 4 * ratio, fillStyle: "yellow" });
    context.strokeText(length, x, y);
    context.fillText(length, x, y);
    context.restore();
  }

  // Up to where the heatmap reaches, with a grip to see that it can be dragged.
  drawLine(context, at, height, ratio) {
    const [middle, radius] = [height / 2, 9 * ratio];
    context.save();
    Object.assign(context, { fillStyle: "white", strokeStyle: "#333", lineWidth: ratio });
    context.fillRect(at - ratio, 0, 2 * ratio, height);
    context.strokeRect(at - 1.5 * ratio, -ratio, 3 * ratio, height + 2 * ratio);
    context.beginPath();
    context.arc(at, middle, radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    context.beginPath();
    for (const side of [-1, 1]) {
      context.moveTo(at + side * 0.25 * radius, middle - 0.4 * radius);
      context.lineTo(at + side * 0.65 * radius, middle);
      context.lineTo(at + side * 0.25 * radius, middle + 0.4 * radius);
    }
    context.stroke();
    context.restore();
  }
}

// The numbers: for each pixel a step, for each step what it measures, and for each map 8-bit heat on a coarser grid
// that is enlarged when it is first asked for.
class Xray {
  constructor(pixels, data, maps, measured, greys, enhanced) {
    const { width, height, heat_width: heatWidth, heat_height: heatHeight } = data;
    Object.assign(this, { data, pixels, width, height, heatWidth, heatHeight, maps, measured, greys, enhanced });
    this.enlarged = new Map();
    this.low = measured.reduce((low, value) => Math.min(low, value));
    this.high = measured.reduce((high, value) => Math.max(high, value));
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

  // The original pixel that is shown at a place, and a function that tells the heat of a map there.
  at(x, y) {
    const [across, down] = [Math.floor(x * this.width), Math.floor(y * this.height)];
    const { every, full_width: fullWidth, full_height: fullHeight } = this.data;
    const original = (place, size) => Math.min(place * every + Math.floor(every / 2), size - 1);
    const place = down * this.width + across;
    const heats = (index) => this.heat(index)[place] / 255;
    return { column: original(across, fullWidth), row: original(down, fullHeight), value: this.measured[this.pixels[place]], heats };
  }

  // The grey of each step, 0..255. A window's formulas are DICOM's (PS3.3, C.11.2.1.2 and C.11.2.1.3).
  look({ preset, center, width, shape, invert }) {
    const table = preset === OWN ? null : this.greys[preset];
    const half = shape === "LINEAR" && width > 1 ? 0.5 : 0;
    const turned = invert !== this.data.inverted;
    return Uint8Array.from(this.measured, (value, step) => {
      let grey = (value - center + half) / (width - 2 * half || Number.MIN_VALUE) + 0.5;
      if (shape === "SIGMOID") grey = 0.5 + 0.5 * Math.tanh((2 * (value - center)) / width);
      const shown = (table ? table[step] : 255 * clamp(grey, 0, 1)) + 0.5;
      return turned ? 256 - shown : shown;
    });
  }

  // The grey of each pixel: through the window, or with its local contrast enhanced, whatever the window.
  shades(state) {
    if (state.enhanced && this.enhanced) return state.invert ? this.enhanced.map((grey) => 255 - grey) : this.enhanced;
    const greys = this.look(state);
    const shades = new Uint8Array(this.pixels.length);
    for (let i = 0; i < shades.length; i++) shades[i] = greys[this.pixels[i]];
    return shades;
  }

  // The colour covers a pixel by opacity times the heat there, as in figures.overlay.
  compose(canvas, index, state, palette) {
    const { width, height } = this;
    const { show, opacity, swipe } = state;
    Object.assign(canvas, { width, height });
    const shades = this.shades(state);
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const out = new Uint32Array(picture.data.buffer);
    const plain = Uint32Array.from({ length: 256 }, (_, grey) => 0xff000000 | (grey * 0x010101));
    for (let i = 0; i < out.length; i++) out[i] = plain[shades[i]];
    const edge = show === "off" ? 0 : Math.round(swipe * width);
    if (show === "colours" && edge) this.colour(out, shades, this.heat(index), edge, blends(opacity, palette));
    if (show === "contour" && edge) {
      const [r, g, b] = CONTOUR;
      const colour = 0xff000000 | (b << 16) | (g << 8) | r;
      for (const at of this.outline(index)) if (at % width < edge) out[at] = colour;
    }
    context.putImageData(picture, 0, 0);
  }

  colour(out, shades, heat, edge, blend) {
    for (let y = 0; y < this.height; y++) {
      for (let at = y * this.width, end = at + edge; at < end; at++) {
        if (heat[at]) out[at] = blend[(heat[at] << 8) | shades[at]];
      }
    }
  }

  // The places of the pixels on the edge of the hottest tenth.
  outline(index) {
    const heat = this.heat(index);
    if (heat.edge) return heat.edge;
    const threshold = this.threshold(index);
    const reach = Math.ceil(this.width / 400);
    heat.edge = [];
    for (let y = reach; threshold && y < this.height - reach; y++) {
      for (let x = reach; x < this.width - reach; x++) {
        const at = y * this.width + x;
        if (heat[at] < threshold) continue;
        const around = [at - reach, at + reach, at - reach * this.width, at + reach * this.width];
        if (around.some((place) => heat[place] < threshold)) heat.edge.push(at);
      }
    }
    return heat.edge;
  }
}

// The colour of each heat over each grey, by 256 times the heat plus the grey.
function blends(opacity, palette) {
  const blend = new Uint8ClampedArray(4 * 65536).fill(255);
  for (let heat = 0, at = 0; heat < 256; heat++) {
    const cover = (opacity * heat) / 255;
    for (let grey = 0; grey < 256; grey++, at += 4) {
      for (let c = 0; c < 3; c++) blend[at + c] = (1 - cover) * grey + cover * palette[3 * heat + c];
    }
  }
  return new Uint32Array(blend.buffer);
}

// A number as short as a range lets it be told.
const number = (value, span) => value.toFixed(clamp(Math.ceil(2 - Math.log10(span)), 0, 6));
// Where in a canvas of some width the swipe's line is.
const lineAt = ({ x, zoom, swipe }, width) => (0.5 + (swipe - x) * zoom) * width;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sameMap = (one, other) => one.model === other.model && one.name === other.name;
const mapName = (map) => (map.several ? `${map.name}, ${map.model}` : map.name);

// A loop: Uint8Array.from takes a second for an X-ray.
function bytes(text) {
  const characters = atob(text);
  const found = new Uint8Array(characters.length);
  for (let i = 0; i < found.length; i++) found[i] = characters.charCodeAt(i);
  return found;
}

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

// Rows that came as what each differs from the one above.
function summed(rows, width) {
  for (let i = width; i < rows.length; i++) rows[i] += rows[i - width];
  return rows;
}
