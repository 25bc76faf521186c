"""What workers can be asked, and what a refusal is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foretell.sim.ui.questions import Handed

if TYPE_CHECKING:
    from foretell.sim.scenario import Scenario


class RefusedError(Exception):
    """A question that has no answer.

    Attributes:
        message: why, in one line.
        field: path of the scenario's field concerned, None if not known.
        simulate: whether only the closed form lacks an answer.

    """

    def __init__(self, message: str, field: str | None = None, simulate: bool = False) -> None:
        super().__init__(message, field, simulate)
        self.message, self.field, self.simulate = message, field, simulate


_SIMULATE = re.compile(r"use --method simulate|--method simulate does not|simulate it")
_PATH = re.compile(r"([a-z][\w-]*(?:[.\[][\w-]+\]?)*)(?=[: ])")
_TOP = (
    "scenario",
    "workload",
    "pools",
    "strategy",
    "objectives",
    "goodput",
    "client",
    "seed",
    "replications",
)


def refused(error: Exception, scenario: Scenario | None = None) -> RefusedError:
    """Tell an error as the page is told of it.

    Args:
        error: what was raised.
        scenario: what was asked, where it is known: then the pool concerned is named too.

    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, MemoryError):
        return RefusedError("not enough memory for this; ask for less")
    if isinstance(error, RecursionError):
        return RefusedError("nested too deep")
    if not isinstance(error, ValueError):
        return RefusedError(f"foretell failed at this: {type(error).__name__}: {error}"[:300])
    text = " ".join(str(error).split())
    simulate = _SIMULATE.search(text) is not None
    told = text.replace("; use --method simulate", "; simulate it").replace(
        "--method simulate does not", "a simulation does not"
    )
    return RefusedError(told, field_of(text, scenario), simulate)


def field_of(message: str, scenario: Scenario | None = None) -> str | None:
    """The scenario's field that an error is about, as a path, if that is known."""
    from foretell.sim.presets import EngineSettings
    from foretell.sim.scenario import Pool, Workload

    found = _PATH.match(message)
    head = "" if found is None else re.split(r"[.\[]", found[1])[0]
    if found is not None and head in _TOP:
        return found[1]
    if found is not None and head in [f.name for f in fields(Workload)]:
        return f"workload.{found[1]}"
    pool = _pool_of(message, scenario)
    for spec, place in ((Pool, ""), (EngineSettings, ".engine")):
        if found is not None and pool is not None and head in [f.name for f in fields(spec)]:
            return f"pools.{pool}{place}.{found[1]}"
    return f"pools.{pool}" if pool is not None else None


def _pool_of(message: str, scenario: Scenario | None) -> str | None:
    """The pool that cannot be as it is asked, for the reason given."""
    from foretell.sim.deployment import deploy

    for name, pool in () if scenario is None else scenario.pools.items():
        try:
            deploy(pool)
        except ValueError as error:
            if " ".join(str(error).split()) == message:
                return name
    return None


def _about(scenario: object, handed: Handed, work: Callable[[Scenario], dict[str, Any]]) -> str:
    """Work on a scenario, as JSON; errors name the pool that they are about."""
    from foretell.sim.ui.questions import asked

    question = asked(scenario, handed)
    try:
        return json.dumps(work(question), allow_nan=False)
    except ValueError as error:
        raise refused(error, question) from None


def ask_choices(values: Mapping[str, Any] | None, file: str | None) -> str:
    """What the page offers, as JSON."""
    from foretell.sim.ui.choices import choices

    return json.dumps(choices(values, file), allow_nan=False)


def ask_answer(scenario: object, handed: Handed, intervals: object = False) -> str:
    """A forecast in closed form, as JSON."""
    from foretell.sim.ui.answers import answer

    return _about(scenario, handed, lambda question: answer(question, handed, intervals is True))


def ask_frontier(scenario: object, handed: Handed) -> str:
    """How far a deployment could go, as JSON."""
    from foretell.sim.ui.frontiers import frontier

    return _about(scenario, handed, frontier)


def ask_read(yaml: object, handed: Handed) -> str:
    """The scenario of a YAML text, as JSON."""
    from foretell.sim.ui.questions import SECTIONS_ASIDE, asked
    from foretell.sim.ui.yaml_text import from_yaml, with_ids

    if not isinstance(yaml, str):
        raise ValueError("yaml: not a text")
    values = from_yaml(yaml)
    dropped = [name for name in SECTIONS_ASIDE if name in values]
    found = asked(with_ids(values, handed), handed)
    return json.dumps({"scenario": with_ids(found.to_dict(), handed), "dropped": dropped}, allow_nan=False)


def ask_write(scenario: object, handed: Handed) -> str:
    """The YAML of a scenario, as JSON."""
    from foretell.sim.ui.questions import asked
    from foretell.sim.ui.yaml_text import as_yaml

    return json.dumps({"yaml": as_yaml(asked(scenario, handed), handed)}, allow_nan=False)


def ask_vllm(scenario: object, command: object, pool: object, handed: Handed) -> str:
    """A scenario with the pool that a `vllm serve` line describes, as JSON."""
    from foretell.sim.ui.questions import asked
    from foretell.sim.ui.yaml_text import with_ids
    from foretell.sim.vllm_line import read_serve_line

    if not isinstance(command, str) or len(command) > 20_000:
        raise ValueError("command: not a line of text")
    line = read_serve_line(command)
    values = asked(scenario, handed).to_dict()
    pools = values["pools"]
    name = pool if isinstance(pool, str) and pool in pools else next(iter(pools))
    values["pools"] = pools | {name: line.laid_over(pools[name])}
    found = with_ids(asked(with_ids(values, handed), handed).to_dict(), handed)
    told = {
        "scenario": found,
        "pool": name,
        "understood": [{"flag": flag, "as": f"pools.{name}.{place}"} for flag, place in line.understood],
        "left_out": [{"flag": flag, "why": why} for flag, why in line.left_out],
        "harmless": list(line.harmless),
    }
    return json.dumps(told, allow_nan=False)


def ask_trace(path: Path) -> str:
    """What is told of an uploaded trace, as JSON."""
    from foretell.sim.ui.uploads import about_trace

    return json.dumps(about_trace(path), allow_nan=False)


WORK: Mapping[str, Callable[..., str]] = {
    "choices": ask_choices,
    "answer": ask_answer,
    "frontier": ask_frontier,
    "read": ask_read,
    "write": ask_write,
    "vllm": ask_vllm,
    "trace": ask_trace,
}
"""Kind of question → who answers it."""
