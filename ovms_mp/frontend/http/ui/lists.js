// What is served, who streams, what failed.

import {by, make, rows, seconds} from "./elements.js";

export function servables(told, chosen, choose) {
  const list = by("servables"), text = JSON.stringify([told, chosen]);
  if (list.told === text) return;
  list.told = text;
  const focused = document.activeElement?.dataset?.name;
  list.replaceChildren(...told.map(each => make("li", {}, entry(each, chosen, choose))));
  if (!told.length) list.append(make("li", {class: "dim"}, "Nothing"));
  if (focused !== undefined) {
    [...list.querySelectorAll("button")].find(each => each.dataset.name === focused)?.focus();
  }
}

function entry({name, kind, versions, reason}, chosen, choose) {
  const button = make("button", {type: "button", "data-name": name, "aria-current": name === chosen ? "true" : "false"},
    make("strong", {}, name), make("small", {}, kind),
    ...versions.map(each => make("small", {class: state(each)},
      `${kind === "graph" ? "" : `version ${each.version}: `}${each.state.toLowerCase()}${each.reason ? ` – ${each.reason}` : ""}`)),
    ...(reason ? [make("small", {class: "bad"}, reason)] : []));
  button.onclick = () => choose(name);
  return button;
}

const state = ({state, failed, reason}) => failed || reason ? "bad" : state === "AVAILABLE" ? "good" : "dim";

export function streams(open, told) {
  by("open").textContent = open > told.length ? `${open}, the oldest ${told.length}` : String(open);
  rows(by("streams").tBodies[0], told.map(each => [
    String(each.number), each.servable, seconds(each.age), seconds(each.lag), String(each.under_way), String(each.waiting)]));
}

export function errors(told) {
  const list = by("errors"), text = JSON.stringify(told);
  if (list.told === text) return;
  list.told = text;
  const shown = told.map(({time, text}) => {
    const at = new Date(time * 1000);
    return make("li", {}, make("time", {datetime: at.toISOString(), class: "dim"}, at.toLocaleTimeString()), " ", text);
  });
  list.replaceChildren(...(shown.length ? shown : [make("li", {class: "dim"}, "None")]));
}
