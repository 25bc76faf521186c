// How a query is answered: one call, prefill and decode apart, or with a task any program with its
// parameters.
import { choice, h, number, slider, text, tick } from "./fields.js";

const NEW = "+ a new pool";
const served = (choices, task) => choices.strategies.filter((one) => one.task === Boolean(task));
const specOf = (choices, task, name) => served(choices, task).find((one) => one.name === name);

export function strategy(bench) {
  const { choices, question, scenario } = bench;
  const { task } = scenario.workload;
  const name = scenario.strategy?.name ?? "single";
  const spec = specOf(choices, task, name);
  return h(
    "fieldset",
    { "data-path": "strategy" },
    h("legend", {}, "Strategy"),
    choice(
      bench,
      ["strategy", "name"],
      "Each query is answered by",
      served(choices, task).map((one) => [
        one.name,
        words(one.name) + (one.closed_form === false ? " (simulate only)" : ""),
      ]),
      {
        of: (value) => value ?? "single",
        about: (value) => specOf(choices, task, value ?? "single")?.about,
        act: (value) => question.replace(choose(question.scenario, value, choices)),
      },
    ),
    (spec?.parameters ?? [])
      .filter(({ name: key }) => key !== "solver" || Object.keys(scenario.pools).length > 1)
      .map((parameter) => input(bench, parameter)),
  );
}

const words = (name) => ({ n: "Samples (n)" })[name] ?? name.replaceAll("_", " ");

// The scenario with another strategy: like parameters stay, pools that it must name come to be, others go.
export function choose(scenario, name, choices) {
  const spec = specOf(choices, scenario.workload.task, name);
  const old = scenario.strategy ?? {};
  const strategy = { name };
  const pools = { ...scenario.pools };
  const first = Object.keys(pools)[0];
  for (const { name: key, kind, required, default: value } of spec?.parameters ?? []) {
    if (kind === "pool" && (required || value)) {
      strategy[key] = old[key] in pools ? old[key] : value || key;
      pools[strategy[key]] ??= structuredClone(pools[first]);
    } else if (key in old && kind !== "pool") {
      strategy[key] = old[key];
    } else if (required) {
      strategy[key] = value ?? 1;
    }
  }
  return used({ ...scenario, strategy, pools });
}

// Without the pools that the strategy does not name; the first is what it calls where it names none.
function used(scenario) {
  const names = Object.keys(scenario.pools);
  const named = new Set();
  JSON.stringify(scenario.strategy, (key, value) => {
    if (names.includes(value) && key !== "name") named.add(value);
    return value;
  });
  const writers = Object.entries(scenario.strategy).some(
    ([key, value]) => key !== "name" && names.includes(value),
  );
  const kept = names.filter((name, index) => named.has(name) || (index === 0 && !writers));
  return { ...scenario, pools: Object.fromEntries(kept.map((name) => [name, scenario.pools[name]])) };
}

function input(bench, parameter) {
  const { name, kind, default: value } = parameter;
  const path = ["strategy", name];
  const fallback = value == null ? (kind === "integer" ? "none" : "default") : String(value);
  if (kind === "pool") return pool(bench, path, parameter);
  if (kind === "judge") return judge(bench, path);
  if (kind === "boolean")
    return tick(bench, path, words(name), value == null ? "default" : value ? "yes" : "no");
  if (kind === "text") return text(bench, path, words(name), { fallback });
  if (kind === "integer" && value != null && !name.endsWith("tokens")) {
    const high = Math.max(64, 4 * value);
    return slider(bench, path, words(name), {
      low: 1,
      high,
      log: true,
      whole: true,
      default: value,
      fallback,
      least: 0,
    });
  }
  if (kind === "number" && value > 0 && value <= 1) {
    return slider(bench, path, words(name), { low: 0, high: 1, step: 0.01, default: value, fallback });
  }
  if (kind === "integer" || kind === "number") return number(bench, path, words(name), { fallback });
  return h(
    "p",
    { class: "hint", "data-path": path.join(".") },
    `${words(name)}: a ${kind}; say it in the YAML.`,
  );
}

const others = ({ scenario }) => [
  ...Object.keys(scenario.pools).map((name) => [name, `pool ${name}`]),
  [NEW, NEW],
];

// Name a pool of the scenario, or make one.
function call(bench, path, value, name) {
  const { question } = bench;
  let { scenario } = question;
  if (name === NEW) {
    name = path.at(-1);
    while (name in scenario.pools) name += "_2";
    const [first] = Object.values(scenario.pools);
    scenario = {
      ...scenario,
      pools: { ...scenario.pools, [name]: { ...structuredClone(first), replicas: 1 } },
    };
  }
  const strategy = { ...scenario.strategy, [path[1]]: value(name) };
  if (strategy[path[1]] === undefined) delete strategy[path[1]];
  question.replace(used({ ...scenario, strategy }));
}

function pool(bench, path, { required, default: value }) {
  const first = Object.keys(bench.scenario.pools)[0];
  return choice(
    bench,
    path,
    words(path[1]),
    [
      ...(required || value ? [] : [[undefined, `pool ${first}`]]),
      ...others(bench).filter(([name]) => required || value || name !== first),
    ],
    { act: (name) => call(bench, path, (pool) => pool, name) },
  );
}

const FREE = "free";

function judge(bench, path) {
  const given = bench.scenario.strategy[path[1]];
  const auc = given?.auc ?? 0.8;
  const value = (name) => (name === undefined ? undefined : name === FREE ? { auc } : { pool: name, auc });
  return [
    choice(
      bench,
      path,
      words(path[1]),
      [[undefined, "an oracle, at no cost"], [FREE, "one that errs, at no cost"], ...others(bench)],
      {
        of: (judge) => (judge == null ? undefined : typeof judge === "string" ? judge : (judge.pool ?? FREE)),
        act: (name) => call(bench, path, value, name),
      },
    ),
    given &&
      typeof given === "object" &&
      slider(bench, [...path, "auc"], `${words(path[1])}: chance to rank right above wrong (AUC)`, {
        low: 0.5,
        high: 1,
        step: 0.01,
        default: 0.8,
        fallback: "0.8",
      }),
  ];
}
