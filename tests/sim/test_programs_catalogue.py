"""Whatever program a scenario names: it ends, in time, on any pool, the same twice, and without leftovers."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

import numpy as np
import pytest
import yaml

from foretell.sim.programs.catalogue import PROGRAMS, load_program
from foretell.sim.programs.run import ProgramRun
from places import ROOT
from programmed import CALM, Pool, engines, model, needed, run

MODELS = {"main": model("small", 0.4, 0.6), "second": model("large", 1.2, 0.5)}
EXTRA: dict[str, dict[str, Any]] = {
    "model_choice": {"models": ["main", "second"], "costs": [1.0, 3.0]},
    "hops": {"models": ["main", "second"]},
    "by_difficulty": {
        "strategies": [{"name": "single"}, {"name": "best_of_n", "n": 2, "solver": "second"}],
        "bounds": [0.5],
    },
    "pipeline": {"strategies": [{"name": "single"}, {"name": "best_of_n", "n": 2, "solver": "second"}]},
    "first_within": {
        "strategies": [{"name": "self_consistency", "n": 4}, {"name": "single"}],
        "seconds": [5.0, 1.0],
    },
}


def ran(name: str, pool: Pool = CALM, n: int = 8, **how: Any) -> ProgramRun:
    strategy = {"name": name, **needed(name), **EXTRA.get(name, {})}
    return run(strategy, MODELS, pool, n, **how)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_ends_the_same_twice(name: str) -> None:
    one, two = ran(name), ran(name)
    assert np.array_equal(one.answers, two.answers) and np.array_equal(one.finish_s, two.finish_s)
    assert (one.run.arrival_s <= one.finish_s[one.query]).all(), "asked after the answer was given"
    assert (one.calls >= 1).all() and (one.latency_s >= 0).all() and not one.late.any()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_answers_at_its_deadline(name: str) -> None:
    """Nothing is computed for a query after its time, wherever in the program that is."""
    whole = ran(name)
    for share in (0.1, 0.5, 0.9):
        deadline_s = share * float(whole.latency_s.min())
        cut = ran(name, deadline_s=deadline_s)
        assert (cut.latency_s <= deadline_s + 1e-9).all()
        assert (cut.run.arrival_s <= deadline_s).all() and (cut.left_s <= deadline_s + 1e-9).all()
        assert (cut.tokens <= whole.tokens).all() or name in ("first_within",)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_runs_on_engines_under_load(name: str) -> None:
    done = ran(name, engines(), arrival_s=np.arange(8) * 0.5)
    assert np.isfinite(done.finish_s).all()
    assert done.run.engines[0].steps > 0
    free = ran(name, engines(), arrival_s=np.arange(8) * 1e4)
    assert free.latency_s.mean() <= done.latency_s.mean() * 1.02 + 0.5


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_says_what_it_is(name: str) -> None:
    """Its parameters all have a line, its first line is a sentence, and it says who it is after."""
    factory = load_program(name)
    doc = inspect.cleandoc(factory.__doc__ or "")
    first = doc.split("\n\n")[0].replace("\n", " ")
    assert first.endswith("."), first
    assert all(
        parameter.kind is inspect.Parameter.KEYWORD_ONLY
        for parameter in inspect.signature(factory).parameters.values()
    )


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the tests are on their own, without the repository")
def test_the_page_s_strategy_in_strategies_runs() -> None:
    text = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
    block = re.search(r"(?m)^    strategy:\n(?:    .*\n)+", text)
    assert block is not None
    strategy = yaml.safe_load(textwrap.dedent(block[0]))["strategy"]
    models = {"small": MODELS["main"], "large": MODELS["second"]}
    done = run(strategy, models, CALM, 300)
    assert set(np.unique(done.calls)) == {1, 8, 6 + 1 + 1 + 1}  # by difficulty
