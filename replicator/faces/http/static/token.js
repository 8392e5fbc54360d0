// The admin token: asked for when it is needed, kept for this tab alone.

import { byId, setText } from "./dom.js";

const PLACE = "replicator-token";

export class Token {
  constructor(onChange) {
    this.onChange = onChange;
    this.text = sessionStorage.getItem(PLACE);
    this.button = byId("token");
    this.dialog = byId("ask");
    this.input = byId("ask-token");
    this.button.addEventListener("click", () => (this.text ? this.set(null) : this.ask()));
    byId("ask-cancel").addEventListener("click", () => this.dialog.close());
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.set(this.input.value.trim() || null);
      this.dialog.close();
    });
    this.dialog.addEventListener("close", () => {
      this.input.value = "";
      this.answered?.(Boolean(this.text));
      this.answered = null;
    });
    this.draw();
  }

  // Whether the node has a token at all.
  isSet(isIt) {
    this.button.hidden = !isIt;
  }

  set(text) {
    this.text = text;
    if (text) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
    byId("ask-wrong").hidden = true;
    this.draw();
    this.onChange();
  }

  draw() {
    setText(this.button, this.text ? "Forget token" : "Enter token");
  }

  wasWrong() {
    if (!this.text) return;
    this.set(null);
    const wrong = byId("ask-wrong");
    setText(wrong, "The node does not take this token.");
    wrong.hidden = false;
    this.ask();
  }

  // Ask for it; whether there is one then.
  ask() {
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
    return new Promise((resolve) => {
      this.answered = resolve;
    });
  }
}
