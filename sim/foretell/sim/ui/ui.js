// The what-if page: a question on the left, its answer on the right, asked anew whenever the question
// changes.
import { drawAnswer, drawCharts, drawFrontier, markCapacity } from "./answer.js";
import { ask, newest, understood } from "./ask.js";
import { clear, form, wrongAt } from "./question.js";
import { dropping, linked, say, sharing } from "./share.js";
import { simulation } from "./simulate.js";
import { question as ask_of } from "./state.js";

const $ = (id) => document.getElementById(id);
const STILL_MS = 150; // the hand must rest so long before what takes longer is asked

async function start() {
  const choices = await understood(await fetch("/choices"));
  // After a reload the question is the one that there was; in a new tab the link's.
  const question = ask_of(history.state?.scenario ?? (await linked()) ?? choices.scenario);
  history.replaceState({ scenario: question.scenario }, "");
  addEventListener("hashchange", async () => {
    const other = !history.state && (await linked());
    if (other) question.replace(other);
  });
  const traces = {}; // what the server said of the files that were handed to it
  let answer, kept, simulated;

  const draw = () =>
    drawAnswer(answer, [
      ...(simulated ? [["simulated", simulated.answer]] : []),
      ...(kept ? [["kept", kept]] : []),
    ]);
  const asked = newest(
    [
      [0, async (scenario) => got(await ask("/answer", { scenario, intervals: false }))],
      [
        STILL_MS,
        async (scenario, signal) => got(await ask("/answer", { scenario, intervals: true }, signal)),
      ],
      [
        STILL_MS,
        async (scenario, signal) => {
          try {
            drawFrontier(await ask("/frontier", { scenario }, signal));
          } catch (error) {
            if (error.name === "AbortError" || error.status === 409) throw error;
            $("frontier").hidden = true; // what has no frontier has an answer all the same
          }
          $("answer").setAttribute("aria-busy", "false");
        },
      ],
    ],
    trouble,
  );

  function got(next) {
    answer = next;
    clear($("question"));
    $("trouble").hidden = true;
    $("answer").classList.remove("stale");
    draw();
    drawCharts("charts", answer.charts);
    markCapacity(answer);
    $("answer").dataset.answered = Number($("answer").dataset.answered ?? 0) + 1;
  }

  // The last good answer stays, dimmed; the line is at the field if there is one.
  function trouble(error) {
    $("answer").classList.add("stale");
    $("answer").setAttribute("aria-busy", "false");
    clear($("question"));
    const placed = !error.simulate && wrongAt($("question"), error);
    $("trouble").hidden = placed;
    $("trouble").classList.toggle("calm", Boolean(error.simulate));
    $("trouble").textContent = placed
      ? ""
      : error.simulate
        ? `${error.message.split(/;|, but /)[0]}: press Simulate.`
        : error instanceof TypeError
          ? "The server does not answer. Is foretell ui still running?"
          : error.message;
  }

  const share = sharing(question, traces);
  const opened = { traces, open: share.open };
  form($("question"), choices, question, opened);
  dropping(share.open);
  startFrom(choices, question);
  $("promise").textContent = `${choices.promise ?? $("promise").textContent.trim()}`.replace(/\.?$/, ".");
  $("version").textContent = `foretell ${choices.version}`;

  const runs = simulation(question, {
    done: (result, scenario) => {
      if (JSON.stringify(question.scenario) !== JSON.stringify(scenario)) return; // something else is asked by now
      if (!answer || $("answer").classList.contains("stale")) {
        got(result); // of what has no closed form
      } else {
        simulated = { answer: result, scenario: JSON.stringify(scenario) };
        draw();
      }
    },
    failed: trouble,
  });

  $("keep").addEventListener("click", () => {
    kept = kept ? undefined : answer;
    $("keep").textContent = kept ? "Forget what was kept" : "Keep to compare";
    $("kept").textContent = kept ? `kept: ${kept.subject}` : "";
    if (answer) draw();
  });

  question.listen((scenario) => {
    if (simulated && JSON.stringify(scenario) !== simulated.scenario) {
      simulated = undefined;
      runs.forget();
    }
    $("answer").setAttribute("aria-busy", "true");
    asked(scenario);
  });
  asked(question.scenario);
}

function startFrom({ examples = [], scenario, file }, question) {
  const list = [
    [file ?? "the page's own", scenario],
    ...examples.map(({ name, about, scenario: one }) => [`${name}: ${about}`, one]),
  ];
  const select = $("start");
  select.append(new Option("an example …", ""), ...list.map(([label], index) => new Option(label, index)));
  select.addEventListener("change", () => {
    if (select.value !== "") question.replace(list[select.value][1]);
    select.value = "";
  });
}

start().catch((error) => {
  $("question").replaceChildren();
  $("trouble").hidden = false;
  $("trouble").textContent = `The page cannot start: ${error.message}`;
  say("");
});
