// What must be reached: a row for each objective, with its limit and unit.
import { h } from "./fields.js";

export function objectives(bench) {
  const { choices, question, scenario } = bench;
  const task = Boolean(scenario.workload.task);
  const offered = choices.objectives.filter((one) => task || !one.task);
  const set = (given) => question.change(["objectives"], given);
  const more = h(
    "select",
    {
      id: "more-objectives",
      "aria-label": "Add an objective",
      onchange: () => {
        const one = offered.find(({ name }) => name === more.value);
        set({ ...question.scenario.objectives, [one.name]: `${one.direction} ${one.example}` });
        document.getElementById(`limit-${one.name}`)?.focus();
      },
    },
    h("option", { value: "" }, "Add an objective …"),
    offered
      .filter(({ name }) => !(name in (scenario.objectives ?? {})))
      .map(({ name, about }) => h("option", { value: name }, `${name}: ${about}`)),
  );
  bench.syncs.push(() => {
    more.value = "";
  });
  return h(
    "fieldset",
    { "data-path": "objectives" },
    h("legend", {}, "Objectives"),
    Object.keys(scenario.objectives ?? {}).map((name) =>
      row(
        bench,
        name,
        choices.objectives.find((one) => one.name === name),
        set,
      ),
    ),
    h("div", { class: "field" }, more),
  );
}

function row(bench, name, known, set) {
  const { question } = bench;
  const limit = h("input", {
    id: `limit-${name}`,
    type: "text",
    spellcheck: "false",
    title: known?.about,
    onchange: () => set({ ...question.scenario.objectives, [name]: `${sign} ${limit.value.trim()}` }),
  });
  let sign = known?.direction ?? "<=";
  bench.syncs.push(({ objectives }) => {
    const [, given, rest] = /^\s*(<=|>=)?\s*(.*)$/.exec(objectives?.[name] ?? "");
    sign = given ?? sign;
    limit.value = rest;
    mark.textContent = sign === "<=" ? "≤" : "≥";
  });
  const mark = h("span", { class: "sign", "aria-hidden": "true" });
  return h(
    "div",
    { class: "field objective", "data-path": `objectives.${name}` },
    h(
      "label",
      { for: limit.id },
      name,
      h("span", { class: "hidden" }, known?.direction === ">=" ? " at least" : " at most"),
    ),
    mark,
    limit,
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Drop the objective ${name}`,
        title: "Drop it",
        onclick: () => {
          const { [name]: gone, ...rest } = question.scenario.objectives;
          set(rest);
          document.getElementById("more-objectives")?.focus();
        },
      },
      "×",
    ),
  );
}
