// The threshold and the prevalence are dragged here, in the browser, so that every answer is there at once. Python hears
// of the threshold when it is let go. `data`: id, yes, no,
// one and many (the verb before yes, as has and have), positives and negatives (scores), threshold, roc, pr.

const Z = 1.959963984540054;
const PEOPLE = 1000;

const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;

// The prevalence at a place of its slider: half in the middle, and a tenth of the smaller side for each step of 1 from
// there. Two digits of it are shown, and counted with.
function shareOf(place) {
  const smaller = Number((0.5 * 10 ** -Math.abs(place)).toPrecision(2));
  return place > 0 ? 1 - smaller : smaller;
}

// Whole people for the expected numbers, so many in all (the largest remainders are rounded up, of equal ones the first).
function whole(values, people) {
  const counts = values.map(Math.floor), missing = people - counts.reduce((sum, count) => sum + count, 0);
  const remainder = (i) => Math.round(1e6 * (values[i] - counts[i]));
  values.map((_, i) => i).sort((a, b) => remainder(b) - remainder(a) || a - b).slice(0, missing).forEach((i) => counts[i]++);
  return counts;
}

function wilson(k, n) {
  const p = k / n, d = 1 + Z * Z / n, middle = (p + Z * Z / (2 * n)) / d;
  const half = (Z / d) * Math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n));
  return [p, Math.max(0, middle - half), Math.min(1, middle + half)];
}

// As covid_cnn.evaluation.predictive_values, which explains it.
function predictive(right, ofRight, wrong, ofWrong, odds) {
  if (!right && !wrong) return null;
  const gain = odds * right / ofRight, value = gain / (gain + wrong / ofWrong);
  const half = 0 < right && right < ofRight && 0 < wrong && wrong < ofWrong ? 0 : 0.5;
  const a = (right + half) / (ofRight + 2 * half), b = (wrong + half) / (ofWrong + 2 * half);
  const error = Math.sqrt((1 - a) / (a * ofRight) + (1 - b) / (b * ofWrong));
  const edge = (side) => 1 / (1 + Math.exp(-Math.log(odds * a / b) - side * Z * error));
  return [value, Math.min(value, edge(-1)), Math.max(value, edge(1))];
}

const told = (found) => found ? `${percent(found[0])} (${percent(found[1])} to ${percent(found[2])})` : "nobody gets it";

const LEFT = 40, TOP = 10, WIDE = 270, HIGH = 245;
const x = (value) => LEFT + WIDE * value, y = (value) => TOP + HIGH * (1 - value);
const path = (xs, ys) => xs.map((value, i) => `${i ? "L" : "M"}${x(value).toFixed(1)},${y(ys[i]).toFixed(1)}`).join("");

function drawCurve(svg, curve, names, diagonal) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((tick) => `
    <line class="axis" x1="${x(tick)}" x2="${x(tick)}" y1="${y(0)}" y2="${y(1)}"/>
    <line class="axis" x1="${x(0)}" x2="${x(1)}" y1="${y(tick)}" y2="${y(tick)}"/>
    <text x="${x(tick)}" y="${y(0) + 14}" text-anchor="middle">${tick}</text>
    <text x="${x(0) - 5}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`).join("");
  const band = path(curve.grid, curve.low) + path([...curve.grid].reverse(), [...curve.high].reverse()).replace("M", "L");
  svg.innerHTML = `${ticks}
    ${diagonal ? `<line class="chance" x1="${x(0)}" y1="${y(0)}" x2="${x(1)}" y2="${y(1)}"/>` : ""}
    <path class="band" d="${band}Z"/><path class="curve" d="${path(curve.x, curve.y)}"/>
    <circle class="mark" r="6"/>
    <text x="${x(0.5)}" y="${y(0) + 30}" text-anchor="middle">${names[0]}</text>
    <text transform="translate(10 ${y(0.5)}) rotate(-90)" text-anchor="middle">${names[1]}</text>`;
}

function mark(svg, at, value) {
  const circle = svg.querySelector(".mark");
  circle.style.display = Number.isFinite(value) ? "" : "none";
  circle.setAttribute("cx", x(at));
  circle.setAttribute("cy", y(value || 0));
}

// Squares are ill, circles are not; filled ones are called ill.
function drawField(canvas, groups, colours) {
  const width = canvas.clientWidth || 600, columns = width < 500 ? 25 : 50;
  const cell = width / columns, rows = PEOPLE / columns, ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(rows * cell * ratio);
  canvas.style.height = `${rows * cell}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.lineWidth = 1.5;
  let person = 0;
  for (const { count, colour, ill, called } of groups) {
    pen.fillStyle = pen.strokeStyle = colours[colour];
    for (let i = 0; i < count; i++, person++) {
      const cx = (person % columns + 0.5) * cell, cy = (Math.floor(person / columns) + 0.5) * cell, r = 0.33 * cell;
      pen.beginPath();
      if (ill) pen.rect(cx - r, cy - r, 2 * r, 2 * r);
      else pen.arc(cx, cy, r, 0, 2 * Math.PI);
      if (called) pen.fill();
      else pen.stroke();
    }
  }
}

export default function (component) {
  const { data, parentElement: root, setStateValue } = component;
  const at = (id) => root.querySelector(`#${id}`);
  const room = root.querySelector(".threshold"), threshold = at("threshold"), prevalence = at("prevalence");
  for (const name of root.querySelectorAll(".yes")) name.textContent = data.yes;
  root.querySelector(".many").textContent = data.many;
  for (const name of root.querySelectorAll(".no")) name.textContent = data.no;
  if (room.dataset.id !== data.id) { // another model or other images
    if (!room.dataset.id) prevalence.value = -1.699; // 1 %
    room.dataset.id = data.id;
    threshold.value = data.threshold;
    drawCurve(at("roc"), data.roc, ["False positive rate (1 - specificity)", "Sensitivity"], true);
    drawCurve(at("pr"), data.pr, ["Recall (sensitivity)", "Precision"], false);
  }
  const style = getComputedStyle(room);
  const colours = Object.fromEntries(["hit", "miss", "alarm", "clear"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  const positives = data.positives.length, negatives = data.negatives.length;
  // The slider has steps; at the model's own threshold the model's own answers are counted.
  let own = Number(threshold.value) === Math.round(1000 * data.threshold) / 1000;

  function show() {
    const limit = own ? data.threshold : Number(threshold.value), share = shareOf(Number(prevalence.value));
    const hits = data.positives.filter((score) => score >= limit).length;
    const alarms = data.negatives.filter((score) => score >= limit).length;
    const misses = positives - hits, rejections = negatives - alarms, odds = share / (1 - share);
    at("threshold-told").textContent = limit.toFixed(3);
    at("prevalence-told").textContent = percent(share, share < 0.01 || share > 0.99 ? 2 : 1);
    at("hits").textContent = hits;
    at("misses").textContent = misses;
    at("false-alarms").textContent = alarms;
    at("rejections").textContent = rejections;
    const sensitivity = hits / positives, specificity = rejections / negatives;
    at("sensitivity").textContent = told(wilson(hits, positives));
    at("specificity").textContent = told(wilson(rejections, negatives));
    at("ppv").textContent = told(predictive(hits, positives, alarms, negatives, odds));
    at("npv").textContent = told(predictive(rejections, negatives, misses, positives, 1 / odds));
    // Misses come first, for they are few and must be seen.
    const groups = [
      { name: "missed", value: PEOPLE * share * (1 - sensitivity), colour: "miss", ill: true, called: false },
      { name: "found", value: PEOPLE * share * sensitivity, colour: "hit", ill: true, called: true },
      { name: "alarms", value: PEOPLE * (1 - share) * (1 - specificity), colour: "alarm", ill: false, called: true },
      { name: "cleared", value: PEOPLE * (1 - share) * specificity, colour: "clear", ill: false, called: false },
    ];
    const ill = Math.round(PEOPLE * share), value = ({ value }) => value;
    [...whole(groups.slice(0, 2).map(value), ill), ...whole(groups.slice(2).map(value), PEOPLE - ill)]
      .forEach((count, i) => { groups[i].count = count; });
    for (const { name, count } of groups) at(name).textContent = count;
    const [missed, found, falsely, cleared] = groups, called = found.count + falsely.count;
    const right = found.value / (found.value + falsely.value);
    at("story").textContent = `Of ${PEOPLE.toLocaleString("en")} people ${ill} ${ill === 1 ? data.one : data.many} ` +
      `${data.yes}: ${found.count} found, ${missed.count} missed. Of the ${PEOPLE - ill} others, ${falsely.count} get ` +
      `a false alarm. ` + (called ? `So of ${called} yes answers ${found.count} ${found.count === 1 ? "is" : "are"} ` +
        `right; the predictive value is ${percent(right)}.` : `Nobody is called ${data.yes}.`);
    at("field").setAttribute("aria-label", at("story").textContent);
    drawField(at("field"), [found, missed, falsely, cleared], colours);
    mark(at("roc"), 1 - specificity, sensitivity);
    mark(at("pr"), sensitivity, hits / (hits + alarms));
  }

  threshold.oninput = () => { own = false; show(); };
  threshold.onchange = () => setStateValue("threshold", Number(threshold.value));
  prevalence.oninput = show;
  at("own").onclick = () => {
    own = true;
    threshold.value = data.threshold;
    show();
    setStateValue("threshold", null);
  };
  const observer = new ResizeObserver(show);
  observer.observe(at("field"));
  show();
  return () => observer.disconnect();
}
