// Who asks what, when: described by a rate and lengths, read from a trace, or the queries of a task.
import { choice, h, number, shown, slider } from "./fields.js";

const KINDS = { described: "Described", trace: "A trace", task: "A task" };
const kindOf = (workload) => (workload.task ? "task" : workload.trace ? "trace" : "described");
const aside = {}; // what the question was when it was last of another kind
let awaited = false; // a trace was asked for, and none has come yet

export function traffic(bench) {
  const { scenario } = bench;
  awaited &&= kindOf(scenario.workload) !== "trace";
  const kind = awaited ? "trace" : kindOf(scenario.workload);
  const picks = Object.entries(KINDS).map(([name, label]) =>
    h(
      "label",
      {},
      h("input", {
        type: "radio",
        name: "kind",
        id: `kind-${name}`,
        value: name,
        checked: name === kind,
        onchange: () => turn(bench, name),
      }),
      h("span", {}, label),
    ),
  );
  return h(
    "fieldset",
    { "data-path": "workload" },
    h("legend", {}, "Traffic"),
    h("div", { class: "segments", role: "radiogroup", "aria-label": "Kind of traffic" }, picks),
    { described, trace, task }[kind](bench),
  );
}

function described(bench) {
  const { choices, scenario } = bench;
  return [
    ...arriving(bench, [...choices.arrivals, LOOP], "Requests a second", 0.01, 1000),
    choice(
      bench,
      ["workload", "lengths"],
      "Lengths of prompts and answers",
      [...choices.lengths.map(({ name }) => [name, name]), ["own", "my own"]],
      {
        of: (value) => (typeof value === "string" ? value : (value?.preset ?? "own")),
        about: (value) => choices.lengths.find(({ name }) => name === (value?.preset ?? value))?.about,
        act: (name) => bench.question.change(["workload", "lengths"], name === "own" ? own(bench) : name),
      },
    ),
    ...(typeof scenario.workload.lengths === "object" ? lengths(bench, scenario.workload.lengths) : []),
  ];
}

// Half of the lengths are below p50, and nine of ten below p90.
function own({ choices, scenario }) {
  const { prompt_tokens = 1000, output_tokens = 250 } =
    choices.lengths.find(({ name }) => name === scenario.workload.lengths) ?? {};
  const spread = (mean) => ({
    lognormal: { p50: Math.max(1, Math.round(mean * 0.7)), p90: Math.max(2, Math.round(mean * 2)) },
  });
  return { prompt: spread(prompt_tokens), output: spread(output_tokens) };
}

const LAWS = {
  p50: "half are below",
  p90: "nine of ten are below",
  median: "half are below",
  mean: "on average",
};

function lengths(bench, given) {
  const tokens = { low: 1, high: 100000, log: true, whole: true, unit: "tokens", least: 1 };
  return [
    ["prompt", "Prompt"],
    ["output", "Answer"],
  ].flatMap(([side, label]) => {
    const path = ["workload", "lengths", side];
    if (typeof given[side] === "number") return [slider(bench, path, label, tokens)];
    return Object.keys(given[side]?.lognormal ?? {}).map((key) => {
      const inside = [...path, "lognormal", key];
      return LAWS[key]
        ? slider(bench, inside, `${label}: ${LAWS[key]}`, tokens)
        : number(bench, inside, `${label}: ${key}`);
    });
  });
}

function arriving(bench, processes, label, low, high) {
  const { scenario } = bench;
  const at = ["workload", "arrivals"];
  if (scenario.workload.concurrency != null && !scenario.workload.arrivals) {
    return [
      comes(bench, processes.includes(LOOP) ? processes : [...processes, LOOP]),
      slider(bench, ["workload", "concurrency"], "In flight at once", {
        low: 1,
        high: 1000,
        log: true,
        whole: true,
        least: 1,
      }),
    ];
  }
  const process = processes.find(({ name }) => name === scenario.workload.arrivals?.process);
  const rate = (process?.parameters ?? []).some(({ name }) => name === "rate_per_s");
  return [
    rate && slider(bench, [...at, "rate_per_s"], label, { low, high, log: true, unit: "/s", least: 0 }),
    comes(bench, processes),
    ...(process?.parameters ?? [])
      .filter(({ name }) => name !== "rate_per_s")
      .map(({ name, kind, default: value }) =>
        Array.isArray(scenario.workload.arrivals[name]) || !["number", "integer"].includes(kind)
          ? h("p", { class: "hint", "data-path": [...at, name].join(".") }, `${name}: as the YAML says.`)
          : number(bench, [...at, name], name.replaceAll("_", " "), {
              fallback: value == null ? "" : String(value),
            }),
      ),
  ].filter(Boolean);
}

// What makes requests come. A closed loop is no process of a scenario: it says so many in flight instead.
function comes(bench, processes) {
  const { question } = bench;
  return choice(
    bench,
    ["workload", "arrivals", "process"],
    "They arrive",
    processes.map(({ name }) => [name, WORDS[name] ?? name]),
    {
      of: (process) => process ?? LOOP.name,
      act: (name) => {
        const { arrivals = aside.arrivals, concurrency, ...rest } = question.scenario.workload;
        if (question.scenario.workload.arrivals && concurrency != null) rest.concurrency = concurrency; // a cap
        if (name === LOOP.name) {
          aside.arrivals = arrivals;
          question.change(["workload"], { ...rest, concurrency: concurrency ?? STARTS.concurrency });
          return;
        }
        const fresh = processes
          .find((one) => one.name === name)
          .parameters.filter((one) => one.required || one.name in (arrivals ?? {}))
          .map((one) => [one.name, arrivals?.[one.name] ?? one.default ?? STARTS[one.name] ?? 1]);
        question.change(["workload"], { ...rest, arrivals: { process: name, ...Object.fromEntries(fresh) } });
      },
    },
  );
}

const LOOP = { name: "closed_loop", parameters: [] };
const STARTS = {
  rate_per_s: 1,
  rates_per_s: [0.5, 4],
  sojourns_s: [60, 20],
  burstiness: 0.5,
  concurrency: 16,
  period_s: 86400,
};
const WORDS = {
  poisson: "at random (poisson)",
  gamma: "in bursts, or evenly (gamma)",
  mmpp: "in calm and busy spells (mmpp)",
  diurnal: "by the time of day (diurnal)",
  constant: "like clockwork (constant)",
  closed_loop: "when the last one ends (closed loop)",
};

function trace(bench) {
  const { scenario, opened } = bench;
  const told = opened.traces[scenario.workload.trace];
  const file = h("input", {
    type: "file",
    id: "trace-file",
    class: "hidden",
    onchange: () => file.files[0] && opened.open(file.files[0]),
  });
  const drop = h(
    "div",
    { class: "drop", "data-path": "workload.trace" },
    told
      ? h("p", {}, h("strong", {}, told.name), h("br"), told.about)
      : h("p", {}, scenario.workload.trace ?? "When requests came, and how long they were."),
    told &&
      h(
        "p",
        { class: "hint" },
        `${shown(told.prompt_tokens)} tokens in, ${shown(told.output_tokens)} out on average. ` +
          "The server keeps it until it ends; a link or YAML only names it.",
      ),
    h("label", { class: "button" }, told ? "Another file …" : "Open a trace …", file),
    h("p", { class: "hint" }, "Or drop the file on the page: CSV, JSON lines, or Parquet."),
  );
  if (!scenario.workload.trace) return [drop];
  return [
    drop,
    slider(bench, ["workload", "rate_scale"], "Faster than recorded", {
      low: 0.05,
      high: 20,
      log: true,
      unit: "×",
      default: 1,
      fallback: "1",
      least: 0,
    }),
    number(bench, ["workload", "head"], "Only its first", { fallback: "all", unit: "requests", least: 1 }),
  ];
}

function task(bench) {
  const { choices } = bench;
  return [
    choice(
      bench,
      ["workload", "task"],
      "Task",
      choices.tasks.map(({ name }) => [name, name]),
      { about: (name) => choices.tasks.find((one) => one.name === name)?.about },
    ),
    ...arriving(bench, choices.arrivals, "Queries a second", 0.0001, 10),
    number(bench, ["workload", "deadline_s"], "Answer within", {
      fallback: "no deadline",
      unit: "s",
      least: 0,
    }),
  ];
}

// Turn the question into one of another kind, and keep what it was.
function turn(bench, kind) {
  const { choices, question } = bench;
  const now = question.scenario;
  const before = kindOf(now.workload);
  aside[before] = now;
  awaited = kind === "trace" && !aside.trace;
  if (awaited || kind === before) {
    bench.redraw();
  } else if (aside[kind]) {
    const { workload, pools, strategy, objectives } = aside[kind];
    question.replace({ ...now, workload, pools, strategy, objectives });
  } else if (kind === "task") {
    const { workload, pools, strategy, objectives } = choices.examples.find(
      (one) => one.scenario.workload.task,
    ).scenario;
    question.replace({ ...now, workload, pools, strategy, objectives });
  } else {
    const [name, pool] = Object.entries(now.pools)[0];
    question.replace({
      ...now,
      pools: { [name]: pool },
      strategy: { name: "single" },
      objectives: { ttft_p90: "<= 1 s", tpot_p99: "<= 80 ms" },
      workload: {
        arrivals: { process: "poisson", rate_per_s: 1 },
        lengths: choices.lengths[0].name,
        num_requests: 1000,
      },
    });
  }
}

// What only a simulation needs.
export function simulated(bench) {
  const {
    scenario: { workload },
  } = bench;
  return h(
    "fieldset",
    {},
    h("legend", {}, "Simulation"),
    h(
      "div",
      { class: "pair" },
      !workload.trace &&
        workload.duration_s == null &&
        number(bench, ["workload", "num_requests"], workload.task ? "Queries" : "Requests", {
          fallback: "1000",
          least: 1,
        }),
      !workload.trace &&
        workload.duration_s != null &&
        number(bench, ["workload", "duration_s"], "Duration", { unit: "s", least: 0 }),
      number(bench, ["replications"], "Replications", { fallback: "8", least: 1 }),
      number(bench, ["seed"], "Seed", { fallback: "0", least: 0 }),
    ),
  );
}
