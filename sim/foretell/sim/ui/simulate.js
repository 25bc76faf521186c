// A simulation: started, watched, cancelled; its answer is handed to `done`.
import { ask, Refused } from "./ask.js";
import { h, signs } from "./fields.js";

const $ = (id) => document.getElementById(id);

export function simulation(question, { done, failed }) {
  let job, events, began;

  const running = (yes) => {
    $("simulate").hidden = yes;
    $("cancel").hidden = $("progress").hidden = !yes;
    $("simulation").setAttribute("aria-busy", yes);
  };
  const end = (text) => {
    events?.close();
    events = job = undefined;
    running(false);
    $("progress-text").replaceChildren(text);
  };

  async function start() {
    const { scenario } = question;
    const focused = document.activeElement === $("simulate");
    running(true);
    if (focused) $("cancel").focus();
    $("progress").removeAttribute("value");
    $("progress-text").textContent = "Starting …";
    began = performance.now();
    try {
      ({ job } = await ask("/simulate", { scenario }));
    } catch (error) {
      end("");
      failed(error);
      return;
    }
    events = new EventSource(`/simulate/${job}/events`);
    events.addEventListener("progress", ({ data }) => progress(JSON.parse(data)));
    events.addEventListener("done", ({ data }) => {
      const answer = JSON.parse(data);
      end(report(answer));
      done(answer, scenario);
    });
    events.addEventListener("failed", ({ data }) => {
      const error = new Refused(JSON.parse(data), 422);
      end(error.field ? "" : error.message);
      if (error.field) failed(error);
    });
    events.addEventListener("cancelled", () => end("Cancelled."));
    events.onerror = () => {
      if (events?.readyState === EventSource.CLOSED) end("The server is gone: nothing was simulated.");
    };
  }

  // Screen readers are told now and then: the text changes with every tenth that is done.
  let told;
  function progress({ done, total }) {
    $("progress").value = total ? done / total : 0;
    const tenth = total ? Math.floor((10 * done) / total) : 0;
    const left = done ? ((performance.now() - began) * (total - done)) / done / 1000 : 0;
    if (tenth !== told || left > 20)
      $("progress-text").textContent =
        `${done.toLocaleString("en")} of ${total.toLocaleString("en")} requests, ${wait(left)}`;
    told = tenth;
  }

  async function cancel() {
    const gone = job;
    end("Cancelled.");
    $("simulate").focus();
    if (gone) await fetch(`/simulate/${gone}`, { method: "DELETE" });
  }

  $("simulate").addEventListener("click", start);
  $("cancel").addEventListener("click", cancel);
  return {
    forget: () => {
      if (!job) $("progress-text").replaceChildren();
    },
  };
}

const wait = (seconds) =>
  seconds < 2
    ? "nearly done"
    : seconds < 90
      ? `about ${Math.ceil(seconds)} s left`
      : `about ${Math.ceil(seconds / 60)} min left`;

function report({ headline, report: url, seconds }) {
  const time = seconds ? ` in ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s` : "";
  const link = h("a", { href: url, target: "_blank", rel: "noopener" }, "Open the full report");
  return h("span", {}, h("strong", {}, `Simulated${time}: ${signs(headline)}.`), " ", link);
}
