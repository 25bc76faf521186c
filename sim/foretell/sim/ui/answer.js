// The answer: what is said first, then figures with their ranges, charts, the frontier. An answer to compare
// with, a simulated one or one that was kept, stands under each figure: `others` is a list of [name,
// answer].
import { h, shown, signs } from "./fields.js";

const $ = (id) => document.getElementById(id);
const LATENCIES = {
  ttft: "First token (TTFT)",
  tpot: "Per token (TPOT)",
  itl: "Between tokens (ITL)",
  e2e: "Whole answer (E2E)",
};
const STATISTICS = ["mean", "p50", "p90", "p99"];
const FIRST = [
  "accuracy",
  "capacity_rps",
  "load",
  "usd_per_h",
  "usd_per_query",
  "usd_per_correct",
  "usd_per_million_output_tokens",
  "power_W",
  "tokens_per_query",
];
const GROUPS = {
  answers: "Answers",
  load: "Load and throughput",
  cost: "Cost",
  energy: "Energy",
  engine: "Engines",
  latency: "Latency",
};

export function drawAnswer(answer, others = []) {
  const figures = byName(answer);
  const beside = others.map(([name, other]) => [name, byName(other)]);
  headline(answer, figures.load);
  $("gauges").replaceChildren(...answer.objectives.map((objective) => gauge(objective, figures)));
  $("readouts").replaceChildren(
    ...FIRST.filter((name) => figures[name]?.value != null)
      .slice(0, 5)
      .map((name) => readout(figures[name], beside)),
  );
  part("latency", latencies(figures, beside));
  part("figures", everyFigure(answer.figures, beside));
  commands(answer.commands ?? []);
  $("notes").replaceChildren(
    h("li", {}, sentence(answer.method)),
    ...answer.notes.map((note) => h("li", {}, sentence(note))),
  );
  $("about").hidden = false;
}

const byName = (answer) => Object.fromEntries(answer.figures.map((figure) => [figure.name, figure]));
const sentence = (text) => text && text[0].toUpperCase() + text.slice(1);

function headline({ headline, met, subject }, load) {
  const [, first, rest] = /^([^(]*?)\s*(?:\((.*)\))?$/s.exec(signs(headline));
  const standing = met == null ? "" : met ? "met" : "missed";
  $("verdict").className = standing;
  // A live region speaks when it changes: an equal verdict says nothing new.
  if ($("headline").textContent !== first) $("headline").textContent = first;
  $("surely").textContent = rest ?? "";
  $("subject").replaceChildren(
    `${subject}. `,
    ...(load?.value > 1
      ? [
          h(
            "strong",
            {},
            `It cannot keep up: asked ${shown(load.value)} times what it can carry, queues grow without end.`,
          ),
        ]
      : []),
  );
  $("strip").textContent = first; // on narrow screens, where the answer is below the question
  $("strip").className = standing;
  $("strip").hidden = false;
}

// Where a figure is, with its range, on a scale whose limit is at two thirds.
function gauge({ text, met, value, limit, figure, shown: said, chance_shown: chance }, figures) {
  const at = (place) => `${(100 * Math.min(Math.max(place / limit, 0), 1.5)) / 1.5}%`;
  const { low, high } = figures[figure] ?? {};
  const range = low != null && high != null;
  return h(
    "div",
    { class: `gauge ${met ? "met" : "missed"} ${text.includes(">=") ? "least" : ""}` },
    h("span", { class: "objective-name" }, signs(text)),
    h(
      "span",
      { class: "dial", "aria-hidden": "true" },
      h("i", { class: "limit" }),
      range && h("i", { class: "range", style: `left:${at(low)};right:calc(100% - ${at(high)})` }),
      value != null && h("i", { class: "point", style: `left:${at(value)}` }),
    ),
    h("strong", {}, said),
    h("span", { class: "said" }, met ? "met" : "missed", chance && h("small", {}, `, chance ${chance}`)),
  );
}

// Figures come at once, and their ranges a little later: their room is kept, so that nothing jumps.
const ranged = new Set();

function range({ name, range: text }) {
  if (text) ranged.add(name);
  return ranged.has(name) && h("span", { class: "interval" }, text || "\u00a0");
}

function readout(figure, beside) {
  const [, value, unit] = /^(\S+)\s*(.*)$/.exec(figure.shown);
  return h(
    "div",
    { class: "readout", "data-figure": figure.name },
    h("span", { class: "label" }, figure.label),
    h("strong", {}, value, unit && h("small", {}, ` ${unit}`)),
    h("div", {}, range(figure), compared(figure.name, beside)),
  );
}

const compared = (name, beside) =>
  beside
    .filter(([, figures]) => figures[name]?.value != null)
    .map(([whose, figures]) => h("span", { class: "beside" }, `${whose} ${figures[name].shown}`));

function latencies(figures, beside) {
  const rows = Object.entries(LATENCIES).filter(
    ([metric]) => figures[`${metric}_p50_s`] ?? figures[`${metric}_mean_s`],
  );
  if (!rows.length) return null;
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td"),
        STATISTICS.map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map(([metric, label]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, label),
          STATISTICS.map((statistic) => {
            const name = `${metric}_${statistic}_s`;
            const figure = figures[name];
            return h(
              "td",
              { "data-figure": name },
              figure ? [h("strong", {}, figure.shown), range(figure)] : "–",
              compared(name, beside),
            );
          }),
        ),
      ),
    ),
  );
}

function everyFigure(all, beside) {
  const tabled = (name) => /^(ttft|tpot|itl|e2e)_(mean|p50|p90|p99)_s$/.test(name);
  const rest = all.filter(({ name, value }) => !tabled(name) && value != null);
  if (!rest.length) return null;
  const groups = [...new Set(rest.map(({ group }) => group))];
  return h(
    "div",
    { class: "groups" },
    groups.map((group) =>
      h(
        "div",
        {},
        h("h3", {}, GROUPS[group] ?? sentence(group)),
        h(
          "dl",
          {},
          rest
            .filter((figure) => figure.group === group)
            .map((figure) =>
              h(
                "div",
                { "data-figure": figure.name },
                h("dt", {}, figure.label),
                h("dd", {}, h("strong", {}, figure.shown), range(figure), compared(figure.name, beside)),
              ),
            ),
        ),
      ),
    ),
  );
}

function part(name, content) {
  document.querySelector(`[data-part="${name}"]`).hidden = !content;
  $(name === "latency" ? "latencies" : name).replaceChildren(...(content ? [content] : []));
}

function commands(all) {
  $("commands-fold").hidden = !all.length;
  $("commands").replaceChildren(
    ...all.map(({ pool, replicas, line, notes }) =>
      h(
        "div",
        {},
        h("p", {}, `${pool}: ${replicas} × `),
        h("pre", { tabindex: "0" }, line),
        (notes ?? []).map((note) => h("p", { class: "hint" }, sentence(note))),
      ),
    ),
  );
}

// Charts are the server's own HTML, in which all text of people is escaped.
export function drawCharts(id, charts) {
  $(id).innerHTML = Object.values(charts).join("");
}

export function drawFrontier({ charts, about, notes }) {
  drawCharts("frontier-charts", charts);
  $("frontier-about").textContent = [about, ...(notes ?? [])].filter(Boolean).map(sentence).join(" ");
  $("frontier").hidden = !Object.keys(charts).length;
}

// How much the deployment can carry, on the slider of what it is asked.
export function markCapacity(answer) {
  const slider = $("f-workload-arrivals-rate_per_s");
  if (!slider) return;
  const capacity = answer.figures.find(({ name }) => name === "capacity_rps")?.value;
  const at = capacity > 0 ? (Math.log10(capacity) - slider.min) / (slider.max - slider.min) : 1;
  slider.style.setProperty("--limit", Math.min(Math.max(at, 0), 1));
  $(`${slider.id}-hint`).textContent = capacity > 0 ? `It can carry ${shown(capacity)} a second` : "";
}
