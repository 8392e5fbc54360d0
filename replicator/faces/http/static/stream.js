// Server-sent events by fetch: unlike EventSource it can send the token as a header, which no URL
// and no log then holds. Every connection begins with the whole state, so nothing is resumed.

const SILENCE_MS = 40000;
const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 15000;

export class Stream {
  constructor(url, token, handlers) {
    this.url = url;
    this.token = token;
    this.handlers = handlers;
    this.abort = new AbortController();
    this.pause = PAUSE_MS_MIN;
  }

  // Connect again, with what is known now.
  restart() {
    this.isRestarting = true;
    this.abort.abort();
    this.wake?.();
  }

  async run() {
    for (;;) {
      this.abort = new AbortController();
      this.isRestarting = false;
      let why;
      try {
        why = await this.once(this.abort.signal);
      } catch {
        why = this.abort.signal.aborted ? "it said nothing for too long" : "it cannot be reached";
      }
      if (this.isRestarting) {
        this.pause = PAUSE_MS_MIN;
        continue;
      }
      this.handlers.lost(why);
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, this.pause * (0.75 + Math.random() / 2));
      });
      this.pause = Math.min(this.pause * 2, PAUSE_MS_MAX);
    }
  }

  async once(signal) {
    const token = this.token();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(this.url, { headers, signal, cache: "no-store", redirect: "error" });
    if (answer.status === 401) {
      this.handlers.denied();
      return "the token is wrong";
    }
    if (!answer.ok) return (await answer.text()).trim().slice(0, 200) || `status ${answer.status}`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const silence = setTimeout(() => this.abort.abort(), SILENCE_MS);
      const { value, done } = await reader.read();
      clearTimeout(silence);
      if (done) return "the connection was closed";
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      parts.forEach((part) => this.take(part));
      this.pause = PAUSE_MS_MIN;
    }
  }

  take(part) {
    let kind = "message";
    const data = [];
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    if (data.length) this.handlers.event(kind, JSON.parse(data.join("\n")));
  }
}
