// Inputs that hold one field of the scenario each. `bench` is where they stand: { question, syncs }; every
// input adds to syncs how it shows the scenario anew.
import { get } from "./state.js";

export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export const signs = (text) => text.replaceAll("<=", "≤").replaceAll(">=", "≥");

export const idOf = (path) => `f-${path.join("-").replaceAll(/[^\w-]/g, "_")}`;

// Three digits, and no more zeros than it takes.
export function shown(value) {
  if (value == null || value === "") return "";
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function row(bench, path, label, hint, controls, wide) {
  const id = idOf(path);
  bench.syncs.push((scenario) => controls.sync(get(scenario, path), scenario));
  return h(
    "div",
    { class: wide ? "field wide" : "field", "data-path": path.join(".") },
    h("label", { for: id }, label),
    h("div", { class: "control" }, controls.parts),
    h("p", { class: "hint", id: `${id}-hint` }, hint ?? ""),
  );
}

// A number in a box; empty is the default, which `fallback` puts in words.
function box(bench, path, { least, fallback = "", id = idOf(path), label }) {
  const element = h("input", {
    id,
    type: "number",
    step: "any",
    min: least,
    placeholder: fallback,
    "aria-label": label,
    inputmode: "decimal",
    oninput: () => {
      if (element.validity.badInput) return;
      const value = element.value === "" ? undefined : Number(element.value);
      bench.question.change(path, value, false);
    },
    onchange: () => bench.question.change(path, get(bench.question.scenario, path)),
  });
  const sync = (value) => {
    const typing = document.activeElement === element;
    if (typing && (element.value === "" ? value == null : Number(element.value) === value)) return;
    element.value = typeof value === "number" ? Number(value.toPrecision(6)) : "";
  };
  return { element, sync };
}

export function number(bench, path, label, options = {}) {
  const { element, sync } = box(bench, path, options);
  return row(bench, path, label, options.hint, {
    parts: [element, options.unit && h("span", { class: "unit" }, options.unit)],
    sync,
  });
}

// A slider from `low` to `high` and the same number in a box. On a logarithmic scale its steps are equal
// ratios.
export function slider(bench, path, label, options) {
  const { low, high, log = false, whole = false, unit = "", fallback } = options;
  const to = log ? Math.log10 : (x) => x;
  const from = log ? (x) => 10 ** x : (x) => x;
  const step = log ? (to(high) - to(low)) / 200 : (options.step ?? (whole ? 1 : (high - low) / 200));
  const rounded = (x) => (whole ? Math.max(low, Math.round(x)) : Number(x.toPrecision(3)));
  const set = (settled) => bench.question.change(path, rounded(from(Number(range.value))), settled);
  const range = h("input", {
    id: idOf(path),
    type: "range",
    min: to(low),
    max: to(high),
    step,
    oninput: () => set(false),
    onchange: () => set(true),
  });
  const exact = box(bench, path, { ...options, id: `${idOf(path)}-exact`, label: `${label}, exactly` });
  const sync = (value) => {
    const at = value ?? options.default ?? low;
    // A whole number's place is not moved under the hand that drags it.
    if (rounded(from(Number(range.value))) !== at) range.value = to(Math.max(at, low));
    range.setAttribute(
      "aria-valuetext",
      value == null ? (fallback ?? "default") : `${shown(value)} ${unit}`.trim(),
    );
    range.style.setProperty("--at", (Number(range.value) - range.min) / (range.max - range.min));
    exact.sync(value);
  };
  return row(
    bench,
    path,
    label,
    options.hint,
    {
      parts: [h("div", { class: "track" }, range), exact.element, h("span", { class: "unit" }, unit)],
      sync,
    },
    true,
  );
}

// One of several: options are [value, label]; undefined as value is the default.
export function choice(bench, path, label, options, more = {}) {
  const key = (value) => JSON.stringify(value) ?? "";
  const element = h(
    "select",
    {
      id: idOf(path),
      onchange: () => {
        const value = element.value === "" ? undefined : JSON.parse(element.value);
        if (more.act) more.act(value);
        else bench.question.change(path, value);
      },
    },
    options.map(([value, text]) => h("option", { value: key(value) }, text)),
  );
  const hint = h("span", { class: "about" });
  const sync = (value) => {
    const given = key(more.of ? more.of(value) : (value ?? undefined));
    if (![...element.options].some((option) => option.value === given)) {
      element.append(h("option", { value: given }, typeof value === "object" ? "as written" : String(value)));
    }
    element.value = given;
    if (more.about) hint.textContent = more.about(value) ?? "";
  };
  return row(bench, path, label, more.hint, { parts: [element, more.about && hint], sync });
}

export function tick(bench, path, label, fallback) {
  return choice(bench, path, label, [
    [undefined, fallback],
    [true, "yes"],
    [false, "no"],
  ]);
}

export function text(bench, path, label, options = {}) {
  const element = h("input", {
    id: idOf(path),
    type: "text",
    placeholder: options.fallback,
    spellcheck: "false",
    onchange: () => bench.question.change(path, element.value.trim() || undefined),
  });
  return row(bench, path, label, options.hint, {
    parts: [element],
    sync: (value) => {
      element.value = value ?? "";
    },
  });
}
