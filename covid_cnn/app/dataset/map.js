// The map of a dataset: a click opens the nearest image, a line drawn around images, a lasso, selects them.
// `data` (made by map.py): points ([x, y, group], 0..1), names of the images, groups (name and colour), selected (indices).
const MARGIN = 14, RADIUS = 4, NEAR = 14, MOVED = 5; // px
// Arrow keys: where they lead, to the right and down.
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".plane");
  root.plane ??= new Plane(root);
  root.plane.receive(data, (n) => setStateValue("opened", n), (some) => setTriggerValue("selected", some));
}

class Plane {
  constructor(root) {
    this.canvas = root.querySelector("canvas");
    this.told = root.querySelector("output");
    this.legend = root.querySelector("ul");
    this.line = null; // that is being drawn, its places in px
    this.canvas.onpointerdown = (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.line = [place(event)];
    };
    this.canvas.onpointermove = (event) => {
      if (this.line) this.line.push(place(event));
      else this.point(this.nearest(place(event), NEAR));
      this.draw();
    };
    this.canvas.onpointerup = (event) => this.finish(event.shiftKey);
    this.canvas.onpointercancel = () => this.drop();
    this.canvas.onkeydown = (event) => this.press(event);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  receive(data, open, select) {
    Object.assign(this, { data, open, select, selected: new Set(data.selected) });
    if (this.at >= data.points.length) this.at = undefined;
    this.legend.replaceChildren(...data.groups.map(({ name, colour }) => {
      const [row, dot] = [document.createElement("li"), document.createElement("i")];
      dot.style.background = colour;
      row.append(dot, name);
      return row;
    }));
    this.canvas.setAttribute("aria-label", `${data.points.length} images where the model sees them; arrow keys and Enter`);
    this.draw();
  }

  // Point at an image, by its index, or at none.
  point(at) {
    this.at = at;
    this.told.textContent = at === undefined ? "" : this.data.names[at];
    this.canvas.style.cursor = at === undefined ? "" : "pointer";
  }

  // The line was let go of: a short one is a click. With Shift, what it encloses joins what is selected.
  finish(joins) {
    const line = this.line ?? [];
    this.drop();
    if (!line.some(([x, y]) => Math.hypot(x - line[0][0], y - line[0][1]) > MOVED)) {
      this.point(line.length ? this.nearest(line[0], NEAR) : undefined);
      if (this.at !== undefined) this.open(this.at);
      return;
    }
    const inside = this.places.flatMap((one, n) => (encloses(line, one) || (joins && this.selected.has(n)) ? [n] : []));
    this.select(inside);
  }

  drop() {
    this.line = null;
    this.draw();
  }

  press(event) {
    if (event.key === "Enter" && this.at !== undefined) this.open(this.at);
    if (event.key === "Escape") this.drop();
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    this.point(this.at === undefined ? this.nearest([0, 0]) : this.nearest(this.places[this.at], Infinity, arrow) ?? this.at);
    this.draw();
  }

  // The image nearest to a place; towards an arrow's side if one is given.
  nearest([x, y], within = Infinity, arrow) {
    let best, least = within;
    this.places.forEach(([px, py], n) => {
      const [dx, dy] = [px - x, py - y], along = arrow ? dx * arrow[0] + dy * arrow[1] : 0;
      const far = Math.hypot(dx, dy);
      if (far < least && (!arrow || along > 0.7 * far)) [best, least] = [n, far];
    });
    return best;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas, ratio = window.devicePixelRatio || 1;
    if (!width || !this.data) return;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    this.places = this.data.points.map(([x, y]) => [
      MARGIN + x * (width - 2 * MARGIN), MARGIN + (1 - y) * (height - 2 * MARGIN),
    ]);
    const circle = (n, radius) => {
      pen.beginPath();
      pen.arc(...this.places[n], radius, 0, 2 * Math.PI);
    };
    this.places.forEach((_, n) => {
      pen.globalAlpha = !this.selected.size || this.selected.has(n) ? 0.85 : 0.2;
      pen.fillStyle = this.data.groups[this.data.points[n][2]].colour;
      circle(n, RADIUS);
      pen.fill();
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = getComputedStyle(this.canvas).color;
    pen.lineWidth = 1.5;
    if (this.at !== undefined) {
      circle(this.at, 2 * RADIUS);
      pen.stroke();
    }
    pen.beginPath();
    for (const one of this.line ?? []) pen.lineTo(...one);
    pen.stroke();
  }
}

const place = (event) => [event.offsetX, event.offsetY];

// Whether a place lies inside a closed line: whoever leaves it crosses the line an odd number of times.
function encloses(line, [x, y]) {
  let inside = false;
  line.forEach(([x1, y1], n) => {
    const [x2, y2] = line[(n + 1) % line.length];
    if (y1 > y !== y2 > y && x < x1 + ((x2 - x1) * (y - y1)) / (y2 - y1)) inside = !inside;
  });
  return inside;
}
