// The page of a run or a sweep: it is told what is new, and asks for pictures.
import { byId, bytesText, drawCurves, make, Stage, timeText } from "./parts.js";

const ENDS = { finished: "finished", interrupted: "stopped", diverged: "it diverged; the last good picture is kept" };
const stage = new Stage(byId("stage"), document.querySelector(".slider"));
let [curves, first, run, version, level, ended] = [{}, 1, -1, 0, 0, false];
let busy = false;
let wanted = null;

function say(text) {
  if (byId("where").textContent !== text) byId("where").textContent = text;
}

// One picture at a time; of those that came meanwhile, the last.
async function show(facts) {
  wanted = facts;
  if (busy) return;
  busy = true;
  while (wanted) {
    const now = wanted;
    wanted = null;
    const name = now.how ? "canvas.png" : "canvas.jpg";
    await stage.show(`${name}?${now.version}${now.how}`, now.full && now.full[1] / now.full[0]);
  }
  busy = false;
}

function begin(facts) {
  [curves, first, run] = [{}, 1, facts.run];
  const picture = (address, text) => make("figure", {}, make("img", { src: address, alt: text }), make("figcaption", {}, text));
  const styles = Array.from({ length: facts.styles }, (_, i) =>
    picture(`style/${i}.jpg?${facts.run}`, facts.styles > 1 ? `style ${i + 1}` : "style"));
  byId("beside").replaceChildren(picture(`content.jpg?${facts.run}`, "photo"), ...styles);
  stage.compareWith(`content.jpg?${facts.run}`);
}

function tell(facts) {
  byId("progress").max = facts.steps;
  byId("progress").value = facts.step;
  byId("step").textContent = `${facts.step} of ${facts.steps}`;
  byId("level").textContent = `${facts.level} of ${facts.levels}, ${facts.size}`;
  byId("left").textContent = facts.how ? "–" : facts.left === null ? "…" : timeText(facts.left);
  byId("memory").textContent = facts.memory ? bytesText(facts.memory) : "–";
  document.title = facts.how ? "jaxstyle: ended" : `${Math.round((100 * facts.step) / facts.steps)} % – jaxstyle`;
}

function tellRuns(runs) {
  byId("runs").hidden = false;
  const done = runs.filter((each) => each.state !== "waiting" && each.state !== "painting").length;
  byId("runs").querySelector("h2").textContent = `${done} of ${runs.length} runs done`;
  const sheet = byId("sheet");
  while (sheet.children.length < runs.length) {
    sheet.append(make("li", {}, make("div", { className: "thumb" }), make("div", { className: "name" })));
  }
  runs.forEach((each, i) => {
    const item = sheet.children[i];
    if (item.dataset.state === each.state) return;
    item.dataset.state = each.state;
    item.lastChild.textContent = each.name;
    const there = each.state === "finished" || each.state === "diverged";
    const picture = () => make("a", { href: `run/${i}.jpg?large=1`, target: "_blank", className: "fresh" },
      make("img", { src: `run/${i}.jpg`, alt: `${each.name}, ${each.state}` }));
    item.firstChild.replaceChildren(there ? picture() : each.state);
  });
}

function end(facts, source) {
  ended = true;
  source.close();
  say(`${ENDS[facts.how] ?? facts.how} after step ${facts.step ?? 0} of ${facts.steps ?? 0}`);
  byId("stop").disabled = byId("save").disabled = true;
}

const source = new EventSource("events");
source.onmessage = (event) => {
  const facts = JSON.parse(event.data);
  if (facts.runs) tellRuns(facts.runs);
  if (facts.saves) byId("save").hidden = false;
  if (facts.run !== undefined && facts.run !== run) begin(facts);
  if (facts.more) {
    if (!facts.more.from) curves = {};
    first = facts.more.first;
    for (const [name, values] of Object.entries(facts.more.terms)) curves[name] = (curves[name] ?? []).concat(values);
    drawCurves(byId("chart"), byId("losses"), first, curves);
  }
  if (facts.step !== undefined) tell(facts);
  if (facts.version && (facts.version !== version || facts.how)) show(facts);
  version = facts.version ?? version;
  if (facts.level !== level || facts.saved || facts.refused) {
    level = facts.level;
    say(facts.saved ? `saved ${facts.saved}` : facts.level ? `painting at ${facts.size}` : "waiting for the first step");
  }
  if (facts.how) end(facts, source);
};
source.onerror = () => {
  if (ended) return;
  if (source.readyState === EventSource.CLOSED) say("no answer: the run has ended, or cannot be reached");
  else say("no answer; trying again");
};
source.onopen = () => { level = 0; };

async function ask(what, button, words) {
  button.disabled = true;
  const answer = await fetch(what, { method: "POST" }).catch(() => null);
  say(answer?.ok ? words : "that could not be done");
  if (what === "save") setTimeout(() => { button.disabled = ended; }, 1500);
}
byId("stop").onclick = () => ask("stop", byId("stop"), "stopping after this step");
byId("save").onclick = () => ask("save", byId("save"), "saving after this step");
