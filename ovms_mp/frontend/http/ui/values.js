// Values of tensors as texts in JSON, none of them rounded: JavaScript's numbers have 53
// bits, and its JSON neither NaN nor infinity.

const ARRAYS = {FP32: Float32Array, FP64: Float64Array, FP16: Uint16Array, BF16: Uint16Array, BOOL: Uint8Array, INT8: Int8Array,
  INT16: Int16Array, INT32: Int32Array, INT64: BigInt64Array, UINT8: Uint8Array, UINT16: Uint16Array, UINT32: Uint32Array, UINT64: BigUint64Array};
const TEXTS = {FP32: short, FP64: number, BOOL: value => value ? "true" : "false",
  FP16: bits => short(half(bits)), BF16: bits => short(new Float32Array(new Uint32Array([bits << 16]).buffer)[0])};

// The first values of a tensor, as many as `count`, and whether there are more.
export function texts(datatype, bytes, count) {
  if (datatype === "BYTES") return elements(bytes, count);
  const kind = ARRAYS[datatype] ?? Uint8Array, length = Math.floor(bytes.length / kind.BYTES_PER_ELEMENT);
  const first = new kind(bytes.slice(0, Math.min(count, length) * kind.BYTES_PER_ELEMENT).buffer);
  return {values: Array.from(first, TEXTS[datatype] ?? String), isCut: length > count};
}

// What a form has where nobody has written values: "" for too many of them.
export function zeros(datatype, shape, most) {
  const count = shape.reduce((all, each) => all * each, 1);
  return count <= most ? JSON.stringify(Array(count).fill(zero(datatype))) : "";
}

export const zero = datatype => datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0;

function number(value) {
  return Number.isFinite(value) ? Object.is(value, -0) ? "-0" : String(value) : JSON.stringify(String(value));
}

// As few digits as say which number of 32 bits it is.
function short(value) {
  const few = [6, 7, 8].map(digits => Number(value.toPrecision(digits)));
  return number(few.find(each => Object.is(Math.fround(each), value)) ?? value);
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

// Each stands behind its length.
function elements(bytes, count) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), values = [];
  let at = 0;
  while (at + 4 <= bytes.length && values.length < count) {
    const from = at + 4;
    at = from + view.getUint32(at, true);
    values.push(element(bytes.subarray(from, at)));
  }
  return {values, isCut: at < bytes.length};
}

function element(bytes) {
  try { return JSON.stringify(new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(bytes)); }
  catch { return JSON.stringify({b64: btoa(Array.from(bytes, each => String.fromCharCode(each)).join(""))}); }
}
