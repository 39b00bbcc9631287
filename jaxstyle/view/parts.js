// What the live page and the studio share: what they say, the picture that is compared with the photo, the curves.

const TERMS = ["content", "style", "tv"];
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// Says how things are, in the line at the top; a screen reader reads it out.
export function say(text, isWrong = false) {
  if (byId("where").textContent !== text) byId("where").textContent = text;
  byId("where").className = isWrong ? "alarm" : "";
}

export function make(name, facts = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(facts)) {
    if (key in found && key !== "list") found[key] = value; else found.setAttribute(key, value);
  }
  found.append(...children);
  return found;
}

export function timeText(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, String(all % 60).padStart(2, "0")];
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export const bytesText = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`;

function colorOf(name, names) {
  if (name === "total") return "var(--ink)";
  const known = TERMS.indexOf(name);
  const others = names.filter((each) => each !== "total" && !TERMS.includes(each));
  return `var(--term-${known < 0 ? 4 - (others.indexOf(name) % 2) : known + 1})`;
}

// The picture with a photo over its left part, as far as a slider says.
export class Stage {
  constructor(figure, slider) {
    this.figure = figure;
    this.slider = slider;
    this.range = slider.querySelector("input");
    [this.pictures, this.canvas, this.over, this.edge] =
      [".pictures", ".canvas", ".over", ".edge"].map((each) => figure.querySelector(each));
    this.range.addEventListener("input", () => this.split(this.range.value));
    const follow = (event) => {
      if (slider.hidden || (event.type === "pointermove" && !event.buttons)) return;
      const box = this.pictures.getBoundingClientRect();
      this.range.value = (100 * (event.clientX - box.left)) / box.width;
      this.split(this.range.value);
    };
    this.pictures.addEventListener("pointerdown", follow);
    this.pictures.addEventListener("pointermove", follow);
    this.canvas.addEventListener("dragstart", (event) => event.preventDefault());
  }

  split(percent) {
    this.pictures.style.setProperty("--split", `${percent}%`);
    this.edge.hidden = Number(percent) <= 0 || Number(percent) >= 100;
    this.range.setAttribute("aria-valuetext", `photo over ${Math.round(percent)} % of the width`);
  }

  // Shows a picture once it is loaded whole, so that nothing flickers; keeps the one before if that fails,
  // and shows none that another one was asked for after.
  async show(address, aspect) {
    const next = new Image();
    this.latest = next;
    next.src = address;
    try { await next.decode(); } catch { return false; }
    if (this.latest !== next) return false;
    if (aspect) this.pictures.style.setProperty("--aspect", aspect);
    this.canvas.src = next.src;
    this.pictures.hidden = false;
    for (const each of this.figure.querySelectorAll(".empty")) each.hidden = true;
    return true;
  }

  compareWith(address) {
    this.over.src = address;
    this.over.hidden = this.slider.hidden = false;
    this.split(this.range.value);
  }
}

function node(name, facts, text) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(facts)) found.setAttribute(key, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

// Draws losses by term, on a scale of decades, and lists the latest of each.
export function drawCurves(svg, body, first, curves) {
  const names = Object.keys(curves).filter((name) => curves[name].length);
  const all = names.flatMap((name) => curves[name].filter((value) => value > 0));
  if (!all.length) return;
  const [width, height, left, bottom] = [320, 190, 40, 20];
  let [low, high] = [Infinity, -Infinity];
  for (const value of all) { low = Math.min(low, value); high = Math.max(high, value); }
  low = Math.max(low, high / 1e5);  // content begins near 0, and would flatten all else
  [low, high] = [Math.log10(low) - 0.05, Math.log10(high) + 0.05];
  const count = Math.max(...names.map((name) => curves[name].length));
  const x = (i) => left + (i / Math.max(count - 1, 1)) * (width - left - 4);
  const y = (value) => 6 + Math.min((high - Math.log10(value)) / (high - low), 1) * (height - bottom - 12);
  const parts = [];
  const every = Math.max(1, Math.ceil((high - low) / 5));
  for (let decade = Math.ceil(low); decade <= high; decade += every) {
    const at = y(10 ** decade);
    parts.push(node("line", { x1: left, x2: width - 4, y1: at, y2: at }));
    parts.push(node("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, decade < -3 || decade > 4 ? `1e${decade}` : 10 ** decade));
  }
  parts.push(node("text", { x: left, y: height - 4 }, `step ${first}`));
  parts.push(node("text", { x: width - 4, y: height - 4, "text-anchor": "end" }, first + count - 1));
  const stride = Math.max(1, Math.floor(count / 400));
  for (const name of names) {
    const points = curves[name]
      .map((value, i) => [i, value])
      .filter(([i, value]) => value > 0 && (i % stride === 0 || i === count - 1))
      .map(([i, value]) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
    const line = node("polyline", { points: points.join(" "), "data-term": name });
    line.style.stroke = colorOf(name, names);
    parts.push(line);
  }
  svg.replaceChildren(...parts);
  body.replaceChildren(...names.map((name) => {
    const mark = make("i");
    mark.style.background = colorOf(name, names);
    const head = make("th", { scope: "row" }, mark, name.replaceAll("_", " "));
    return make("tr", {}, head, make("td", {}, curves[name].at(-1)?.toPrecision(3) ?? "–"));
  }));
}
