// The list of peers: a table that becomes a list of cards where the screen is narrow.

import { byId, el, number, plural, renew, seconds } from "./dom.js";

const COLUMNS = ["Node", "State", "Behind", "For", "Received", "Sent", "Version"];

const body = el("tbody");
const table = el(
  "table",
  {},
  el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
  body,
);

export function drawPeers(peers, unmet, total) {
  renew(body, [...peers.map(peerRow), ...unmet.map(unmetRow)]);
  const parts = peers.length || unmet.length
    ? [table]
    : [el("p", { class: "muted" }, "No other node is known. Name one with --peer, or let discovery find it.")];
  if (total > peers.length) parts.push(el("p", { class: "muted" }, `and ${plural(total - peers.length, "node", "nodes")} more`));
  renew(byId("peers"), parts);
}

function peerRow(peer) {
  const address = peer.addresses.length ? peer.addresses[0] : "";
  return el(
    "tr",
    { class: peer.alive ? null : "silent" },
    el("th", { scope: "row" }, el("span", { class: "name" }, peer.name), el("small", { class: "muted" }, address)),
    cell("State", state(peer)),
    cell("Behind", peer.lag_entries ? plural(peer.lag_entries, "write", "writes") : "nothing", peer.lag_entries ? "warn" : ""),
    cell("For", peer.lag_entries ? seconds(peer.lag_seconds) : "–"),
    cell("Received", peer.records_in === undefined ? "–" : number(peer.records_in)),
    cell("Sent", peer.records_out === undefined ? "–" : number(peer.records_out)),
    cell("Version", peer.version || "–"),
  );
}

function unmetRow(one) {
  return el(
    "tr",
    { class: "silent" },
    el("th", { scope: "row" }, el("span", { class: "name" }, one.address)),
    el("td", { "data-label": "State", colspan: COLUMNS.length - 1 }, mark("bad", "never reached"), one.error ? el("small", { class: "muted" }, one.error) : null),
  );
}

function state(peer) {
  const parts = [];
  if (peer.blocked) parts.push(mark("bad", "blocked: look into it"));
  else if (!peer.alive) parts.push(mark("bad", `silent for ${seconds(peer.seen_seconds)}`));
  else if (peer.connected) parts.push(mark("ok", peer.direction === "accepted" ? "talking, it dialled" : "talking, dialled"));
  else parts.push(mark("idle", `in touch, ${seconds(peer.seen_seconds)} ago`));
  if (peer.error) parts.push(el("small", { class: "muted" }, peer.error));
  return parts;
}

function mark(kind, text) {
  return el("span", { class: `mark ${kind}` }, text);
}

function cell(label, content, kind = "") {
  return el("td", { "data-label": label, class: kind || null }, content);
}
