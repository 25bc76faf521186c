"""The bundled outcome profiles."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from foretell.models.accuracy.coverage import beta_pass_at_k, fit_difficulty
from foretell.models.outcomes import Difficulty, Outcomes
from foretell.models.profiles import list_outcomes, list_tasks, load_outcomes, outcomes_toml, parse_outcomes
from places import SHARED

SECTIONS = ("difficulty", "lengths", "answers", "revision")
QWEN3 = [f"qwen3-{size}" for size in ("0.6b", "1.7b", "4b", "8b", "14b", "32b")]
LOGS = SHARED / "data" / "epoch-logs" / "per_problem_counts.csv"


def test_the_tasks_and_models_that_are_asked_for_are_there() -> None:
    asked = {
        "aime24",
        "aime25",
        "math-500",
        "gpqa-diamond",
        "livecodebench",
        "gsm8k",
        "mmlu-pro",
        "swe-bench-lite",
    }
    assert asked <= set(list_tasks())
    for task in ("aime24", "aime25", "math-500", "gpqa-diamond", "livecodebench"):
        assert {(task, model) for model in QWEN3} <= set(list_outcomes())


@pytest.mark.parametrize(("task", "model"), list_outcomes())
def test_every_figure_has_a_source_or_is_a_gap(task: str, model: str) -> None:
    profile = load_outcomes(task, model)
    assert (profile.task, profile.model) == (task, model)
    names = ["difficulty", "lengths", "answers", "revision", "confidence_auc", "settling", "step_tokens"]
    for name in names:
        figures = [f.name for f in dataclasses.fields(getattr(profile, name))] if name in SECTIONS else []
        told = {key for key in (*profile.sources, *profile.gaps) if key.partition(".")[0] == name}
        assert name in told or {f"{name}.{figure}" for figure in figures} <= told, name
    for key in (*profile.sources, *profile.gaps):
        section, _, figure = key.partition(".")
        assert hasattr(profile, section), key
        assert not figure or hasattr(getattr(profile, section), figure), key
    for text in profile.sources.values():
        assert re.search(r"20\d\d-\d\d-\d\d|arXiv:\d{4}\.\d{5}|^0: two wrong|^assumed", text), text


def test_larger_models_solve_more() -> None:
    for task in ("aime24", "gpqa-diamond", "livecodebench"):
        means = [load_outcomes(task, model).difficulty.mean for model in QWEN3]
        assert means == sorted(means), task


@pytest.mark.slow
@pytest.mark.skipif(not LOGS.is_file(), reason="the shared recordings (epoch-logs) are not here")
def test_fitted_difficulties_are_what_the_fit_gives() -> None:
    import pandas as pd

    counts = pd.read_csv(LOGS)
    counts = counts[counts["n"] > 0]
    seen = 0
    for task, model in list_outcomes():
        profile = load_outcomes(task, model)
        log = re.search(r"log (\w+): (\d+) problems x", profile.sources.get("difficulty", ""))
        if log is None:
            continue
        seen += 1
        mine = counts[counts["log"] == log[1]]
        assert len(mine) == int(log[2]) == profile.problems
        again = fit_difficulty(mine["n"].to_numpy(), mine["correct"].to_numpy())
        for k in (1, 4, 64):
            assert beta_pass_at_k(k, again) == pytest.approx(beta_pass_at_k(k, profile.difficulty), abs=2e-3)
    assert seen > 40


def test_names_are_found_and_unknown_ones_named() -> None:
    assert load_outcomes("AIME24", "Qwen/Qwen3-8B") is load_outcomes("aime24", "qwen3-8b")
    with pytest.raises(ValueError, match="unknown task 'aime'; did you mean aime24 or aime25"):
        load_outcomes("aime", "qwen3-8b")
    with pytest.raises(ValueError, match=r"unknown outcome profile 'qwen3-9b'; did you mean qwen3-8b"):
        load_outcomes("aime24", "qwen3-9b")
    with pytest.raises(ValueError, match="qwq-32b has profiles of aime24"):
        load_outcomes("mmlu", "qwq-32b")


def test_a_file_stands_for_a_profile(tmp_path: Path) -> None:
    mine = dataclasses.replace(load_outcomes("aime24", "qwen3-8b"), task="mine", model="m")
    path = tmp_path / "m.toml"
    path.write_text(outcomes_toml(mine))
    assert load_outcomes("mine", str(path)) == load_outcomes("", str(path)) == mine
    with pytest.raises(ValueError, match="its task is 'mine', not 'aime24'"):
        load_outcomes("aime24", str(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"difficulty": {"a": 1.0}}, "difficulty: b is missing"),
        ({"difficulty": {"a": -1.0, "b": 1.0}}, "difficulty.a: -1.0 is not a number in"),
        ({"difficulty": {"a": 1.0, "b": 1.0, "zeros": 0.1}}, "unknown field of difficulty 'zeros'.*zero"),
        ({"lengths": 3}, "lengths: 3 is not a table"),
        ({"setling": 2.0}, "unknown field 'setling'; did you mean settling"),
        ({"task": ""}, "task '' is not a name"),
        ({"confidence_auc": 2.0}, "confidence_auc: 2.0 is not a number in"),
    ],
)
def test_a_bad_record_says_what_is_wrong(change: dict[str, object], says: str) -> None:
    record = {
        "task": "t",
        "model": "m",
        "difficulty": {"a": 1.0, "b": 1.0},
        "lengths": {"median_tokens": 100.0, "sd_between": 0.5, "sd_within": 0.4},
    }
    assert isinstance(parse_outcomes(record), Outcomes)
    assert parse_outcomes(record).difficulty == Difficulty(1.0, 1.0)
    with pytest.raises(ValueError, match=says):
        parse_outcomes(record | change, "mine.toml")
