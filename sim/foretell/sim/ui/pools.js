// Models on hardware: a group of inputs for each pool.
import { choice, h, number, slider, tick } from "./fields.js";

const named = (things) => things.map(({ name }) => [name, name]);
const about = (things) => (name) => things.find((thing) => thing.name === name)?.about;
const counts = (most, first) => [
  [undefined, first],
  ...[2, 4, 8, 16].filter((n) => n <= most).map((n) => [n, String(n)]),
];

export function pools(bench) {
  const names = Object.keys(bench.scenario.pools);
  return h(
    "fieldset",
    { "data-path": "pools" },
    h("legend", {}, names.length > 1 ? "Models and hardware" : "Model and hardware"),
    names.map((name) => pool(bench, name, names.length > 1)),
  );
}

function pool(bench, name, several) {
  const { choices, scenario } = bench;
  const at = (...keys) => ["pools", name, ...keys];
  const parts = [
    choice(bench, at("model"), "Model", models(bench), { about: about(choices.models) }),
    choice(bench, at("hardware"), "Hardware", named(choices.hardware), { about: about(choices.hardware) }),
    Array.isArray(scenario.pools[name].replicas)
      ? h(
          "p",
          { class: "hint", "data-path": at("replicas").join(".") },
          "Replicas: groups of them, as the YAML says.",
        )
      : slider(bench, at("replicas"), "Replicas", {
          low: 1,
          high: 64,
          log: true,
          whole: true,
          default: 1,
          least: 1,
          fallback: "1",
        }),
    h(
      "div",
      { class: "pair" },
      choice(bench, at("tensor_parallel_size"), "GPUs a replica (TP)", counts(16, "1")),
      choice(bench, at("quantization"), "Quantization", [
        [undefined, "as the checkpoint"],
        ...choices.quantizations.map((quantization) => [quantization, quantization]),
      ]),
    ),
    engine(bench, at),
  ];
  return h(
    "div",
    { class: "pool", role: "group", "aria-label": `Pool ${name}`, "data-path": at().join(".") },
    several && h("h3", {}, name),
    parts,
  );
}

function models({ choices, scenario }) {
  const task = choices.tasks.find(({ name }) => name === scenario.workload.task);
  if (!task) return named(choices.models);
  const known = choices.models.filter(({ name }) => task.models.includes(name));
  const others = choices.models.filter(({ name }) => !task.models.includes(name));
  return [
    ...named(known),
    ...others.map(({ name }) => [name, `${name} (can only judge: no outcomes for ${task.name})`]),
  ];
}

function engine(bench, at) {
  const { choices } = bench;
  const setting = (name) => at("engine", name);
  return h(
    "details",
    { id: `fold-${at().join("-")}` },
    h("summary", {}, "Engine and parallelism"),
    choice(bench, setting("preset"), "Engine", [
      [undefined, "vllm-0.32-server"],
      ...named(choices.presets).filter(([name]) => name !== "vllm-0.32-server"),
    ]),
    choice(bench, at("router"), "Router", [
      [undefined, "round_robin"],
      ...named(choices.routers).filter(([name]) => name !== "round_robin"),
    ]),
    h(
      "div",
      { class: "pair" },
      number(bench, setting("max_num_seqs"), "max_num_seqs", { fallback: "preset's", least: 1 }),
      number(bench, setting("max_num_batched_tokens"), "max_num_batched_tokens", {
        fallback: "preset's",
        least: 1,
      }),
      number(bench, setting("max_model_len"), "max_model_len", { fallback: "model's", least: 2 }),
      number(bench, setting("gpu_memory_utilization"), "gpu_memory_utilization", {
        fallback: "preset's",
        least: 0,
      }),
      number(bench, setting("num_gpu_blocks"), "num_gpu_blocks", { fallback: "estimated", least: 2 }),
      choice(bench, at("kv_cache_dtype"), "kv_cache_dtype", [
        [undefined, "auto"],
        ...choices.kv_cache_dtypes.filter((name) => name !== "auto").map((name) => [name, name]),
      ]),
      choice(bench, at("pipeline_parallel_size"), "Pipeline parallel", counts(8, "1")),
      choice(bench, at("data_parallel_size"), "Data parallel", counts(16, "1")),
      tick(bench, at("enable_expert_parallel"), "Expert parallel", "no"),
      tick(bench, setting("enable_prefix_caching"), "Prefix caching", "preset's"),
      tick(bench, setting("enable_chunked_prefill"), "Chunked prefill", "preset's"),
      tick(bench, setting("async_scheduling"), "Async scheduling", "preset's"),
      tick(bench, setting("enforce_eager"), "enforce_eager", "no"),
      number(bench, at("price_usd_per_h"), "Rent of a GPU", {
        fallback: "catalogue's",
        unit: "USD/h",
        least: 0,
      }),
    ),
  );
}
