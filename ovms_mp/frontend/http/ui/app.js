// The page: one stream of what is seen, and forms that ask.

import {ask, follow, onKeyWanted, Refused, useKey} from "./asking.js";
import * as camera from "./camera.js";
import {by, make} from "./elements.js";
import {beat, fit, paint} from "./graph.js";
import * as lists from "./lists.js";
import * as request from "./request.js";
import {timeline} from "./timeline.js";

const AGAIN = 2000; // milliseconds until a lost server is looked for
let chosen = null, kind = "", following = new AbortController();
let drawn = null; // the mark of the graph that is drawn
let versions = ""; // of the model whose form is shown
let showing = 0; // answers that are awaited
let path = []; // of subgraphs, each in the one before

const status = text => { by("status").textContent = text; };

function tell(seen) {
  status(["Live", ...(seen.workers + seen.silent.length > 1 ? [`${seen.workers} workers`] : []),
    ...seen.silent.map(number => `worker ${number} does not answer`)].join(", "));
  lists.servables(seen.servables, chosen, choose);
  lists.streams(seen.open, seen.streams);
  lists.errors(seen.errors);
  known = seen.servables;
  reason();
  if (chosen === null) {
    const first = known.find(each => isServed(each) && each.kind === "graph") ?? known[0];
    if (first) choose(first.name);
  } else if (kindOf(chosen) !== kind) {
    choose(chosen); // it came, or went
  } else if (seen.graph !== undefined) {
    if (seen.mark === drawn) beat(seen.graph);
    else if (seen.mark && !showing) show(); // it was loaded anew
  } else if (kind === "model" && versionsOf(chosen) !== versions) {
    show();
  }
}

let known = [];
const isServed = ({versions}) => versions.some(each => each.state === "AVAILABLE");
const foundOf = name => known.find(each => each.name === name);
const kindOf = name => { const found = foundOf(name); return found && isServed(found) ? found.kind : ""; };
const versionsOf = name => JSON.stringify(foundOf(name)?.versions.map(each => [each.version, each.state]));

function reason() {
  const found = foundOf(chosen);
  const texts = found ? [found.reason, ...found.versions.map(each => each.reason)].filter(Boolean) : [];
  if (chosen !== null && !texts.length && !kindOf(chosen)) {
    texts.push(`Not served now${found?.versions.length ? `: ${found.versions.map(each => each.state.toLowerCase()).join(", ")}` : ""}`);
  }
  by("reason").hidden = !texts.length;
  by("reason").textContent = texts.join("; ");
}

async function look() {
  for (;;) {
    following = new AbortController();
    const mine = following;
    try {
      const graph = kind === "graph" ? `?graph=${encodeURIComponent(chosen)}` : "";
      await follow(`/v1/live${graph}`, mine.signal, seen => { if (!mine.signal.aborted) tell(seen); });
      status("The server has ended; looking for it");
    } catch (error) {
      if (mine.signal.aborted) continue;
      if (error instanceof Refused && error.code === 404) { known = []; choose(chosen); }
      status(error instanceof Refused ? error.message : "The server does not answer; looking for it");
      if (error instanceof Refused && error.code === 401) {
        await new Promise(wake => { again = wake; });
        continue;
      }
    }
    await new Promise(wake => { again = wake; setTimeout(wake, AGAIN); });
  }
}
let again = () => {};

function choose(name) {
  chosen = name;
  drawn = null;
  path = [];
  kind = kindOf(name);
  by("chosen-title").textContent = name;
  by("graph").hidden = kind !== "graph";
  by("request").hidden = true;
  camera.withdraw();
  reason();
  following.abort();
  again();
  if (kind) show();
}

// What it is now, and what it takes.
async function show() {
  showing += 1;
  path = [];
  versions = versionsOf(chosen);
  try {
    if (kind === "graph") await picture();
    await request.offer(chosen);
    showing -= 1;
  } catch (error) {
    status(error.message);
    setTimeout(() => { versions = ""; showing -= 1; }, AGAIN); // and then once more
  }
}

async function picture() {
  const name = chosen, expand = by("expand").checked;
  const within = path.at(-1)?.key ?? "";
  const query = `expand=${expand}&within=${encodeURIComponent(within)}`;
  const told = await (await ask(`/v1/graphs/${encodeURIComponent(name)}?${query}`)).json();
  if (name !== chosen || within !== (path.at(-1)?.key ?? "") || expand !== by("expand").checked) return;
  drawn = told.mark;
  trail();
  paint(told, (key, title) => go([...path, {key, title}]));
  camera.offer(name, told.pictures);
}

function go(to) {
  path = to;
  by("expand").checked = false;
  picture().then(() => by("picture").focus()).catch(error => status(error.message));
}

// The way into subgraphs, and back.
function trail() {
  by("trail").hidden = !path.length;
  by("trail").querySelector("ol").replaceChildren(...[{title: chosen}, ...path].map(({title}, depth) => {
    if (depth === path.length) return make("li", {"aria-current": "location"}, title);
    const button = make("button", {type: "button"}, title);
    button.onclick = () => go(path.slice(0, depth));
    return make("li", {}, button);
  }));
}

by("expand").onchange = () => picture().catch(error => status(error.message));
by("fit").onchange = fit;

onKeyWanted(() => { by("key").hidden = false; });
by("key").onsubmit = event => {
  event.preventDefault();
  useKey(by("key").elements.key.value);
  by("key").reset();
  by("key").hidden = true;
  again();
  if (chosen !== null) choose(chosen);
};

by("trace").querySelector("form").onsubmit = async event => {
  event.preventDefault();
  const form = event.target, said = by("trace").querySelector("output"), link = form.querySelector("a");
  const button = form.querySelector("button"), {value} = form.elements.seconds;
  button.disabled = true;
  link.hidden = true;
  said.textContent = `Recording for ${value} s`;
  try {
    const file = await (await ask(`/v1/trace?seconds=${encodeURIComponent(value)}`, {method: "POST"})).blob();
    if (link.href) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(file);
    link.hidden = false;
    const run = timeline(JSON.parse(await file.text()).traceEvents);
    said.textContent = run ? `${run}; a colour is a packet` : "Nothing happened meanwhile";
  } catch (error) {
    said.textContent = error.message;
    if (error instanceof Refused && error.code === 403) by("key").hidden = false; // of another who may
  } finally { button.disabled = false; }
};

look();
