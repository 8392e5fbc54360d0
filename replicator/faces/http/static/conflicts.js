// Conflicts with their versions, and settling one.

import { arrange, byId, el, moment, number, plural, setText, shown } from "./dom.js";

const FIRST = 5;

export class Conflicts {
  // `settle` is given a conflict and a version; `ask` asks for the token.
  constructor(settle, ask) {
    this.settle = settle;
    this.ask = ask;
    this.cards = new Map();
    this.canSettle = false;
    this.isWhole = false;
  }

  draw(told) {
    const place = byId("conflicts");
    const count = byId("conflicts-count");
    setText(count, told.open === null ? "" : number(told.open));
    count.classList.toggle("some", Boolean(told.open));
    if (told.locked) {
      this.cards.clear();
      arrange(place, [this.locked(told.open)]);
      return;
    }
    const fresh = new Map();
    for (const conflict of told.listed) {
      const id = JSON.stringify([conflict, this.canSettle]);
      fresh.set(id, this.cards.get(id) ?? this.card(conflict));
    }
    this.cards = fresh;
    const parts = [...fresh.values()];
    const hidden = (told.open ?? 0) - parts.length;
    if (parts.length > FIRST && !this.isWhole) {
      const rest = parts.splice(FIRST).length;
      parts.push(this.button(`Show ${plural(rest, "more", "more")}`, told));
    }
    if (!parts.length) parts.push(el("p", { class: "muted" }, told.open === null ? "Counting…" : "No key is in conflict."));
    else if (!this.canSettle) parts.unshift(el("p", { class: "muted" }, "No admin token is set ([access] http_token_file), so conflicts are settled with: replicator resolve"));
    if (hidden > 0 && fresh.size) parts.push(el("p", { class: "muted" }, `and ${plural(hidden, "key", "keys")} more: replicator conflicts prints all`));
    arrange(place, parts);
  }

  button(text, told) {
    const more = () => {
      this.isWhole = true;
      this.draw(told);
    };
    return el("button", { type: "button", class: "quiet more", onclick: more }, text);
  }

  locked(open) {
    if (open === 0) return el("p", { class: "muted" }, "No key is in conflict.");
    return el(
      "div",
      { class: "locked" },
      el("p", {}, open === null ? "Keys and values are shown to those who have the admin token." : `${plural(open, "key is", "keys are")} in conflict. Keys and values are shown to those who have the admin token.`),
      el("button", { type: "button", onclick: () => this.ask() }, "Enter token"),
    );
  }

  card(conflict) {
    const more = conflict.dots ? conflict.dots.length - conflict.versions.length : 0;
    return el(
      "article",
      { class: "conflict" },
      el("h3", {}, el("span", { class: "muted" }, "Key "), shown(conflict.shown)),
      conflict.fault ? el("p", { class: "wrong" }, conflict.fault) : null,
      conflict.merged ? el("p", {}, "The resolver has merged them: ", shown(conflict.merged)) : null,
      el("div", { class: "versions" }, conflict.versions.map((version) => this.version(conflict, version))),
      more > 0 ? el("p", { class: "muted" }, `and ${plural(more, "version", "versions")} more`) : null,
    );
  }

  version(conflict, version) {
    const node = version.node || "a node not heard of";
    const facts = [`${node}, ${moment(version.time_ms)}`, `clock ${version.clock}`];
    if (version.expiry_ms !== null) facts.push(`expires ${moment(version.expiry_ms)}`);
    const button = el(
      "button",
      {
        type: "button",
        class: "quiet",
        disabled: !this.canSettle,
        "aria-label": `Keep the version of ${node} from ${moment(version.time_ms)}`,
      },
      version.operation === "delete" ? "Keep the delete" : "Keep this version",
    );
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await this.settle(conflict, version);
      } finally {
        button.disabled = false;
      }
    });
    return el(
      "div",
      { class: version.wins ? "version wins" : "version" },
      el("div", { class: "value", tabindex: "0" }, version.value === null ? el("em", {}, "deleted") : shown(version.value)),
      el("p", { class: "facts" }, version.wins ? el("span", { class: "mark ok" }, "shown now") : null, facts.join(" · ")),
      el("p", { class: "dot muted" }, version.dot),
      button,
    );
  }
}
