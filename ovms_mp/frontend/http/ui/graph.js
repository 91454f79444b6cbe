// A graph as the server has laid it out, and on it what goes on.

import {by, draw, milliseconds, make, rate, rows} from "./elements.js";

const LINE = 15, PADDING = 8, HEADING = 22;
const READABLE = .87; // of its size: letters of 10 pixels
const HEIGHT = 72; // hundredths of the window that a picture takes at most
let told = null, items = new Map();

// `open` is told when somebody wants to see what is in a subgraph.
export function paint(picture, open) {
  told = picture;
  items = new Map();
  const arrow = draw("marker", {id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto"},
    draw("path", {d: "M0 0L8 4L0 8z"}));
  const groups = picture.items.filter(each => each.look === "group");
  const others = picture.items.filter(each => each.look !== "group");
  const {width, height} = picture;
  by("picture").replaceChildren(draw("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "The graph; the table below has its numbers"},
    draw("defs", {}, arrow), ...groups.map(placed), ...picture.lines.map(line), ...others.map(placed),
    ...[...items.values()].map(each => each.live)));
  for (const {item, element} of items.values()) {
    if (item.look === "folded") opens(element, item, open);
  }
  by("fit").checked = isReadableInThePage();
  fit();
  const start = picture.items.find(each => each.look === "input") ?? picture.items[0];
  if (start) by("picture").scrollTo(start.x + (start.width - by("picture").clientWidth) / 2, 0);
}

// What would be too small to read is shown as large as it is, from its input on.
function isReadableInThePage() {
  const {width, height} = told;
  return Math.min(by("picture").clientWidth / width, HEIGHT / 100 * innerHeight / height) >= READABLE;
}

function opens(element, {key, lines}, open) {
  const [name] = lines;
  for (const [attribute, value] of [["role", "button"], ["tabindex", "0"], ["aria-label", `What is in ${name}`]]) {
    element.setAttribute(attribute, value);
  }
  element.onclick = () => open(key, name);
  element.onkeydown = event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open(key, name);
  };
}

export function fit() {
  const svg = by("picture").querySelector("svg");
  if (!svg) return;
  const fits = by("fit").checked;
  svg.setAttribute("width", fits ? "100%" : told.width);
  svg.style.maxWidth = `${told.width}px`;
  svg.style.maxHeight = fits ? `${HEIGHT}vh` : "none";
  svg.style.height = fits ? "auto" : `${told.height}px`;
}

function line({way, is_back, is_side}) {
  const kinds = ["line", ...(is_back ? ["back"] : []), ...(is_side ? ["side"] : [])];
  return draw("path", {d: way, class: kinds.join(" "), "marker-end": "url(#arrow)"});
}

function placed(item) {
  const {key, look, lines, title, x, y, width, height} = item;
  const isPill = ["stream", "input", "output", "side"].includes(look), isGroup = look === "group";
  const left = isGroup ? x + PADDING : x + width / 2;
  const shown = isGroup ? lines.slice(0, 1) : lines;
  const top = isGroup ? y + (HEADING - LINE) / 2 : y + (height - LINE * lines.length) / 2;
  const live = draw("text", {class: "live", x: x + 2, y: y - 3}); // where no line ends
  const element = draw("g", {class: look, "data-key": key},
    ...(title ? [draw("title", {}, title)] : []),
    draw("rect", {x, y, width, height, rx: isPill ? height / 2 : 6}),
    ...shown.map((text, number) => draw("text", {x: left, y: top + LINE * number + LINE - 4, class: number ? "" : "name"}, text)));
  items.set(key, {item, element, live});
  return element;
}

const sum = (numbers, part) => numbers.reduce((all, each) => all + part(each), 0);

function numbersOf(nodes, pulse) {
  const found = nodes.map(number => pulse.nodes[number]).filter(Boolean);
  if (!found.length) return null;
  const calls = Math.max(...found.map(each => each.rate));
  return {
    rate: calls,
    latency: sum(found, each => each.latency * each.rate) / (calls || 1),
    waiting: sum(found, each => each.waiting),
  };
}

export function beat(pulse) {
  if (!told) return;
  by("pulse").textContent = pulse
    ? `${rate(pulse.requests)} requests and ${rate(pulse.answers)} answers per second, ${milliseconds(pulse.latency)} from one to the other`
    : "Nobody uses it now";
  for (const [key, {item, element, live}] of items) {
    let text = "", waiting = 0, moves = false;
    if (pulse && (item.look === "node" || item.look === "folded")) {
      const numbers = numbersOf(item.nodes, pulse);
      if (numbers?.rate) text = `${rate(numbers.rate)}/s  ${milliseconds(numbers.latency)}`;
      moves = Boolean(numbers?.rate);
    } else if (pulse && item.look !== "group" && key.startsWith("stream:")) {
      const name = key.slice("stream:".length);
      const flow = pulse.streams[name] ?? 0;
      waiting = pulse.waiting[name] ?? 0;
      moves = flow > 0;
      if (moves) text = `${rate(flow)}/s`;
      if (waiting) text += `  ${waiting} wait`;
    }
    live.textContent = text;
    element.classList.toggle("moves", moves);
    element.classList.toggle("waits", waiting > 0);
  }
  rows(by("nodes").tBodies[0], table(pulse));
}

function table(pulse) {
  const nodes = told.items.filter(each => each.look === "node" || each.look === "folded");
  return nodes.map(({lines, nodes: numbers}) => {
    const found = pulse && numbers.map(number => pulse.nodes[number]).filter(Boolean);
    if (!found?.length) return [lines[0], "–", "–", "–", "–"];
    return [lines[0], rate(Math.max(...found.map(each => each.rate))), milliseconds(sum(found, each => each.busy)),
      milliseconds(sum(found, each => each.latency)), String(sum(found, each => each.waiting))];
  });
}
