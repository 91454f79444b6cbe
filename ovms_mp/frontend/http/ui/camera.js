// The camera, or a clip, through a graph: each frame is drawn as it comes back.

import {message, opened, stream} from "./asking.js";
import {by, make, show} from "./elements.js";

const IN_FLIGHT = 3; // frames on their way: the graph works while others travel
const PATIENCE = 2000; // milliseconds over which frames per second are counted
const film = Object.assign(document.createElement("video"), {muted: true, loop: true, playsInline: true});
let socket = null, graph = "";

const form = () => by("camera").querySelector("form");
const said = text => { by("camera").querySelector("output").textContent = text; };

export function offer(name, {inputs, outputs}) {
  stop();
  graph = name;
  by("camera").hidden = !(inputs.length && outputs.length);
  for (const [select, names] of [[form().input, inputs], [form().output, outputs]]) {
    select.replaceChildren(...names.map(each => make("option", {}, each)));
  }
  said("Not started");
  form().onsubmit = event => { event.preventDefault(); start(); };
  form().stop.onclick = () => { stop(); said("Stopped"); };
}

export function withdraw() {
  stop();
  by("camera").hidden = true;
}

function stop() {
  socket?.close();
  socket = null;
  film.pause();
  film.srcObject?.getTracks().forEach(each => each.stop());
  film.srcObject = null;
  if (film.src) { URL.revokeObjectURL(film.src); film.removeAttribute("src"); }
  form().stop.disabled = true;
}

async function start() {
  stop();
  try {
    const [clip] = form().clip.files;
    if (clip) film.src = URL.createObjectURL(clip);
    else if (navigator.mediaDevices) film.srcObject = await navigator.mediaDevices.getUserMedia({video: true});
    else throw new Error("A browser gives the camera to pages of localhost or https alone; choose a clip.");
    await film.play();
    run(form().input.value, form().output.value);
    form().stop.disabled = false;
  } catch (error) { stop(); said(error.message); }
}

function run(input, output) {
  const page = new OffscreenCanvas(film.videoWidth, film.videoHeight);
  const sent = new Map(), shown = []; // by timestamp, when; and when frames were drawn
  const mine = socket = stream(graph);
  let timestamp = 0;

  async function feed() {
    page.getContext("2d").drawImage(film, 0, 0);
    const jpeg = await page.convertToBlob({type: "image/jpeg", quality: 0.9});
    if (mine.readyState !== WebSocket.OPEN) return;
    sent.set(++timestamp, performance.now());
    const parameters = {binary_data_output: true, OVMS_MP_TIMESTAMP: timestamp};
    mine.send(message({inputs: [{name: input, shape: [1], datatype: "BYTES"}], parameters}, jpeg));
  }

  mine.onopen = () => { for (let number = 0; number < IN_FLIGHT; number++) feed(); };
  mine.onmessage = ({data}) => {
    if (typeof data === "string") { said(JSON.parse(data).error); return; }
    const {outputs, parameters} = opened(data, new DataView(data).getUint32(0), 4);
    const picture = outputs.find(each => each.name === output);
    if (!picture) return;
    show(by("camera").querySelector("canvas"), picture.shape, picture.bytes);
    const now = performance.now(), took = now - sent.get(parameters.OVMS_MP_TIMESTAMP);
    sent.delete(parameters.OVMS_MP_TIMESTAMP);
    shown.push(now);
    while (now - shown[0] > PATIENCE) shown.shift();
    const fps = shown.length > 1 ? (shown.length - 1) / (now - shown[0]) * 1000 : 0;
    said(`${fps.toFixed(1)} frames per second, ${took.toFixed(0)} ms each`);
    feed();
  };
  mine.onclose = ({code, reason}) => {
    if (mine !== socket) return;
    const isWell = code === 1000 || code === 1005;
    stop();
    if (!isWell) said(reason || "The server has gone");
  };
}
