// A trace drawn: a row for each track, time from left to right, a colour for each packet.

import {by, draw} from "./elements.js";

const ROW = 18, LEFT = 210, WIDTH = 1100; // pixels
const FRAMES = 6; // whose time is shown
const LEAST = 1000, MOST = 2_000_000; // microseconds

export function timeline(events) {
  const names = new Map(), runs = new Map();
  for (const {ph, name, pid, tid, args} of events) {
    if (ph !== "M") continue;
    if (name === "process_name") runs.set(pid, args.name);
    if (name === "thread_name") names.set(`${pid} ${tid}`, args.name);
  }
  const slices = events.filter(each => each.ph === "X" && each.dur >= 1);
  const busiest = most(slices.map(each => each.pid));
  const mine = slices.filter(each => each.pid === busiest).sort((one, other) => one.ts - other.ts);
  if (!mine.length) {
    by("timeline").replaceChildren();
    return "";
  }
  const [middle, end] = span(mine);
  const seen = mine.filter(each => each.ts < end && each.ts + each.dur > middle);
  const tracks = [...new Set(seen.map(each => each.tid))].sort((one, other) => one - other);
  const x = ts => LEFT + (ts - middle) / (end - middle) * (WIDTH - LEFT);
  const height = ROW * tracks.length + 24;
  const svg = draw("svg", {viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: "img", "aria-label": `The time of some packets of ${runs.get(busiest)}`});
  tracks.forEach((tid, number) => {
    const y = number * ROW;
    svg.append(draw("line", {x1: 0, x2: WIDTH, y1: y + ROW, y2: y + ROW, class: "grid"}),
      draw("text", {x: 0, y: y + 13, class: "lane"}, cut(names.get(`${busiest} ${tid}`) ?? "")));
  });
  for (const each of seen) {
    const left = Math.max(x(each.ts), LEFT), right = Math.min(x(each.ts + each.dur), WIDTH);
    const isPart = each.cat === "inference";
    const bar = draw("rect", {x: left, y: tracks.indexOf(each.tid) * ROW + (isPart ? 7 : 2), width: Math.max(right - left, .8), height: isPart ? 6 : 13, rx: 1.5},
      draw("title", {}, `${each.name}\n${(each.dur / 1000).toFixed(2)} ms\ntimestamp ${each.args.timestamp}`));
    bar.style.fill = colour(each.args.timestamp, each.name.endsWith("waits its turn") ? 82 : isPart ? 30 : each.cat === "queue" ? 75 : 52);
    svg.append(bar);
  }
  const step = 10 ** Math.floor(Math.log10((end - middle) / 2));
  for (let at = 0; at <= end - middle; at += step) {
    svg.append(draw("text", {x: x(middle + at), y: height - 6, class: "lane"}, `${at / 1000} ms`));
  }
  by("timeline").replaceChildren(svg);
  return `${((end - middle) / 1000).toFixed(0)} ms of ${runs.get(busiest)}`;
}

// From the middle on, until so many more have come.
function span(slices) {
  const came = slices.filter(each => each.name === "enters").map(each => each.ts);
  const from = Math.max(Math.floor((came.length - FRAMES) / 2), 0);
  const begun = came[from] ?? slices[0].ts, last = slices.at(-1);
  const until = came[from + FRAMES] ?? last.ts + last.dur;
  return [begun, begun + Math.min(Math.max(until - begun, LEAST), MOST)];
}

const cut = text => {
  const short = text.replace("Calculator", "");
  return short.length > 34 ? `${short.slice(0, 33)}…` : short;
};
const colour = (timestamp, light) => `hsl(${(timestamp % 7) * 51} 60% ${light}%)`;

function most(values) {
  const counts = new Map();
  for (const each of values) counts.set(each, (counts.get(each) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1])[0]?.[0];
}
