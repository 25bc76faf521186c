// Questions to the server.

const page = Math.random().toString(36).slice(2); // a newer question of a page makes its older ones void

// What the server says no to: `field` is the scenario's field concerned, if one is.
export class Refused extends Error {
  constructor({ error, field, simulate }, status) {
    super(error?.replace(`${field}: `, "") ?? `the server answered ${status}`);
    Object.assign(this, { field, simulate, status });
  }
}

export async function ask(path, body, signal) {
  const reply = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ page, ...body }),
    signal,
  });
  return understood(reply);
}

export async function upload(file) {
  return understood(
    await fetch(`/trace?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }),
  );
}

export async function understood(reply) {
  let said;
  try {
    said = await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ error: "the server gave no answer that can be read" }, reply.status);
  }
  if (!reply.ok) throw new Refused(said, reply.status);
  return said;
}

// Ask what was asked last: first what comes at once, then, while nothing newer is asked, what takes longer.
// `stages` are [pause in ms, work(input, signal)] in turn. The first is let finish even when something newer
// waits, so that figures move while a slider does; the later ones are given up.
export function newest(stages, failed) {
  let waiting,
    busy = false,
    late = new AbortController();
  return async function next(input) {
    waiting = { input };
    late.abort();
    if (busy) return;
    busy = true;
    while (waiting) {
      const { input: now } = waiting;
      waiting = undefined;
      late = new AbortController();
      const { signal } = late;
      try {
        for (const [index, [pause, work]] of stages.entries()) {
          await still(pause, signal);
          if (waiting) break;
          await work(now, index ? signal : undefined);
        }
      } catch (error) {
        if (!waiting && error.name !== "AbortError" && error.status !== 409) failed(error, now);
      }
    }
    busy = false;
  };
}

function still(pause, signal) {
  if (!pause) return undefined;
  return new Promise((go) => {
    const timer = setTimeout(go, pause);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        go();
      },
      { once: true },
    );
  });
}
