// Asks the server that the page came from, with the key if there is one. The key is kept
// for this tab alone.

const KEY = "ovms_mp key";
let wanted = () => {};

export const onKeyWanted = call => { wanted = call; };
export const useKey = key => sessionStorage.setItem(KEY, key);
// In UTF-8, for neither heads nor btoa take any other letters.
const key = () => String.fromCharCode(...new TextEncoder().encode(sessionStorage.getItem(KEY) ?? ""));

export class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

export async function ask(path, {headers = {}, ...options} = {}) {
  const shown = key() ? {authorization: `Bearer ${key()}`} : {};
  const answer = await fetch(path, {...options, headers: {...shown, ...headers}});
  if (answer.ok) return answer;
  const text = await answer.text();
  let error = text;
  try { error = JSON.parse(text).error; } catch { /* it is as it is */ }
  if (answer.status === 401) wanted();
  throw new Refused(answer.status, error);
}

// Server-sent events, by fetch, since an EventSource shows no key.
export async function follow(path, signal, told) {
  const answer = await ask(path, {signal});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) told(JSON.parse(event.slice("data: ".length)));
  }
}

const base64url = text => btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

export function stream(servable) {
  const keys = key() ? [`bearer.${base64url(key())}`] : [];
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const path = `/v2/models/${encodeURIComponent(servable)}/infer_stream`;
  const socket = new WebSocket(`${scheme}//${location.host}${path}`, ["kserve.v2", ...keys]);
  socket.binaryType = "arraybuffer";
  return socket;
}

// On a WebSocket: four bytes for the length of the JSON, the JSON, contents of tensors.
export function message(json, ...contents) {
  const head = new TextEncoder().encode(JSON.stringify(json));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, head.length);
  return new Blob([length, head, ...contents]);
}

export function opened(buffer, length, from) {
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, from, length)));
  let at = from + length;
  for (const output of json.outputs) {
    const size = output.parameters?.binary_data_size;
    if (size === undefined) continue;
    output.bytes = new Uint8Array(buffer, at, size);
    at += size;
  }
  return json;
}
