// Masks drawn with a brush: regions in colours on the photo and on the painting, white for what is kept.
import { make } from "./parts.js";

const COLORS = [["red", "#ff0000"], ["green", "#00ff00"], ["blue", "#0000ff"], ["keep the photo", "#ffffff"], ["rub out", ""]];
const LONGEST = 768;

function blobOf(canvas, keep) {
  const [width, height] = [canvas.width, canvas.height];
  const mask = make("canvas", { width, height });
  const draw = mask.getContext("2d");
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const [red, green, blue, alpha] = pixels.data.subarray(i, i + 4);
    const isOn = alpha > 127;
    const isWhite = isOn && red > 127 && green > 127 && blue > 127;
    // a mask has few colours: each channel is all or nothing
    const value = keep ? [isWhite, isWhite, isWhite] : [red, green, blue].map((each) => isOn && !isWhite && each > 127);
    value.forEach((each, j) => { pixels.data[i + j] = each ? 255 : 0; });
    pixels.data[i + 3] = 255;
  }
  draw.putImageData(pixels, 0, 0);
  return new Promise((done) => mask.toBlob((blob) => done(new File([blob], keep ? "keep.png" : "regions.png")), "image/png"));
}

export class Brushes {
  constructor(dialog) {
    this.dialog = dialog;
    this.color = COLORS[0][1];
    this.used = { content: new Set(), style: new Set() };
    this.boards = Object.fromEntries([...dialog.querySelectorAll("canvas")].map((each) => [each.dataset.kind, each]));
    for (const [name, color] of COLORS) {
      const radio = make("input", { type: "radio", name: "brush", checked: color === this.color });
      radio.addEventListener("change", () => { this.color = color; });
      const dot = make("i");
      dot.style.background = color || "transparent";
      dialog.querySelector(".palette").append(make("label", {}, radio, dot, name));
    }
    for (const board of Object.values(this.boards)) this.listen(board);
    dialog.querySelector("#masks-done").onclick = () => dialog.close();
    dialog.querySelector("#masks-clear").onclick = () => this.clear();
  }

  open() { this.dialog.showModal(); }

  set(kind, address) {
    const board = this.boards[kind];
    const image = new Image();
    image.onload = () => {
      const factor = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
      [board.width, board.height] = [image.naturalWidth, image.naturalHeight].map((each) => Math.round(each * factor));
      this.used[kind].clear();
    };
    image.src = address;
    board.style.backgroundImage = `url("${address}")`;
  }

  clear() {
    for (const [kind, board] of Object.entries(this.boards)) {
      board.getContext("2d").clearRect(0, 0, board.width, board.height);
      this.used[kind].clear();
    }
  }

  listen(board) {
    let last = null;
    let cursor = null;  // where arrow keys have led the brush
    const dab = (x, y) => {
      const draw = board.getContext("2d");
      draw.lineCap = draw.lineJoin = "round";
      draw.lineWidth = (board.width * Number(this.dialog.querySelector("#width").value)) / 100;
      draw.globalCompositeOperation = this.color ? "source-over" : "destination-out";
      draw.strokeStyle = this.color || "#000";
      draw.beginPath();
      draw.moveTo(...(last ?? [x, y]));
      draw.lineTo(x, y);
      draw.stroke();
      last = [x, y];
      if (this.color) this.used[board.dataset.kind].add(this.color);
    };
    const at = (event) => {
      const box = board.getBoundingClientRect();
      dab(((event.clientX - box.left) * board.width) / box.width, ((event.clientY - box.top) * board.height) / box.height);
    };
    board.addEventListener("pointerdown", (event) => { board.setPointerCapture(event.pointerId); last = null; at(event); });
    board.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
    board.addEventListener("pointerup", () => { last = null; });
    board.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      cursor = cursor ?? [board.width / 2, board.height / 2];
      cursor = [0, 1].map((i) => Math.min(Math.max(cursor[i] + (step[i] * board.width) / 40, 0), i ? board.height : board.width));
      last = null;
      dab(...cursor);
    });
  }

  // Returns what was painted: "keep" a mask, "regions" two, or neither.
  async masks() {
    const found = {};
    const isRegion = (color) => color !== "#ffffff";
    if (this.used.content.has("#ffffff")) found.keep = [await blobOf(this.boards.content, true)];
    const pairs = [...this.used.content].filter((each) => isRegion(each) && this.used.style.has(each));
    if (pairs.length) found.regions = [await blobOf(this.boards.content, false), await blobOf(this.boards.style, false)];
    return found;
  }
}
