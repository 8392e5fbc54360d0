// Building elements. Whatever comes from a node is written as text, never as markup: nothing here
// takes HTML, and the page's policy (Trusted Types) would refuse it.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Make the children of an element these, leaving alone those that are there already.
export function arrange(parent, wanted) {
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

// The same for children that are drawn anew: those that look as before stay, with the reader's
// selection and place in them.
export function renew(parent, wanted) {
  arrange(parent, wanted.map((child, place) => {
    const before = parent.children[place];
    return before && before.outerHTML === child.outerHTML ? before : child;
  }));
}

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export function number(value) {
  return Math.abs(value) >= 100000 ? short.format(value) : whole.format(value);
}

export function rate(value) {
  if (value > 0 && value < 10) return value.toLocaleString(undefined, { maximumFractionDigits: 1 });
  return number(value);
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${units[place]}`;
}

export function seconds(value) {
  if (value < 1) return "< 1 s";
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString(undefined, { hour12: false });
}

export function moment(ms) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return `${ms} ms after 1970`;
  return at.toDateString() === new Date().toDateString()
    ? clock(ms)
    : at.toLocaleString(undefined, { hour12: false });
}

export function plural(count, one, many) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// A key or a value: text, or hex digits; what is cut says so.
export function shown(data) {
  const isText = data.text !== undefined;
  const text = isText ? data.text : data.hex.replace(/(..)(?=.)/g, "$1 ");
  const notes = [];
  if (!isText) notes.push("hex");
  if (data.cut) notes.push(`first part of ${bytes(data.bytes)}`);
  const code = el("code", { class: isText ? "data" : "data hex" }, text === "" ? "" : text);
  if (text === "") code.append(el("span", { class: "muted" }, "(empty)"));
  return notes.length ? el("span", {}, code, " ", el("small", { class: "muted" }, notes.join(", "))) : code;
}
