// Elements are made, never written: what a server or a client says is only ever text.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export const make = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const draw = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

export const by = id => document.getElementById(id);

// Rows are written anew only where they have changed, so that focus and selection stay.
export function rows(body, told) {
  const text = JSON.stringify(told);
  if (body.told === text) return;
  body.told = text;
  body.replaceChildren(...told.map(cells => make("tr", {}, ...cells.map(
    (cell, number) => number ? make("td", {}, cell) : make("th", {scope: "row"}, cell)))));
}

export const milliseconds = value =>
  value === null || value === undefined ? "–" : value < 10 ? `${value.toFixed(2)} ms` : `${value.toFixed(0)} ms`;

export const seconds = value =>
  value < 1 ? `${(value * 1000).toFixed(0)} ms` : value < 100 ? `${value.toFixed(1)} s` : `${(value / 60).toFixed(1)} min`;

export const rate = value => value < 10 ? value.toFixed(1) : value.toFixed(0);

export const isPicture = ({datatype, shape}) => datatype === "UINT8" && shape.length === 3 && [1, 3, 4].includes(shape[2]);

// A tensor UINT8 [height, width, channels] on a canvas: grey, or colours as they come.
export function show(canvas, [height, width, channels], bytes) {
  const picture = new ImageData(width, height), [green, blue] = channels === 1 ? [0, 0] : [1, 2];
  for (let from = 0, to = 0; to < picture.data.length; from += channels, to += 4) {
    picture.data[to] = bytes[from];
    picture.data[to + 1] = bytes[from + green];
    picture.data[to + 2] = bytes[from + blue];
    picture.data[to + 3] = channels === 4 ? bytes[from + 3] : 255;
  }
  Object.assign(canvas, {width, height});
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
