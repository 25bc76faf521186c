"""The client's side: the way from a client to the engine, and of every token back, in seconds.

The engine's side of the boundary begins when a request reaches the engine's process and ends with the step
that made a token. What a load generator measures has the way on top: HTTP and tokenising before, then
detokenising, HTTP and the client's own reading, one answer after another. Figures are measured for one server
and client, and hold for those: `foretell validate client` shows how well.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from foretell.sim.simulation import Run
    from foretell.traces import Trace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FIGURES = ("request_s", "per_prompt_token_s", "latency_s", "response_s", "per_stream_s")
"""What is measured; the rest of a `Client` says where."""


@dataclass(frozen=True, slots=True)
class Client:
    """The way between a client and its engine.

    Requests go through the server's front one after another, as they were sent: each occupies it for
    request_s + per_prompt_token_s · (prompt tokens), and is at the engine latency_s after that. A token is
    back after response_s + per_stream_s · (answers that are being streamed).

    Attributes:
        request_s: of every request, in line: HTTP, parsing.
        per_prompt_token_s: of every token of the prompt, in line: reading, tokenising.
        latency_s: of every request, while others are served: network, hand-over to the engine's process.
        response_s: of every token on its own way back.
        per_stream_s: of a token on its way back, for each answer being streamed then, its own included:
            one process serves them in turn.
        source, date, machine: of the measurement.

    Raises:
        ValueError: a figure that is not a finite number of seconds >= 0.

    """

    request_s: float = 0.0
    per_prompt_token_s: float = 0.0
    latency_s: float = 0.0
    response_s: float = 0.0
    per_stream_s: float = 0.0
    source: str = ""
    date: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        for name in FIGURES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name}: {value!r} is not a finite number of seconds >= 0")

    def there_s(self, prompt_tokens: Ints) -> Floats:
        """Seconds from the client to the engine, (n,), of requests that meet nobody on the way."""
        return np.asarray(self.request_s + self.per_prompt_token_s * prompt_tokens + self.latency_s)

    def reached_s(self, sent_s: Floats, prompt_tokens: Ints) -> Floats:
        """When requests sent at these times, in order, are at the engine: first come, first served."""
        done = np.cumsum(self.request_s + self.per_prompt_token_s * prompt_tokens)
        begun = np.concatenate([[0.0], done[:-1]])
        return np.asarray(done + np.maximum.accumulate(sent_s - begun) + self.latency_s)

    def back_s(self, streams: Ints | int) -> Floats:
        """Seconds from the end of a step to the client, with so many answers being streamed."""
        return np.asarray(self.response_s + self.per_stream_s * np.asarray(streams, dtype=np.float64))


def at_engine(trace: Trace, client: Client) -> Trace:
    """The trace as the engine sees it: later, and from who waits for an answer later by both ways.

    In a closed loop the first requests come in line; then, as in sessions, `think_s` grows by both ways of a
    request that meets nobody. How many answers are streamed meanwhile is taken from `concurrency`, 1 in
    sessions, whose first turns are taken to reach the engine at the times given.
    """
    if trace.concurrency is None and trace.session is None:
        return dataclasses.replace(trace, arrival_s=client.reached_s(trace.arrival_s, trace.prompt_tokens))
    way = client.there_s(trace.prompt_tokens) + client.back_s(trace.concurrency or 1)
    think = trace.think_s if trace.think_s is not None else np.zeros(len(trace))
    arrival = trace.arrival_s.copy()
    if trace.session is None:
        first = slice(0, trace.concurrency)
        arrival[first] = client.reached_s(arrival[first], trace.prompt_tokens[first])
        arrival = np.maximum.accumulate(arrival)
    return dataclasses.replace(trace, arrival_s=arrival, think_s=think + way)


def at_client(run: Run, client: Client, trace: Trace) -> Run:
    """The run of `at_engine(trace, client)` as the client sees it; the engines' totals stay.

    Gaps between tokens (`itl`) stay the engine's: the way back shifts them, it does not widen them.
    """
    first = client.back_s(streams(run.first_token_s, run.first_token_s, run.finish_s))
    last = client.back_s(streams(run.finish_s, run.first_token_s, run.finish_s))
    sent = run.arrival_s - client.there_s(run.prompt_tokens)
    if trace.session is None:
        given = slice(0, trace.concurrency)
        sent[given] = trace.arrival_s[given]
    return dataclasses.replace(
        run, arrival_s=sent, first_token_s=run.first_token_s + first, finish_s=run.finish_s + last
    )


def streams(at_s: Floats, first_s: Floats, last_s: Floats) -> Ints:
    """How many answers are being streamed at each time: their first token is made, their last is not before.

    NaN, of what was never answered, counts nowhere; at such a time there are 0.
    """
    answered = np.isfinite(first_s) & np.isfinite(last_s)
    begun = np.searchsorted(np.sort(first_s[answered]), at_s, side="right")
    over = np.searchsorted(np.sort(last_s[answered]), at_s, side="left")
    return np.where(np.isfinite(at_s), begun - over, 0)


def load_client(name: str, folder: Path | None = None) -> Client:
    """Read a client: a bundled one by its name, or a TOML file (a relative path starts at `folder`).

    Raises:
        ValueError: no such client, or the file is not one; with the field.

    """
    if name.endswith(".toml"):
        path = (folder or Path()) / Path(name).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"client {path}: cannot be read ({error})") from None
    else:
        if name not in bundled_clients():
            known = ", ".join(bundled_clients())
            raise ValueError(f"client: {name!r} is unknown; give one of {known}, or the path of a .toml file")
        text = (files("foretell.sim") / "data" / "clients" / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return client_from_mapping(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ValueError(f"client {name}: {' '.join(str(error).split())}") from None


def bundled_clients() -> list[str]:
    """Names of the clients that come with the package."""
    folder = files("foretell.sim") / "data" / "clients"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def client_from_mapping(values: dict[str, Any]) -> Client:
    """Make a client of a file's fields.

    Raises:
        ValueError: an unknown field, or a figure out of range.

    """
    known = [field.name for field in dataclasses.fields(Client)]
    for name in values:
        if name not in known:
            raise ValueError(f"{name}: unknown field; known: {', '.join(known)}")
    return Client(**values)


def client_toml(client: Client) -> str:
    """The file's text, figures to four digits."""
    lines = ["# Written by foretell validate client; a scenario's field `client` takes it."]
    lines += [f"{name} = {getattr(client, name):.4g}" for name in FIGURES]
    texts = ((name, getattr(client, name)) for name in ("source", "date", "machine"))
    lines += [f'{name} = "{value}"' for name, value in texts if value]
    return "\n".join(lines) + "\n"
