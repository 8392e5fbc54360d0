// The page of one node: takes what the node tells (see replicator/faces/http/pulse.py) and draws it.

import { Conflicts } from "./conflicts.js";
import { arrange, byId, bytes, clock, el, number, plural, rate, seconds, setText, shown } from "./dom.js";
import { Graph } from "./graph.js";
import { drawPeers } from "./peers.js";
import { Plots } from "./plots.js";
import { Stream } from "./stream.js";
import { Token } from "./token.js";

const EVENTS_MAX = 200;

const graph = new Graph(byId("graph"));
const plots = new Plots(byId("plots"));
const conflicts = new Conflicts(settle, () => token.ask());
const events = new Map();
let lastConflicts = { open: null, locked: false, listed: [] };
let isDown = false;

const token = new Token(() => stream.restart());
const stream = new Stream("events", () => token.text, {
  event: take,
  lost: (why) => live(false, why),
  denied: () => token.wasWrong(),
});

function take(kind, content) {
  live(true);
  if (kind === "state") begin(content);
  else if (kind === "tick") tick(content);
  else if (kind === "happenings") happened(content);
  else if (kind === "conflicts") drawConflicts(content);
}

function begin(state) {
  plots.begin(state.history);
  tick(state);
  events.clear();
  happened(state.happenings);
  drawConflicts(state.conflicts);
}

function tick(state) {
  drawHead(state.node);
  plots.showReads(state.node.clients !== null);
  if (state.point) plots.add(state.point);
  drawTiles(state.node, state.point);
  graph.draw(state.node, state.peers, state.unmet);
  drawPeers(state.peers, state.unmet, state.node.members - 1);
}

function drawHead(node) {
  setText(byId("name"), node.name);
  setText(byId("about"), `cluster ${node.cluster} · ${node.address ?? "not listening"} · replicator ${node.version}`);
  const isReady = !node.faults.length;
  pill(byId("ready"), isReady ? "ok" : "bad", isReady ? "ready" : "not ready");
  const faults = byId("faults");
  faults.hidden = isReady;
  if (faults.dataset.told !== node.faults.join("\n")) {
    faults.dataset.told = node.faults.join("\n");
    arrange(faults, node.faults.map((fault) => el("li", {}, fault)));
    if (!isReady) say("This node is not ready: see above", true);
  }
  token.isSet(node.has_token);
  if (conflicts.canSettle !== node.has_token) {
    conflicts.canSettle = node.has_token;
    conflicts.draw(lastConflicts);
  }
  const marks = [isReady ? "" : "!", node.conflicts_open ? `(${node.conflicts_open})` : ""].join("");
  document.title = `${marks ? `${marks} ` : ""}${node.name} · replicator`;
}

const tiles = new Map();

function drawTiles(node, point) {
  const latest = point ?? plots.points[plots.points.length - 1];
  const of = (name) => (latest ? latest[plots.fields[name]] : 0);
  const share = node.entries ? node.held_by_all / node.entries : 1;
  const wanted = [
    ["Writes", `${rate(of("writes"))}/s`, `${number(node.writes)} since start`, ""],
    ["From peers", `${rate(of("records_in"))}/s`, `${bytes(of("bytes_in"))}/s`, ""],
    ["To peers", `${rate(of("records_out"))}/s`, `${bytes(of("bytes_out"))}/s`, ""],
    [
      "Furthest behind",
      number(of("lag_entries")),
      of("lag_entries") ? `writes, for ${seconds(of("lag_seconds"))}` : "writes: nobody lacks any",
      of("lag_seconds") > 60 ? "warn" : "",
    ],
    [
      "Held by all",
      share === 1 ? "100 %" : `${(Math.floor(share * 1000) / 10).toLocaleString()} %`,
      `of ${plural(node.entries, "write", "writes")}, on disk`,
      "",
    ],
    [
      "Members",
      number(node.members),
      node.silent ? `${number(node.silent)} silent` : "all heard of",
      node.silent ? "warn" : "",
    ],
    ["Deletes kept", number(node.tombstones), "until all have them", ""],
    [
      "Disk free",
      node.disk_free_bytes === null ? "–" : bytes(node.disk_free_bytes),
      node.clients === null ? "" : plural(node.clients, "client", "clients"),
      "",
    ],
  ];
  arrange(byId("tiles"), wanted.map(([name, value, below, kind]) => tile(name, value, below, kind)));
}

function tile(name, value, below, kind) {
  let found = tiles.get(name);
  if (!found) {
    found = { value: el("dd", { class: "value" }), below: el("dd", { class: "below muted" }) };
    found.all = el("div", {}, el("dt", {}, name), found.value, found.below);
    tiles.set(name, found);
  }
  setText(found.value, value);
  setText(found.below, below);
  found.all.className = `tile ${kind}`;
  return found.all;
}

function happened(told) {
  for (const one of told) {
    events.delete(one.id);
    events.set(one.id, { told: one, line: eventLine(one) });
  }
  while (events.size > EVENTS_MAX) events.delete(events.keys().next().value);
  const newest = [...events.values()].reverse().map((one) => one.line);
  arrange(byId("events"), newest.length ? newest : [el("li", { class: "muted" }, "Nothing has happened yet.")]);
}

const NAMES = {
  connect: "connected",
  connection: "connected",
  round: "round",
  conflict: "conflict",
  difference: "difference",
  error: "error",
  settled: "settled",
};

function eventLine(one) {
  return el(
    "li",
    { class: `is-${one.kind}` },
    el("time", { datetime: new Date(one.at_ms).toISOString() }, clock(one.at_ms)),
    el("span", { class: "kind" }, NAMES[one.kind] ?? one.kind),
    el("span", { class: "text" }, one.text, one.key ? [" ", shown(one.key)] : null, one.times > 1 ? el("small", { class: "muted" }, ` (${number(one.times)} ${one.kind === "round" ? "rounds" : "times"})`) : null),
  );
}

function drawConflicts(told) {
  if (told.open > (lastConflicts.open ?? told.open)) say(`${plural(told.open, "key is", "keys are")} in conflict`);
  lastConflicts = told;
  conflicts.draw(told);
}

async function settle(conflict, version) {
  if (!token.text && !(await token.ask())) return;
  let answer;
  try {
    answer = await fetch("conflicts/resolve", {
      method: "POST",
      headers: { Authorization: `Bearer ${token.text}`, "Content-Type": "application/json" },
      body: JSON.stringify({ key: conflict.key, dot: version.dot, seen: conflict.dots }),
    });
  } catch {
    say("Not settled: the node cannot be reached", true);
    return;
  }
  const told = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (answer.status === 401) token.wasWrong();
  if (!answer.ok) say(`Not settled: ${told.error}`, true);
  else if (told.settled) say("Settled, here and at every node that gets it");
  else say("Another version has come meanwhile: look at the key again", true);
}

function live(isLive, why) {
  pill(byId("live"), isLive ? "ok" : "bad", isLive ? "live" : "not connected");
  document.body.classList.toggle("stale", !isLive);
  if (isLive === !isDown) return;
  isDown = !isLive;
  say(isLive ? "Connected again" : `Not connected: ${why}. Trying again.`, isDown);
}

function pill(element, kind, text) {
  element.className = `pill ${kind}`;
  setText(element, text);
}

let saidUntil;

function say(text, isBad = false) {
  const said = byId("said");
  said.textContent = text;
  said.className = `said on${isBad ? " bad" : ""}`;
  clearTimeout(saidUntil);
  saidUntil = setTimeout(() => said.classList.remove("on"), 7000);
}

token.onSaid = say;
stream.run();
