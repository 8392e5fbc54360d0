// Small plots of the last minutes, as SVG.

import { arrange, clock, el, rate, seconds, setText, svg } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 90;
const WINDOW_MS = 600000;
const COLUMNS = 200;

const PLOTS = [
  { title: "Writes here", unit: () => "/s", series: [["writes", "written"]] },
  { title: "Reads here", unit: () => "/s", series: [["reads", "read"]], optional: true },
  {
    title: "Records with peers",
    unit: () => "/s",
    series: [
      ["records_in", "received"],
      ["records_out", "sent"],
    ],
  },
  {
    title: "Furthest behind",
    unit: (count) => (count === 1 ? " write" : " writes"),
    series: [["lag_entries", "writes"]],
  },
];

export class Plots {
  constructor(place) {
    this.place = place;
    this.fields = {};
    this.points = [];
    this.plots = PLOTS.map((wanted) => new Plot(wanted, this));
  }

  // Begin anew with what the node has kept.
  begin(history) {
    this.fields = Object.fromEntries(history.fields.map((name, place) => [name, place]));
    this.points = history.points;
    this.draw();
  }

  add(point) {
    this.points.push(point);
    const oldest = point[this.fields.at_ms] - WINDOW_MS;
    while (this.points.length && this.points[0][this.fields.at_ms] < oldest) this.points.shift();
    this.draw();
  }

  showReads(isThere) {
    this.hasReads = isThere;
  }

  draw() {
    const there = this.plots.filter((plot) => !plot.wanted.optional || this.hasReads);
    arrange(this.place, there.map((plot) => plot.figure));
    there.forEach((plot) => plot.draw());
  }
}

class Plot {
  constructor(wanted, all) {
    this.wanted = wanted;
    this.all = all;
    this.now = el("output", {});
    this.top = el("span", { class: "top muted" });
    this.paths = wanted.series.map((_, place) => ({
      line: svg("path", { class: `line series${place}`, "vector-effect": "non-scaling-stroke" }),
      area: svg("path", { class: `area series${place}` }),
    }));
    this.hair = svg("line", { class: "hair", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
    this.image = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, "vector-effect": "non-scaling-stroke" }),
      this.paths.map((path) => path.area),
      this.paths.map((path) => path.line),
      this.hair,
    );
    const names = wanted.series.length > 1
      ? wanted.series.map(([, name], place) => el("span", { class: `key series${place}` }, name))
      : [];
    this.figure = el(
      "figure",
      { class: "plot" },
      el("figcaption", {}, el("span", { class: "title" }, wanted.title), names, this.now),
      el("div", { class: "drawn" }, this.image, this.top),
      el("div", { class: "axis muted", "aria-hidden": "true" }, el("span", {}, "10 min ago"), el("span", {}, "now")),
    );
    this.image.addEventListener("pointermove", (event) => this.point(event));
    this.image.addEventListener("pointerleave", () => this.point(null));
    this.at = null;
  }

  point(event) {
    const box = this.image.getBoundingClientRect();
    this.at = event === null ? null : (event.clientX - box.left) / box.width;
    this.draw();
  }

  draw() {
    const { points, fields } = this.all;
    if (!points.length) return;
    const end = points[points.length - 1][fields.at_ms];
    const series = this.wanted.series.map(([name]) => columns(points, fields.at_ms, fields[name], end));
    const most = Math.max(0, ...series.flat().map((one) => one?.value ?? 0));
    const scale = niceAbove(most);
    series.forEach((line, place) => {
      const drawn = path(line, scale);
      this.paths[place].line.setAttribute("d", drawn.line);
      this.paths[place].area.setAttribute("d", drawn.area);
    });
    setText(this.top, `${rate(scale)}${this.wanted.unit(scale)}`);
    this.tell(points, fields, end, most);
  }

  tell(points, fields, end, most) {
    let point = points[points.length - 1];
    let when = "";
    this.hair.classList.toggle("on", this.at !== null);
    if (this.at !== null) {
      const wanted = end - (1 - this.at) * WINDOW_MS;
      point = points.reduce((best, one) =>
        Math.abs(one[fields.at_ms] - wanted) < Math.abs(best[fields.at_ms] - wanted) ? one : best);
      const x = (1 - (end - point[fields.at_ms]) / WINDOW_MS) * WIDTH;
      this.hair.setAttribute("x1", x);
      this.hair.setAttribute("x2", x);
      when = `${clock(point[fields.at_ms])}: `;
    }
    const values = this.wanted.series.map(([name]) => rate(point[fields[name]]));
    const unit = this.wanted.unit(point[fields[this.wanted.series[0][0]]]);
    let text = `${when}${values.join(" · ")}${unit}`;
    if (this.wanted.series[0][0] === "lag_entries" && point[fields.lag_seconds] > 0) {
      text += `, ${seconds(point[fields.lag_seconds])}`;
    }
    setText(this.now, text);
    this.image.setAttribute(
      "aria-label",
      `${this.wanted.title}: ${values.join(" and ")}${unit} now, ` +
        `at most ${rate(most)}${this.wanted.unit(most)} in the last ten minutes`,
    );
  }
}

// The greatest value in each column of the plot: a peak of one second stays to be seen.
function columns(points, timeField, field, end) {
  const found = new Array(COLUMNS).fill(null);
  for (const point of points) {
    const share = 1 - (end - point[timeField]) / WINDOW_MS;
    if (share < 0) continue;
    const place = Math.min(COLUMNS - 1, Math.floor(share * COLUMNS));
    const value = point[field];
    if (found[place] === null || value > found[place].value) {
      found[place] = { x: ((place + 1) / COLUMNS) * WIDTH, value };
    }
  }
  return found;
}

function path(line, scale) {
  const there = line.filter((one) => one !== null);
  if (!there.length) return { line: "", area: "" };
  const corners = there.map(
    (one) => `${one.x.toFixed(1)} ${(HEIGHT - 2 - (one.value / scale) * (HEIGHT - 8)).toFixed(1)}`,
  );
  const drawn = `M${corners.join("L")}`;
  const first = there[0].x.toFixed(1);
  const last = there[there.length - 1].x.toFixed(1);
  return { line: drawn, area: `${drawn}L${last} ${HEIGHT}L${first} ${HEIGHT}Z` };
}

function niceAbove(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}
