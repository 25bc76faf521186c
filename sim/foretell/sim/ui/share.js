// Ways in and out: a link, YAML, a trace file, a vllm serve command line.
import { ask, upload } from "./ask.js";
import { h } from "./fields.js";
import { packed, unpacked } from "./state.js";

const $ = (id) => document.getElementById(id);

export function say(text) {
  $("said").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => {
    $("said").textContent = "";
  }, 4000);
}

// The scenario of the address, if it holds one.
export async function linked() {
  const text = /^#s=(.+)$/.exec(location.hash)?.[1];
  if (!text) return undefined;
  try {
    const scenario = await unpacked(text);
    if (whole(scenario)) return scenario;
  } catch {
    // cut, or no link of this page
  }
  say("The link does not hold a whole question: this is the page's own.");
  return undefined;
}

// Whether there is what the form is built from; what else may be wrong with it, the server says.
function whole(scenario) {
  const table = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const { workload, pools } = table(scenario) ? scenario : {};
  return table(workload) && table(pools) && Object.keys(pools).length > 0 && Object.values(pools).every(table);
}

export function sharing(question, traces) {
  document
    .querySelectorAll("[data-open]")
    .forEach((button) => button.addEventListener("click", () => $(button.dataset.open).showModal()));
  document
    .querySelectorAll("[data-close]")
    .forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));

  $("link").addEventListener("click", async () => {
    const url = new URL(location.href);
    url.hash = `s=${await packed(question.scenario)}`;
    const far = question.scenario.workload.trace?.startsWith("upload:")
      ? "; the trace itself stays here"
      : "";
    await copied(url.href, `Link copied${far}`);
  });

  yaml(question);
  vllm(question);
  return { open: (file) => open(file, question, traces) };
}

async function copied(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${said}.`);
  } catch {
    say("The browser does not let the page copy: the address bar has the link.");
  }
}

function yaml(question) {
  const box = $("yaml-text");
  const wrong = (text) => {
    $("yaml-wrong").textContent = text;
  };
  $("yaml").addEventListener("click", async () => {
    wrong("");
    try {
      box.value = (await ask("/write", { scenario: question.scenario })).yaml;
    } catch (error) {
      wrong(error.message);
    }
  });
  $("yaml-use").addEventListener("click", async () => {
    try {
      question.replace((await ask("/read", { yaml: box.value })).scenario);
      $("yaml-dialog").close();
    } catch (error) {
      wrong([error.field, error.message].filter(Boolean).join(": "));
    }
  });
  $("yaml-copy").addEventListener("click", () => copied(box.value, "YAML copied"));
  $("yaml-save").addEventListener("click", () => {
    const link = h("a", {
      href: URL.createObjectURL(new Blob([box.value], { type: "application/yaml" })),
      download: "scenario.yaml",
    });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  $("yaml-file").addEventListener("change", async ({ target }) => {
    if (target.files[0]) box.value = await target.files[0].text();
    target.value = "";
  });
}

function vllm(question) {
  $("vllm-use").addEventListener("click", async () => {
    $("vllm-wrong").textContent = "";
    $("vllm-told").replaceChildren();
    try {
      const { scenario, understood, left_out, harmless } = await ask("/vllm", {
        command: $("vllm-text").value,
        scenario: question.scenario,
      });
      question.replace(scenario);
      $("vllm-told").append(
        listed(
          "Understood",
          understood.map(({ flag, as }) => `${flag} → ${as}`),
        ),
        listed(
          "Left out",
          left_out.map(({ flag, why }) => `${flag}: ${why}`),
        ),
        listed("Of no bearing on the forecast", harmless.length ? [harmless.join(", ")] : []),
      );
    } catch (error) {
      $("vllm-wrong").textContent = error.message;
    }
  });
}

const listed = (title, lines) =>
  lines.length
    ? h(
        "div",
        {},
        h("h3", {}, title),
        h(
          "ul",
          {},
          lines.map((line) => h("li", {}, line)),
        ),
      )
    : "";

// A file of the person's own: YAML of a question, or a trace.
async function open(file, question, traces) {
  try {
    if (/\.ya?ml$/i.test(file.name)) {
      question.replace((await ask("/read", { yaml: await file.text() })).scenario);
      return;
    }
    say(`Reading ${file.name} …`);
    const told = await upload(file);
    traces[told.trace] = told;
    const { scenario } = question;
    const { objectives, pools, strategy } = scenario.workload.task
      ? {
          objectives: {},
          pools: Object.fromEntries(Object.entries(scenario.pools).slice(0, 1)),
          strategy: { name: "single" },
        }
      : scenario;
    question.replace({ ...scenario, objectives, pools, strategy, workload: { trace: told.trace } });
    say(`${told.name}: ${told.about}.`);
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

export function dropping(open) {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}
