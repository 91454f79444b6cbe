// The camera, or a clip, through a graph: each frame is drawn as it comes back.

import {message, opened, stream} from "./asking.js";
import {by, isPicture, make, show} from "./elements.js";

const IN_FLIGHT = 3; // frames on their way: the graph works while others travel
const PATIENCE = 2000; // milliseconds over which frames per second are counted
const film = Object.assign(document.createElement("video"), {muted: true, loop: true, playsInline: true});
let socket = null, graph = "", offered = "", attempt = 0;

const form = () => by("camera").querySelector("form");
const said = text => { by("camera").querySelector("output").textContent = text; };

export function offer(name, {inputs, outputs}) {
  const told = JSON.stringify([name, inputs, outputs]);
  if (told === offered) return; // it may be at work
  stop();
  offered = told;
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
  offered = "";
  by("camera").hidden = true;
}

function stop() {
  attempt += 1;
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
  const mine = attempt; // another may begin while the camera is waited for
  form().stop.disabled = false;
  try {
    const [clip] = form().clip.files;
    if (clip) film.src = URL.createObjectURL(clip);
    else if (navigator.mediaDevices) {
      const camera = await navigator.mediaDevices.getUserMedia({video: true});
      if (mine !== attempt) { camera.getTracks().forEach(each => each.stop()); return; }
      film.srcObject = camera;
    } else throw new Error("A browser gives the camera to pages of localhost or https alone; choose a clip.");
    await film.play();
    if (mine === attempt) run(form().input.value, form().output.value);
  } catch (error) {
    if (mine !== attempt) return;
    stop();
    said(error.message);
  }
}

function run(input, output) {
  const page = new OffscreenCanvas(film.videoWidth, film.videoHeight);
  const sent = new Map(), shown = []; // by timestamp, when; and when frames were drawn
  const mine = socket = stream(graph);
  let timestamp = 0, coming = 0; // frames that are being compressed

  async function feed() {
    coming += 1;
    page.getContext("2d").drawImage(film, 0, 0);
    const jpeg = await page.convertToBlob({type: "image/jpeg", quality: 0.9});
    coming -= 1;
    if (mine.readyState !== WebSocket.OPEN) return;
    sent.set(++timestamp, performance.now());
    const parameters = {binary_data_output: true, OVMS_MP_TIMESTAMP: timestamp};
    mine.send(message({inputs: [{name: input, shape: [1], datatype: "BYTES"}], parameters}, jpeg));
  }

  const refill = () => { while (sent.size + coming < IN_FLIGHT) feed(); };
  mine.onopen = refill;
  mine.onmessage = ({data}) => {
    if (mine !== socket) return;
    if (typeof data === "string") { stop(); said(JSON.parse(data).error); return; }
    const {outputs, parameters} = opened(data, new DataView(data).getUint32(0), 4);
    const picture = outputs.find(each => each.name === output);
    if (!picture) return;
    if (!isPicture(picture)) {
      stop();
      said(`${output} is ${picture.datatype} [${picture.shape.join(", ")}], which is no picture for a page`);
      return;
    }
    show(by("camera").querySelector("canvas"), picture.shape, picture.bytes);
    const now = performance.now(), took = now - sent.get(parameters.OVMS_MP_TIMESTAMP);
    for (const each of sent.keys()) { // those before it were dropped
      if (each <= parameters.OVMS_MP_TIMESTAMP) sent.delete(each);
    }
    shown.push(now);
    while (now - shown[0] > PATIENCE) shown.shift();
    const fps = shown.length > 1 ? (shown.length - 1) / (now - shown[0]) * 1000 : 0;
    said(`${fps.toFixed(1)} frames per second, ${took.toFixed(0)} ms each`);
    refill();
  };
  mine.onclose = ({code, reason}) => {
    if (mine !== socket) return;
    const isWell = code === 1000 || code === 1005;
    stop();
    said(isWell ? "The stream has ended" : reason || "The server has gone");
  };
}
