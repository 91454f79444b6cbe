// A form made of what a servable says it takes, and what it answers.

import {ask, opened, Refused} from "./asking.js";
import {by, make, show} from "./elements.js";

const DATATYPES = ["FP32", "UINT8", "INT64", "INT32", "BYTES", "BOOL", "FP16", "FP64", "INT8", "INT16", "UINT16", "UINT32", "UINT64"];
const MAX_SHOWN = 2000; // characters of one output
const MAX_FILLED = 4096; // values that are written into a form
let name = "";

const section = () => by("request");
const said = () => section().querySelector("output");

export async function offer(servable) {
  name = servable;
  const form = section().querySelector("form");
  section().hidden = true;
  section().querySelector(".answer").replaceChildren();
  said().textContent = "";
  const metadata = await (await ask(`/v2/models/${encodeURIComponent(servable)}`)).json();
  if (name !== servable) return;
  form.replaceChildren(...metadata.inputs.map(input), make("button", {}, "Send"));
  form.onsubmit = event => { event.preventDefault(); send(form, metadata.inputs); };
  section().hidden = false;
}

function input({name, datatype, shape}) {
  const isKnown = datatype !== "INVALID";
  const sizes = (isKnown && shape.length ? shape : [1]).map(each => each < 0 ? 1 : each);
  const types = isKnown ? [datatype, ...(datatype === "BYTES" ? [] : ["BYTES"])] : DATATYPES;
  const count = sizes.reduce((all, each) => all * each, 1);
  const field = make("fieldset", {},
    make("legend", {}, `${name}${isKnown ? ` ${datatype} [${shape.join(", ")}]` : ""}`),
    make("div", {class: "row"},
      make("label", {}, "Datatype ", select(types)),
      make("label", {}, "Shape ", make("input", {name: "shape", value: sizes.join(", "), inputmode: "numeric"})),
      make("label", {}, "A picture instead ", make("input", {name: "file", type: "file", accept: "image/png,image/jpeg"}))),
    make("label", {}, "Values, as JSON ", make("textarea", {name: "data", spellcheck: "false"},
      count <= MAX_FILLED ? JSON.stringify(Array(count).fill(0)) : "")),
    make("p", {class: "dim"}, "Without values all are zero."));
  field.name = name;
  return field;
}

const select = types => make("select", {name: "datatype"}, ...types.map(each => make("option", {}, each)));

async function send(form, inputs) {
  const button = form.querySelector("button");
  button.disabled = true;
  said().textContent = "Asking";
  const begun = performance.now();
  try {
    const {json, contents} = asked(form, inputs);
    const head = new TextEncoder().encode(JSON.stringify(json));
    const path = `/v2/models/${encodeURIComponent(name)}/infer`;
    const headers = {"inference-header-content-length": String(head.length), "content-type": "application/octet-stream"};
    const answer = await ask(path, {method: "POST", body: new Blob([head, ...contents]), headers});
    const length = answer.headers.get("inference-header-content-length");
    const buffer = await answer.arrayBuffer();
    const outputs = opened(buffer, length === null ? buffer.byteLength : Number(length), 0).outputs;
    said().textContent = `Answered in ${(performance.now() - begun).toFixed(0)} ms`;
    section().querySelector(".answer").replaceChildren(...outputs.map(output));
  } catch (error) {
    said().textContent = error instanceof Refused ? `${error.code}: ${error.message}` : error.message;
    section().querySelector(".answer").replaceChildren();
  } finally { button.disabled = false; }
}

function asked(form, inputs) {
  const fields = [...form.querySelectorAll("fieldset")], tensors = [], contents = [], images = {};
  inputs.forEach(({name}, number) => {
    const part = which => fields[number].querySelector(`[name=${which}]`);
    const file = part("file").files[0];
    if (file) {
      tensors.push({name, datatype: "BYTES", shape: [1], ...(inputs.length > 1 ? {parameters: {binary_data_size: file.size}} : {})});
      contents.push(file);
      return;
    }
    const shape = part("shape").value.split(",").map(each => each.trim()).filter(Boolean).map(Number);
    const count = shape.reduce((all, each) => all * each, 1);
    if (!Number.isSafeInteger(count)) throw new Error(`${name}: the shape is numbers, with commas between them`);
    const datatype = part("datatype").value, text = part("data").value.trim();
    let data;
    try { data = text ? JSON.parse(text) : Array(count).fill(datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0); }
    catch { throw new Error(`${name}: the values are no JSON`); }
    tensors.push({name, datatype, shape, data});
  });
  return {json: {inputs: tensors, parameters: {binary_data_output: true}, ...images}, contents};
}

function output({name, datatype, shape, data, bytes}) {
  const heading = make("p", {}, make("strong", {}, name), ` ${datatype} [${shape.join(", ")}]`);
  if (bytes && datatype === "UINT8" && shape.length === 3 && shape[2] === 3) {
    const canvas = make("canvas", {role: "img", "aria-label": `Output ${name}`});
    show(canvas, shape, bytes);
    return make("div", {}, heading, canvas);
  }
  const values = data ?? [...(arrays[datatype] ? new arrays[datatype](bytes.slice().buffer) : bytes)];
  const text = JSON.stringify(values, (_, value) => typeof value === "bigint" ? Number(value) : value);
  return make("div", {}, heading, make("pre", {tabindex: "0"}, text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)} …` : text));
}

const arrays = {FP32: Float32Array, FP64: Float64Array, INT8: Int8Array, INT16: Int16Array, INT32: Int32Array, INT64: BigInt64Array,
  UINT8: Uint8Array, UINT16: Uint16Array, UINT32: Uint32Array, UINT64: BigUint64Array};
