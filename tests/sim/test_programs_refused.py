"""Programs and parameters that are wrong: one line that names the field, and never a traceback."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from foretell.sim.cli import main
from foretell.sim.programs import watched

OWN = """
from foretell.sim.programs.llm import RIGHT

def good(*, n: int = 2):
    def program(query, llm):
        for _ in range(n):
            yield llm.sample(query)
        yield llm.wait(1.0)
        return RIGHT
    return program

def raising():
    def program(query, llm):
        yield llm.sample(query)
        raise RuntimeError("oops")
    return program

def no_event():
    def program(query, llm):
        yield 5
    return program

def no_generator():
    return lambda query, llm: 0

def wrong_answer():
    def program(query, llm):
        yield llm.sample(query)
        return "yes"
    return program

def no_call():
    def program(query, llm):
        yield llm.wait(1.0)
        return 0
    return program

def endless():
    def program(query, llm):
        while True:
            yield llm.wait(0.0)
    return program

def no_program():
    return 7

def no_factory():
    raise KeyError("k")
"""


def told(strategy: dict[str, Any], place: Path, **more: Any) -> tuple[int, str]:
    """The exit code and what is said of a small forecast, or of the comparison that `compare` asks for."""
    scenario = {
        "workload": {"task": "gsm8k", "arrivals": {"process": "poisson", "rate_per_s": 1}, "num_requests": 4},
        "pools": {"solver": {"model": "llama-3.1-8b", "hardware": "l40s"}},
        "strategy": strategy,
        "replications": 1,
        **more,
    }
    file = place / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario))
    command = ["compare" if "compare" in more else "forecast", str(file), "--output", str(place / "out")]
    done = CliRunner().invoke(main, command)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 0 or not (place / "out").exists()
    return done.exit_code, " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("raising", "RuntimeError: oops (line 15 of"),
        ("no_event", "yields 5, which is no event"),
        ("no_generator", "its program gives 0; it must be a generator"),
        ("wrong_answer", "it answers 'yes'; an answer is a whole number"),
        ("no_call", "strategy: its program calls no pool"),
        ("endless", "times without an answer; let it end"),
        ("no_program", "makes 7; it must make a program"),
        ("no_factory", "raises KeyError"),
    ],
)
def test_a_program_of_ones_own_that_is_wrong(
    attribute: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "MOST_STEPS", 1000)
    (tmp_path / "own_programs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    code, error = told({"name": f"own_programs:{attribute}"}, tmp_path)
    assert code == 2 and said in error, error
    assert attribute == "no_call" or f"strategy.name: 'own_programs:{attribute}'" in error


def test_a_program_of_ones_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_programs.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("def factory(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert told({"name": "own_programs:good", "n": 1}, tmp_path) == (0, "")
    (tmp_path / "elsewhere").mkdir()
    for name in ("own_broken:factory", "own_programs:RIGHT", ":factory", "own_programs:nothing"):
        code, error = told({"name": name}, tmp_path / "elsewhere")
        assert code == 2 and "strategy.name: " in error and repr(name) in error, error


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"name": "self_consistency", "n": 0}, "strategy: n: 0 is not a whole number >= 1"),
        ({"name": "shortest_majority", "n": 2, "m": 4}, "strategy: n: 2 is not a whole number >= 4"),
        ({"name": "weighted_vote", "temperature": 0}, "temperature: 0.0 is not a number > 0"),
        ({"name": "selective", "threshold": float("nan")}, "strategy.threshold: nan is not a number"),
        ({"name": "infty_think", "overhead": math.inf}, "strategy: a parameter is too large"),
        ({"name": "best_of_n", "verifier": {"pool": "solver", "auc": "x"}}, "strategy.verifier.auc: 'x'"),
        (
            {"name": "best_of_n", "verifier": {"pool": "solver", "soundness": None}},
            "verifier.soundness: None",
        ),
        ({"name": "mixture_of_agents", "proposers": []}, "strategy.proposers: [] names no pool"),
        (
            {"name": "by_difficulty", "bounds": 0.5, "strategies": [{"name": "single"}]},
            "bounds: 0.5 is not a list",
        ),
        ({"name": "pipeline", "strategies": []}, "strategy.strategies: [] is not a list of strategies"),
        ({"name": "compiler", "graph": 2}, "strategy.graph: 2 is not a table"),
    ],
)
def test_a_wrong_parameter(strategy: dict[str, Any], said: str, tmp_path: Path) -> None:
    code, error = told(strategy, tmp_path)
    assert code == 2 and said in error, error


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [("strategy.n", 0, "n: 0 is not a whole number >= 1"), ("pools", {}, "compare.pools[0]: name a pool")],
)
def test_a_wrong_cell(path: str, value: object, said: str, tmp_path: Path) -> None:
    code, error = told({"name": "self_consistency", "n": 2}, tmp_path, compare={path: [value]})
    assert code == 2 and said in error, error
