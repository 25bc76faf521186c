// The form: the question as inputs. It is built anew only where the shape of the question changes; else each
// input shows the scenario as it is, so that what has the focus keeps it.
import { h } from "./fields.js";
import { objectives } from "./objectives.js";
import { pools } from "./pools.js";
import { simulated, traffic } from "./traffic.js";
import { strategy } from "./strategy.js";

export function form(element, choices, question, opened) {
  let built, bench;
  element.addEventListener("submit", (event) => event.preventDefault());
  const redraw = () => {
    built = undefined;
    show(question.scenario);
  };
  const show = (scenario) => {
    const shape = shapeOf(scenario);
    if (shape !== built) {
      const focused = document.activeElement?.id;
      const open = [...element.querySelectorAll("details[open]")].map((fold) => fold.id);
      bench = { question, choices, opened, redraw, scenario, syncs: [] };
      element.replaceChildren(
        pools(bench),
        traffic(bench),
        strategy(bench),
        objectives(bench),
        simulated(bench),
      );
      open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      built = shape;
      if (focused && element.contains(document.getElementById(focused)))
        document.getElementById(focused).focus();
    }
    bench.syncs.forEach((sync) => sync(scenario));
  };
  question.listen(show);
  show(question.scenario);
}

// What decides which inputs there are.
function shapeOf({ workload, pools, strategy, objectives }) {
  const keys = (value) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, keys(inside)]))
      : typeof value;
  return JSON.stringify([
    workload.trace,
    workload.task,
    workload.arrivals?.process,
    keys(workload.arrivals),
    keys(workload.lengths),
    workload.concurrency != null,
    Object.entries(pools).map(([name, pool]) => [name, Array.isArray(pool.replicas)]),
    strategy?.name,
    keys(strategy),
    Object.keys(objectives ?? {}),
  ]);
}

// Say what is wrong, in a line at the field concerned: the nearest input or group that the field's path
// leads to.
export function wrongAt(element, error) {
  for (let path = error.field ?? ""; path; path = path.slice(0, Math.max(path.lastIndexOf("."), 0))) {
    const place = element.querySelector(`[data-path="${CSS.escape(path)}"]`);
    if (!place) continue;
    const line = h("p", { class: "wrong", id: "wrong-line", role: "alert" }, error.message);
    place.append(line);
    for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details"))
      fold.open = true;
    const input = place.classList.contains("field") ? place.querySelector("input,select") : null;
    input?.setAttribute("aria-invalid", "true");
    input?.setAttribute("aria-describedby", "wrong-line");
    return true;
  }
  return false;
}

export function clear(element) {
  element.querySelectorAll("p.wrong").forEach((line) => line.remove());
  element.querySelectorAll("[aria-invalid]").forEach((input) => {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  });
}
