// Who talks to whom, as this node sees it: itself in the middle, everybody else around it.

import { plural, renew, seconds, svg } from "./dom.js";

const WIDTH = 560;
const HEIGHT = 320;
const DRAWN_MAX = 24;
const NAME_CHARACTERS = 15;
const SELF_HALF = 19;

export class Graph {
  constructor(place) {
    this.image = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "graph" });
    place.append(this.image);
    this.defs = svg(
      "defs",
      {},
      svg(
        "marker",
        { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
        svg("path", { d: "M0 0L8 4L0 8Z" }),
      ),
    );
    this.before = new Map();
  }

  draw(node, peers, unmet) {
    const others = [
      ...peers.map((peer) => ({ ...peer, id: peer.origin })),
      ...unmet.map((one) => ({ name: one.address, id: one.address, isUnmet: true, error: one.error })),
    ];
    const drawn = others.slice(0, DRAWN_MAX);
    const half = Math.max(30, [...cut(node.name)].length * 4.4 + 14);
    const parts = [this.defs];
    const places = around(drawn.length);
    drawn.forEach((other, place) => parts.push(this.edge(other, places[place], half)));
    drawn.forEach((other, place) => parts.push(this.peer(other, places[place])));
    parts.push(middle(node.name, drawn.length, half));
    if (others.length > drawn.length) {
      const more = `and ${others.length - drawn.length} more, in the list below`;
      parts.push(svg("text", { x: WIDTH / 2, y: HEIGHT - 4, class: "note" }, more));
    }
    renew(this.image, parts);
    this.image.setAttribute("aria-label", spoken(node, peers, unmet));
    this.before = new Map(peers.map((peer) => [peer.origin, flow(peer)]));
  }

  edge(other, { x, y }, half) {
    const [mx, my] = [WIDTH / 2, HEIGHT / 2];
    const length = Math.hypot(x - mx, y - my);
    const [dx, dy] = [(x - mx) / length, (y - my) / length];
    // Where it leaves the box in the middle.
    const out = Math.min(half / Math.abs(dx || 1e-9), SELF_HALF / Math.abs(dy || 1e-9)) + 6;
    const attributes = {
      x1: (mx + dx * out).toFixed(1),
      y1: (my + dy * out).toFixed(1),
      x2: (x - dx * 21).toFixed(1),
      y2: (y - dy * 21).toFixed(1),
      class: `edge ${kind(other)}${this.isFlowing(other) ? " flowing" : ""}`,
    };
    if (other.direction === "dialled" || other.isUnmet) attributes["marker-end"] = "url(#arrow)";
    if (other.direction === "accepted") attributes["marker-start"] = "url(#arrow)";
    return svg("line", attributes);
  }

  peer(other, { x, y, isBelow }) {
    return svg(
      "g",
      { class: `peer ${kind(other)}` },
      svg("title", {}, `${other.name}: ${told(other)}`),
      svg("circle", { cx: x, cy: y, r: 15 }),
      svg("text", { x, y: y + (isBelow ? 31 : -22), class: "name" }, cut(other.name)),
      svg("text", { x, y: y + 4, class: "inside" }, other.isUnmet ? "?" : badge(other)),
    );
  }

  isFlowing(other) {
    const before = this.before.get(other.id);
    return before !== undefined && before !== flow(other);
  }
}

function around(count) {
  const [rx, ry] = [WIDTH / 2 - 85, HEIGHT / 2 - 48];
  return Array.from({ length: count }, (_, place) => {
    const angle = (count === 1 ? 0 : -Math.PI / 2 + (count === 2 ? Math.PI / 2 : 0)) + (place * 2 * Math.PI) / count;
    const y = HEIGHT / 2 + ry * Math.sin(angle);
    return { x: WIDTH / 2 + rx * Math.cos(angle), y, isBelow: y >= HEIGHT / 2 };
  });
}

function middle(name, count, half) {
  return svg(
    "g",
    { class: "self" },
    svg("title", {}, `${name}: this node`),
    svg("rect", { x: WIDTH / 2 - half, y: HEIGHT / 2 - SELF_HALF, width: 2 * half, height: 2 * SELF_HALF, rx: 10 }),
    svg("text", { x: WIDTH / 2, y: HEIGHT / 2 + 5, class: "inside" }, cut(name)),
    count ? null : svg("text", { x: WIDTH / 2, y: HEIGHT / 2 + 48, class: "note" }, "alone: no other node is known"),
  );
}

function kind(other) {
  if (other.isUnmet || !other.alive) return "silent";
  return other.connected ? "talking" : "idle";
}

function flow(other) {
  return (other.records_in ?? 0) + (other.records_out ?? 0);
}

function badge(other) {
  if (other.lag_entries === 0) return "✓";
  return other.lag_entries > 999 ? "999+" : String(other.lag_entries);
}

function told(other) {
  if (other.isUnmet) return `never reached${other.error ? `: ${other.error}` : ""}`;
  const state = other.alive ? (other.connected ? "talking now" : "in touch") : `silent for ${seconds(other.seen_seconds)}`;
  return `${state}, ${other.lag_entries ? `${plural(other.lag_entries, "write", "writes")} behind` : "has everything"}`;
}

function spoken(node, peers, unmet) {
  if (!peers.length && !unmet.length) return `${node.name} is alone`;
  const lines = peers.map((peer) => `${peer.name}: ${told(peer)}`);
  return `${node.name} and its peers. ${lines.concat(unmet.map((one) => `${one.address}: never reached`)).join(". ")}`;
}

function cut(name, most = NAME_CHARACTERS) {
  const characters = [...name];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : name;
}
