// The question: a scenario as in YAML, the one truth of the page. Paths are lists of keys.

export const get = (at, path) => path.reduce((inside, key) => inside?.[key], at);

// A copy of `at` in which `path` holds `value`; undefined takes it out.
export function put(at, path, value) {
  const [key, ...rest] = path;
  const copy = Array.isArray(at) ? [...at] : { ...at };
  const inside = rest.length ? put(copy[key] ?? {}, rest, value) : value;
  if (inside === undefined) delete copy[key];
  else copy[key] = inside;
  return copy;
}

// The scenario and those who want to know of its changes. A change is settled once the hand lets go of a
// slider: then it becomes an entry of the browser's history, so that Back undoes it.
export function question(first) {
  let scenario = first;
  const listeners = [];
  const tell = (settled) => listeners.forEach((listener) => listener(scenario, settled));
  const become = (next, settled) => {
    scenario = next;
    if (settled && JSON.stringify(history.state?.scenario) !== JSON.stringify(scenario)) {
      history.pushState({ scenario }, "");
      address(next);
    }
    tell(settled);
  };
  window.addEventListener("popstate", (event) => {
    if (event.state?.scenario) {
      scenario = event.state.scenario;
      tell(true);
    }
  });
  return {
    get scenario() {
      return scenario;
    },
    change(path, value, settled = true) {
      become(put(scenario, path, value), settled);
    },
    replace(next) {
      become(next, true);
    },
    listen(listener) {
      listeners.push(listener);
    },
  };
}

// The address is always a link to the question; it goes to nobody, as browsers keep what is behind the #.
export async function address(scenario) {
  const hash = `#s=${await packed(scenario)}`;
  if (JSON.stringify(history.state?.scenario) === JSON.stringify(scenario)) {
    history.replaceState(history.state, "", hash);
  }
}

// Texts of links: base64url of the deflated JSON.
export async function packed(scenario) {
  const bytes = await through(
    new TextEncoder().encode(JSON.stringify(scenario)),
    new CompressionStream("deflate-raw"),
  );
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) =>
    char.charCodeAt(0),
  );
  return JSON.parse(new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw"))));
}

const MOST_BYTES = 2 ** 20; // of a question; a short link could inflate to gigabytes

async function through(bytes, stream) {
  const parts = [];
  let size = 0;
  for (const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(value);
    size += value.length;
    if (size > MOST_BYTES) {
      reader.cancel().catch(() => {});
      throw new RangeError("more than a question holds");
    }
  }
}
