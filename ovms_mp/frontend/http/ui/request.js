// A form made of what a servable says it takes, and what it answers.

import {ask, opened, Refused} from "./asking.js";
import {by, make, show} from "./elements.js";
import {texts, zero, zeros} from "./values.js";

const DATATYPES = ["FP32", "UINT8", "INT64", "INT32", "BYTES", "BOOL", "FP16", "FP64", "INT8", "INT16", "UINT16", "UINT32", "UINT64", "BF16"];
const MAX_SHOWN = 2000; // characters of one output
const MAX_FILLED = 4096; // values that are written into a form
let name = "";

const section = () => by("request");
const said = () => section().querySelector("output");

export async function offer(servable) {
  name = servable;
  const form = section().querySelector("form");
  const metadata = await (await ask(`/v2/models/${encodeURIComponent(servable)}`)).json();
  if (name !== servable) return;
  section().hidden = false;
  const told = JSON.stringify([servable, metadata.inputs]);
  if (form.told === told) return; // what is written there stays
  form.told = told;
  section().querySelector(".answer").replaceChildren();
  said().textContent = "";
  form.replaceChildren(...metadata.inputs.map(input), make("button", {}, "Send"));
  form.onsubmit = event => { event.preventDefault(); send(form, metadata.inputs); };
}

function input({name, datatype, shape}) {
  const isKnown = datatype !== "INVALID";
  const sizes = (isKnown && shape.length ? shape : [1]).map(each => each < 0 ? 1 : each);
  const types = isKnown ? [datatype, ...(datatype === "BYTES" ? [] : ["BYTES"])] : DATATYPES;
  const field = make("fieldset", {},
    make("legend", {}, `${name}${isKnown ? ` ${datatype} [${shape.join(", ")}]` : ""}`),
    make("div", {class: "row"},
      make("label", {}, "Datatype ", select(types)),
      make("label", {}, "Shape ", make("input", {name: "shape", value: sizes.join(", "), inputmode: "numeric"})),
      make("label", {}, "A picture instead ", make("input", {name: "file", type: "file", accept: "image/png,image/jpeg"}))),
    make("label", {}, "Values, as JSON ", make("textarea", {name: "data", spellcheck: "false"})),
    make("p", {class: "dim"}, "Without values all are zero."));
  field.name = name;
  fill(field);
  for (const each of ["datatype", "shape"]) part(field, each).oninput = () => fill(field);
  return field;
}

const part = (field, name) => field.querySelector(`[name=${name}]`);
const sizesOf = field => part(field, "shape").value.split(",").map(each => each.trim()).filter(Boolean).map(Number);

// With zeros, as long as nobody has written anything else.
function fill(field) {
  const values = part(field, "data");
  if (values.value !== (field.filled ?? "")) return;
  const sizes = sizesOf(field), isShape = sizes.every(each => Number.isSafeInteger(each) && each >= 0);
  field.filled = values.value = isShape ? zeros(part(field, "datatype").value, sizes, MAX_FILLED) : "";
}

const select = types => make("select", {name: "datatype"}, ...types.map(each => make("option", {}, each)));

async function send(form, inputs) {
  const button = form.querySelector("button");
  button.disabled = true;
  said().textContent = "Asking";
  const begun = performance.now();
  try {
    const {json, contents} = asked(form, inputs);
    const head = new TextEncoder().encode(json);
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
  const fields = [...form.querySelectorAll("fieldset")], tensors = [], contents = [];
  inputs.forEach(({name}, number) => {
    const field = fields[number], file = part(field, "file").files[0];
    if (file) {
      tensors.push(JSON.stringify({name, datatype: "BYTES", shape: [1], ...(inputs.length > 1 ? {parameters: {binary_data_size: file.size}} : {})}));
      contents.push(file);
      return;
    }
    const shape = sizesOf(field), count = shape.reduce((all, each) => all * each, 1);
    if (!Number.isSafeInteger(count)) throw new Error(`${name}: the shape is numbers, with commas between them`);
    const datatype = part(field, "datatype").value, text = part(field, "data").value.trim();
    try { if (text) JSON.parse(text); }
    catch { throw new Error(`${name}: the values are no JSON`); }
    // As it was written: numbers may have more digits than JavaScript's.
    const data = text || JSON.stringify(Array(count).fill(zero(datatype)));
    tensors.push(`${JSON.stringify({name, datatype, shape}).slice(0, -1)},"data":${data}}`);
  });
  return {json: `{"inputs":[${tensors}],"parameters":{"binary_data_output":true}}`, contents};
}

function output({name, datatype, shape, bytes}) {
  const heading = make("p", {}, make("strong", {}, name), ` ${datatype} [${shape.join(", ")}]`);
  if (datatype === "UINT8" && shape.length === 3 && shape[2] === 3) {
    const canvas = make("canvas", {role: "img", "aria-label": `Output ${name}`});
    show(canvas, shape, bytes);
    return make("div", {}, heading, canvas);
  }
  const {values, isCut} = texts(datatype, bytes, MAX_SHOWN);
  const text = `[${values}]`;
  return make("div", {}, heading, make("pre", {tabindex: "0"}, isCut || text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)} …` : text));
}
