"""Spaces too large to go through: Optuna proposes what runs on what, the bounds and bisection do the rest.

Source: Bergstra, Bardenet, Bengio and Kegl, Algorithms for Hyper-Parameter Optimization (2011), the
tree-structured Parzen estimator (TPE), as Optuna has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from foretell.sim.planning import Expected, Shortlist
from foretell.sim.planning_known import Known
from foretell.sim.planning_search import enumerated
from foretell.sim.planning_spec import PlanSpec, is_replicas, is_settings
from foretell.sim.scenario import Scenario

TRIALS = 500
_MOST_SETTINGS = 1_000
_NOTHING = 1e12
"""Stands for the rent of what meets no objective, as no infinity is asked of Optuna."""


def sampled(
    scenario: Scenario,
    spec: PlanSpec,
    wanted: int,
    progress: Callable[[int], None] | None = None,
    trials: int = TRIALS,
) -> Shortlist:
    """Search a sample of a space, the same for the same seed of the scenario.

    Every proposal fixes the strategy and what the pools run on; batch settings, up to 1,000 of them, and
    replicas are then searched whole.

    Raises:
        ValueError: Optuna is not installed, or a field is wrong.

    """
    try:
        import optuna
    except ImportError:
        raise ValueError(
            "plan.fields: too many layouts to go through; pip install 'foretell[plan]' brings Optuna, which "
            "samples them, or give fewer values"
        ) from None
    kept = {path for path in spec.fields if is_replicas(path)} | _settings(spec)
    drawn = {path: values for path, values in spec.fields.items() if path not in kept}
    known, short = Known(), Counter[str]()
    found: dict[tuple[int, ...], Shortlist] = {}

    def rent(trial: Any) -> float:
        places = tuple(_place(trial, path, values) for path, values in drawn.items())
        if places not in found:
            chosen = {path: [values[i]] for (path, values), i in zip(drawn.items(), places, strict=True)}
            fields = {path: chosen.get(path, values) for path, values in spec.fields.items()}
            found[places] = enumerated(scenario, replace(spec, fields=fields), 1, None, known)
            short.update(found[places].short)
            if progress is not None:
                progress(known.made)
        best = found[places].best
        return min(best[0].rent[0], _NOTHING) if best else _NOTHING

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=scenario.seed % 2**32))
    study.optimize(rent, n_trials=trials)
    best = sorted((each for one in found.values() for each in one.best), key=_order)[:wanted]
    space = math.prod(len(values) for values in spec.fields.values())
    bounded = sum(one.bounded for one in found.values())
    return Shortlist(tuple(best), space, bounded, known.made, dict(short), len(found))


def _place(trial: Any, path: str, values: Sequence[Any]) -> int:
    """A number of a range is near its neighbours; the values of a list are not."""
    if isinstance(values, range):
        return int(trial.suggest_int(path, 0, len(values) - 1))
    return int(trial.suggest_categorical(path, list(range(len(values)))))


def _settings(spec: PlanSpec) -> set[str]:
    """Batch settings that can be gone through in every trial."""
    some: set[str] = set()
    many = 1
    for path, values in spec.fields.items():
        if is_settings(path) and many * len(values) <= _MOST_SETTINGS:
            some.add(path)
            many *= len(values)
    return some


def _order(found: Expected) -> tuple[Any, ...]:
    return (*found.rent, -found.margin)
