"""What the way between client and engine takes: fitted on loads, predicted for others.

A recording (`foretell validate record` of a scenario with `loads`) has a folder a load: config.json, and
sides.csv with the times of every request at the client and in the engine, on one clock.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.sim.client import FIGURES, Client, streams

Floats = npt.NDArray[np.float64]
METRICS = ("ttft", "tpot", "e2e")
_STALL_MS = 3.0
"""Residuals beyond this count by their size, not their square."""
_COLUMNS = (
    *("prompt_tokens", "output_tokens", "sent_s", "reached_s"),
    *("engine_first_s", "engine_last_s", "client_first_s", "client_last_s"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """A load's requests at both ends; arrays of (n,), times in seconds.

    Attributes:
        recording, load: names.
        about: config.json.
        prompt_tokens, output_tokens: lengths.
        sent_s, client_first_s, client_last_s: at the client.
        reached_s, engine_first_s, engine_last_s: in the engine.

    """

    recording: str
    load: str
    prompt_tokens: Floats
    output_tokens: Floats
    sent_s: Floats
    reached_s: Floats
    engine_first_s: Floats
    engine_last_s: Floats
    client_first_s: Floats
    client_last_s: Floats
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.sent_s)

    def latencies(self, side: str) -> dict[str, Floats]:
        """TTFT, TPOT and E2E of every request at "client" or "engine" [s]."""
        start = self.sent_s if side == "client" else self.reached_s
        first, last = (getattr(self, f"{side}_{name}_s") for name in ("first", "last"))
        return _latencies(start, first, last, self.output_tokens)

    def predicted(self, client: Client) -> dict[str, Floats]:
        """The client's latencies: those of the engine, and the ways as `client` has them."""
        first, last = (
            at + client.back_s(streams(at, self.engine_first_s, self.engine_last_s))
            for at in (self.engine_first_s, self.engine_last_s)
        )
        return _latencies(self.reached_s - self.way_s(client), first, last, self.output_tokens)

    def way_s(self, client: Client) -> Floats:
        """Seconds from sending to the engine, in the line of those sent before."""
        order = np.argsort(self.sent_s, kind="stable")
        way = np.empty(len(self))
        prompts = self.prompt_tokens.astype(np.int64)
        way[order] = client.reached_s(self.sent_s[order], prompts[order]) - self.sent_s[order]
        return way


def _latencies(start: Floats, first: Floats, last: Floats, tokens: Floats) -> dict[str, Floats]:
    gaps = np.where(tokens > 1, tokens - 1, np.nan)
    return {"ttft": first - start, "tpot": (last - first) / gaps, "e2e": last - start}


def read_sides(folder: Path) -> list[Sides]:
    """Every load below `folder`, in the order of their paths.

    Raises:
        ValueError: there is none, or a file is not one; with file and column.

    """
    found = [_read(path) for path in sorted(folder.rglob("sides.csv"))]
    if not found:
        raise ValueError(f"{folder}: no sides.csv in or below it; record some: foretell validate record")
    return found


def _read(path: Path) -> Sides:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = {}
    for name in _COLUMNS:
        try:
            values[name] = np.array([float(row[name]) for row in rows])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: column {name}: missing, or not all numbers") from None
    if not rows:
        raise ValueError(f"{path}: no requests in it")
    try:
        about = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.with_name('config.json')}: cannot be read ({error})") from None
    return Sides(path.parents[1].name, path.parent.name, **values, about=about)


def fit_client(loads: Sequence[Sides]) -> Client:
    """Fit the ways of all requests, there and back, without negative figures.

    Squares up to a few milliseconds, absolute values beyond (soft L1): a stall of a busy machine, which many
    tokens share, must not pass for what a token takes.
    """
    from scipy.optimize import least_squares

    there = np.concatenate([s.reached_s - s.sent_s for s in loads])
    back, streamed = [], []
    for s in loads:
        for engine, client in ((s.engine_first_s, s.client_first_s), (s.engine_last_s, s.client_last_s)):
            back.append(client - engine)
            streamed.append(streams(engine, s.engine_first_s, s.engine_last_s))
    backs, n = np.concatenate(back), np.concatenate(streamed)

    def to(x: Floats) -> Floats:
        client = Client(*_seconds(x))
        return np.asarray((np.concatenate([s.way_s(client) for s in loads]) - there) * 1e3)

    def fro(x: Floats) -> Floats:
        return np.asarray((1e-3 * x[0] + 1e-6 * x[1] * n - backs) * 1e3)

    found = [
        least_squares(residuals, start, bounds=(0, np.inf), loss="soft_l1", f_scale=_STALL_MS).x
        for residuals, start in ((to, [2.0, 1.0, 2.0]), (fro, [1.0, 50.0]))
    ]
    figures = Client(*_seconds(found[0]), 1e-3 * float(found[1][0]), 1e-6 * float(found[1][1]))
    return replace(figures, **_origin(loads))


def _seconds(x: Floats) -> tuple[float, float, float]:
    """Milliseconds a request, microseconds a token and milliseconds of latency, in seconds."""
    return float(1e-3 * x[0]), float(1e-6 * x[1]), float(1e-3 * x[2])


def _origin(loads: Sequence[Sides]) -> dict[str, Any]:
    about = loads[0].about
    machine, versions = about.get("machine", {}), about.get("versions", {})
    return {
        "source": f"{about.get('client', 'a client')}; vLLM {versions.get('vllm', 'unknown')}",
        "date": str(about.get("date", ""))[:10],
        "machine": f"{machine.get('cores', '?')} cores, {machine.get('cpu', 'unknown')}",
    }


def client_errors(loads: Sequence[Sides]) -> dict[str, Any]:
    """How well a client fitted on the other loads predicts each, and how far off the engine's side alone is.

    All recordings of a load are left out together. `noise` is what the share of the client's side that is
    not the engine's differs by from one recording of a load to the next. Errors are signed shares of what
    the client measured; means over a load's requests and their 99th percentiles.
    """
    rows = [_row(one, [s for s in loads if s.load != one.load] or list(loads), loads) for one in loads]
    whole = fit_client(loads)
    summary: dict[str, Any] = {"loads": len(loads), "requests": sum(map(len, loads))}
    for metric in METRICS:
        for key in ("mean", "p99"):
            for side in ("engine", "predicted"):
                errors = [abs(row[f"{metric}_{key}_{side}_error"]) for row in rows]
                summary[f"{metric}_{key}_ape_{side}"] = float(np.mean(errors))
        noise = [row[f"{metric}_noise"] for row in rows if np.isfinite(row[f"{metric}_noise"])]
        summary[f"{metric}_noise"] = float(np.mean(noise)) if noise else None
    return {
        "boundary": "client: from sending a request to reading its last token; engine: from the request's "
        "arrival in the engine's process to the end of the step that made the token",
        "client": {name: getattr(whole, name) for name in (*FIGURES, "source", "date", "machine")},
        "summary": summary,
        "rows": rows,
    }


def _row(one: Sides, others: Sequence[Sides], loads: Sequence[Sides]) -> dict[str, Any]:
    measured, engine = one.latencies("client"), one.latencies("engine")
    predicted = one.predicted(fit_client(others))
    repeats = [s for s in loads if s.load == one.load and s is not one]
    row: dict[str, Any] = {
        "recording": one.recording,
        "load": one.load,
        "requests": len(one),
        "there_mean_s": float(np.mean(one.reached_s - one.sent_s)),
        "back_first_mean_s": float(np.mean(one.client_first_s - one.engine_first_s)),
        "back_last_mean_s": float(np.mean(one.client_last_s - one.engine_last_s)),
    }
    for metric in METRICS:
        for key, of in (("mean", np.nanmean), ("p99", _p99)):
            truth = float(of(measured[metric]))
            row[f"{metric}_{key}_client_s"] = truth
            row[f"{metric}_{key}_engine_error"] = float(of(engine[metric])) / truth - 1
            row[f"{metric}_{key}_predicted_error"] = float(of(predicted[metric])) / truth - 1
        own = _beyond(one, metric)
        differences = [abs(_beyond(other, metric) - own) for other in repeats]
        truth = row[f"{metric}_mean_client_s"]
        row[f"{metric}_noise"] = float(np.mean(differences)) / truth if differences else float("nan")
    return row


def _beyond(sides: Sides, metric: str) -> float:
    """The mean of the client's side that is not the engine's [s]."""
    return float(np.nanmean(sides.latencies("client")[metric] - sides.latencies("engine")[metric]))


def _p99(values: Floats) -> float:
    return float(np.nanpercentile(values, 99))
