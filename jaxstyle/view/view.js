// The page of a run or a sweep: it is told what is new, and asks for pictures.
import { byId, bytesText, drawCurves, make, say, Stage, timeText } from "./parts.js";

const ENDS = { finished: "finished", interrupted: "stopped", diverged: "it diverged; the last good picture is kept" };
const stage = new Stage(byId("stage"), document.querySelector(".slider"));
let [curves, first, run, version, ended] = [{}, 1, -1, 0, false];
let [told, saved] = ["", ""];
let busy = false;
let wanted = null;

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

const isEnded = (each) => !["waiting", "painting", "interrupted"].includes(each.state);

// The part of all steps that is done; of a sweep of all its runs, of which those on several devices are as far as one.
function partDone(facts) {
  const part = facts.step / facts.steps;
  if (!facts.runs) return part;
  const painting = facts.runs.filter((each) => each.state === "painting").length;
  return (facts.runs.filter(isEnded).length + painting * part) / facts.runs.length;
}

function tell(facts) {
  byId("progress").value = partDone(facts);
  byId("step").textContent = `${facts.step} of ${facts.steps}`;
  byId("level").textContent = `${facts.level} of ${facts.levels}, ${facts.size}`;
  byId("left").textContent = facts.how ? "–" : facts.left === null ? "…" : timeText(facts.left);
  byId("memory").textContent = facts.memory ? bytesText(facts.memory) : "–";
  document.title = facts.how ? "jaxstyle: ended" : `${Math.round(100 * partDone(facts))} % – jaxstyle`;
}

function tellRuns(runs) {
  byId("runs").hidden = false;
  byId("runs").querySelector("h2").textContent = `${runs.filter(isEnded).length} of ${runs.length} runs done`;
  const sheet = byId("sheet");
  while (sheet.children.length < runs.length) sheet.append(make("li"));
  runs.forEach((each, i) => {
    const item = sheet.children[i];
    if (item.dataset.state === each.state) return;
    item.dataset.state = each.state;
    const there = each.state === "finished" || each.state === "diverged";
    const picture = () => make("a", { href: `run/${i}.jpg?large=1`, target: "_blank", className: "fresh" },
      make("img", { src: `run/${i}.jpg`, alt: `${each.name}, ${each.state}` }));
    const why = each.state === "diverged" ? [make("div", { className: "name alarm" }, "diverged")] : [];
    // a line ends between two settings rather than in one
    const name = make("div", { className: "name" }, ...each.name.split(/(?<=,)/).map((part) => make("span", {}, part)));
    item.replaceChildren(make("div", { className: "thumb" }, there ? picture() : each.state), name, ...why);
  });
}

function end(facts, source) {
  ended = true;
  source.close();
  const count = facts.runs && `${facts.runs.filter(isEnded).length} of ${facts.runs.length} runs are done`;
  const where = count ? `: ${count}` : ` after step ${facts.step ?? 0} of ${facts.steps ?? 0}`;
  say(`${ENDS[facts.how] ?? facts.how}${where}`, facts.how === "diverged");
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
  const name = facts.runs && facts.level ? `${facts.runs[facts.run].name} ` : "";
  const at = facts.level ? `painting ${name}at ${facts.size}` : "waiting for the first step";
  if (facts.saved !== saved) {
    saved = facts.saved;
    say(`saved ${saved}`, saved.startsWith("nothing"));
  } else if (at !== told) {
    told = at;
    say(told);
  }
  if (facts.how) end(facts, source);
};
source.onerror = () => {
  if (ended) return;
  if (source.readyState === EventSource.CLOSED) say("no answer: the run has ended, or cannot be reached", true);
  else say("no answer; trying again");
};
source.onopen = () => { told = ""; };

async function ask(what, button, words) {
  button.disabled = true;
  const answer = await fetch(what, { method: "POST" }).catch(() => null);
  say(answer?.ok ? words : "that could not be done", !answer?.ok);
  if (what === "save") setTimeout(() => { button.disabled = ended; }, 1500);
}
byId("stop").onclick = () => ask("stop", byId("stop"), "stopping after this step");
byId("save").onclick = () => ask("save", byId("save"), "saving after this step");
