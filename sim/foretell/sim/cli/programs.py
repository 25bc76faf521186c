"""What `foretell list` and `foretell show` say of strategies, tasks and outcome profiles."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any


def strategies() -> dict[str, str]:
    """Every strategy, with the first line of its docstring."""
    from foretell.sim.programs.catalogue import PROGRAMS, load_program

    about = {"disaggregated": "Prompts are computed in one pool and answers in another (without a task)."}
    return about | {name: _first_line(load_program(name)) for name in PROGRAMS}


def tasks() -> dict[str, str]:
    """Every task, with how many models have a profile of it."""
    from foretell.models.profiles import list_outcomes, list_tasks

    known = [task for task, _ in list_outcomes()]
    return {task: profiled(known.count(task)) for task in list_tasks()}


def profiled(models: int) -> str:
    """How many models have an outcome profile, in words."""
    return f"{models} model{'s' * (models != 1)} with outcome profiles"


def outcomes() -> dict[str, str]:
    """Every bundled profile, as task/model, with its accuracy and median length."""
    from foretell.models.profiles import list_outcomes, load_outcomes

    found = {}
    for task, model in list_outcomes():
        profile = load_outcomes(task, model)
        found[f"{task}/{model}"] = (
            f"{profile.difficulty.mean * 100:.1f} % right, median {profile.lengths.median_tokens:,.0f} tokens"
        )
    return found


def show_strategy(name: str) -> Iterator[str]:
    """Its parameters with their defaults, and what its docstring says."""
    from foretell.sim.programs.catalogue import PROGRAMS, load_program

    if name not in PROGRAMS:
        yield f"{name}: {strategies()[name]}"
        return
    factory = load_program(name)
    yield name
    for parameter in inspect.signature(factory).parameters.values():
        default = parameter.default
        given = "required" if default is inspect.Parameter.empty else _plain(default)
        yield f"  {parameter.name}: {given}"
    yield ""
    yield from (inspect.getdoc(factory) or "").splitlines()


def show_task(name: str) -> Iterator[str]:
    """The models with a profile of a task."""
    yield f"{name}: models with outcome profiles"
    for profile, about in outcomes().items():
        task, _, model = profile.partition("/")
        if task == name:
            yield f"  {model}: {about}"


def show_outcomes(name: str) -> Iterator[str]:
    """Every figure of a profile, what is assumed, and where the others come from."""
    from foretell.models.profiles import load_outcomes

    profile = load_outcomes(*name.split("/", 1))
    values = asdict(profile)
    sources, gaps = values.pop("sources"), values.pop("gaps")
    yield f"{profile.model} on {profile.task}: {profile.difficulty.mean * 100:.1f} % of samples right"
    for section, figures in values.items():
        if section in ("task", "model"):
            continue
        for field, figure in figures.items() if isinstance(figures, dict) else [("", figures)]:
            place = f"{section}.{field}" if field else section
            mark = "  (assumed)" if {place, section} & set(gaps) else ""
            yield f"  {place}: {figure}{mark}"
    yield "sources"
    for place, source in sources.items():
        yield f"  {place}: {source}"


def _first_line(factory: Any) -> str:
    return (inspect.getdoc(factory) or "").split("\n\n")[0].replace("\n", " ")


def _plain(value: Any) -> str:
    from foretell.sim.programs.llm import Judge

    if isinstance(value, Judge):
        where = "costs nothing" if value.pool is None else f"pool {value.pool or 'first'}"
        return f"a verifier with AUC {value.verifier.auc:g} ({where})"
    return repr(value) if value != "" else "the first pool"
