// The studio's page: what is chosen and sent, and what is painted and was painted.
import { Brushes } from "./brush.js";
import { byId, drawCurves, make, say, Stage } from "./parts.js";

const stage = new Stage(byId("stage"), document.querySelector(".slider"));
const chosen = { content: null, style: null };
const brushes = new Brushes(byId("masks"));
let carried = {};  // the masks of a result that is painted again
let [history, progress, shown, drawn] = [[], null, null, ""];

const power = (id) => 2 ** Number(byId(id).value);
function tellSliders() {
  const [photo, strokes] = [Number(byId("photo").value), power("strokes")];
  byId("photo-told").textContent = photo ? `${Math.round(100 * 2 ** photo)} % photo` : "balanced";
  byId("strokes-told").textContent = strokes === 1 ? "usual size" : `${Math.round(100 * strokes)} %`;
}
for (const id of ["photo", "strokes"]) byId(id).addEventListener("input", tellSliders);

async function upload(file) {
  const answer = await fetch(`pictures?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }).catch(() => null);
  if (!answer) throw new Error("no answer from the studio");
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function choose(kind, name) {
  chosen[kind] = name;
  const image = document.querySelector(`.drop[data-kind=${kind}] img`);
  image.src = `pictures/${name}`;
  image.alt = `the ${kind === "content" ? "photo" : "painting"} that was chosen`;
  image.hidden = false;
  brushes.set(kind, `pictures/${name}`);
  byId("brush").disabled = !(chosen.content && chosen.style);
}

async function take(kind, file) {
  if (!file) return;
  say(`reading ${file.name}`);
  carried = {};
  try {
    choose(kind, (await upload(file)).name);
    say(chosen.content && chosen.style ? "ready to paint" : `choose a ${chosen.content ? "painting" : "photo"}`);
  } catch (error) { say(error.message, true); }
}

for (const drop of document.querySelectorAll(".drop")) {
  const kind = drop.dataset.kind;
  drop.querySelector("input").addEventListener("change", (event) => take(kind, event.target.files[0]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(kind, event.dataTransfer.files[0]);
  });
}
byId("brush").onclick = () => brushes.open();

byId("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!chosen.content || !chosen.style) { say("choose a photo and a painting first", true); return; }
  const order = { ...carried, ...chosen, size: Number(byId("size").value), quality: byId("quality").value,
    colors: byId("colors").value, photo: power("photo"), strokes: power("strokes") };
  try {
    for (const [name, masks] of Object.entries(await brushes.masks())) {
      const names = [];
      for (const each of masks) names.push((await upload(each)).name);
      order[name] = name === "keep" ? names[0] : names;
    }
    const answer = await fetch("runs", { method: "POST", body: JSON.stringify(order) });
    if (!answer.ok) throw new Error(await answer.text());
    shown = (await answer.json()).name;
    say("in the queue");
  } catch (error) { say(error.message, true); }
});

function fill(asked) {
  for (const id of ["size", "quality", "colors"]) byId(id).value = asked[id];
  for (const id of ["photo", "strokes"]) byId(id).value = Math.log2(asked[id]);
  tellSliders();
  choose("content", asked.content);
  choose("style", asked.style);
  carried = { keep: asked.keep, regions: asked.regions };
  say("the settings are as they were: change what you like, then paint");
  byId("size").focus();
}

const current = () => history.find((each) => each.name === shown);
byId("again").onclick = () => fill(current().asked);
byId("stop").onclick = async () => {
  const answer = await fetch(`runs/${shown}/stop`, { method: "POST" }).catch(() => null);
  say(answer?.ok ? "stopping after this step" : "that could not be stopped", !answer?.ok);
};

function showRun(run) {
  const isPainted = run.state === "painting";
  const picture = isPainted && progress?.name === run.name ? progress.picture : 0;
  byId("result").hidden = false;
  byId("stop").hidden = !isPainted && run.state !== "waiting";
  byId("download").hidden = !run.losses;
  byId("download").href = `runs/${run.name}/picture.png`;
  byId("command").textContent = run.command;
  byId("why").textContent = run.state === "failed" || !run.losses ? run.why : "";
  byId("painting").hidden = !isPainted;
  const key = `${run.name} ${run.state} ${picture || ""}`;
  if (key === drawn) return;
  drawn = key;
  stage.compareWith(`pictures/${run.asked.content}`);
  const isEmpty = run.state === "waiting" || (isPainted && !picture) || (!isPainted && !run.losses);
  const address = isEmpty ? `pictures/${run.asked.content}` : `runs/${run.name}/look.jpg?large=1&${encodeURIComponent(key)}`;
  const aspect = () => stage.canvas.naturalWidth / stage.canvas.naturalHeight;
  stage.show(address).then(() => stage.canvas.decode()).then(() =>
    stage.pictures.style.setProperty("--aspect", aspect())).catch(() => {});
}

function showProgress() {
  const run = current();
  if (!run || run.state !== "painting" || !progress || progress.name !== shown) {
    byId("curves").hidden = true;
    return;
  }
  byId("progress").max = progress.steps || 1;
  byId("progress").value = progress.step;
  byId("told").textContent = progress.step
    ? `step ${progress.step} of ${progress.steps || "…"} at ${progress.size}, about ${progress.left || "…"} left` : "getting ready; the first of a size takes longer";
  byId("curves").hidden = !progress.step;
  if (progress.step) drawCurves(byId("chart"), byId("losses"), 1, progress.terms);
}

function showHistory() {
  byId("results").hidden = !history.length;
  byId("sheet").replaceChildren(...history.map((run) => {
    const inside = run.losses ? make("img", { src: `runs/${run.name}/look.jpg`, alt: "" }) : run.state;
    const button = make("button", { className: "thumb", type: "button" }, inside);
    button.setAttribute("aria-label", `result ${run.name}, ${run.state}`);
    button.setAttribute("aria-pressed", String(run.name === shown));
    button.onclick = () => { shown = run.name; update(); };
    const quality = byId("quality").querySelector(`[value=${run.asked.quality}]`);
    const told = [`${run.asked.size} px`, quality.text.split(",")[0], run.state].join(", ");
    return make("li", {}, button, make("div", { className: "name" }, run.name), make("figcaption", {}, told));
  }));
}

let listed = "";
function update() {
  if (!current()) shown = (history.find((each) => each.state === "painting") ?? history[0])?.name ?? null;
  const list = JSON.stringify([history, shown]);
  if (list !== listed) { showHistory(); listed = list; }
  const run = current();
  if (run) showRun(run);
  showProgress();
}

const source = new EventSource("events");
source.onmessage = (event) => {
  const news = JSON.parse(event.data);
  if (news.history) {
    const before = new Map(history.map((each) => [each.name, each.state]));
    history = news.history;
    const isNew = (each) => (before.has(each.name) ? before.get(each.name) !== each.state : each.state === "painting");
    const changed = history.filter(isNew);
    const isOpen = (each) => each.state === "waiting" || each.state === "painting";
    const told = changed.find((each) => !isOpen(each)) ?? changed[0];  // one ends as the next begins
    if (told) say(`${told.name}: ${told.state}`, told.state === "failed");
  }
  if ("progress" in news) progress = news.progress;
  update();
};
source.onerror = () => say("no answer from the studio; trying again", true);
source.onopen = () => { if (byId("where").textContent.startsWith("no answer")) say("connected"); };
tellSliders();
say("choose a photo and a painting");
