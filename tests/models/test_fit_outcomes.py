"""Profiles fitted to per-sample records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from drawn_samples import draw_samples
from foretell.models.eval_log import Samples, read_samples
from foretell.models.fit_outcomes import concentration, fit_outcomes
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes
from foretell.models.profiles import load_outcomes, write_outcomes

PLANTED = Outcomes(
    "task",
    "model",
    Difficulty(0.5, 0.4, 0.1),
    Lengths(6000, 0.8, 0.4, 0.6, 1.1, 20_000),
    Answers(0.5, 4.0),
    confidence_auc=0.75,
)


def figure(profile: Outcomes, name: str) -> float:
    section, _, last = name.rpartition(".")
    return float(getattr(getattr(profile, section) if section else profile, last))


@pytest.mark.slow
def test_what_was_planted_comes_back_within_its_standard_errors() -> None:
    """Over eight draws: errors in units of their standard error are about standard normal, without a bias."""
    off: dict[str, list[float]] = {}
    for seed in range(8):
        fitted = fit_outcomes(
            draw_samples(PLANTED, 300, 10, seed), task="task", model="model", max_tokens=20_000
        )
        for name, error in fitted.errors.items():
            off.setdefault(name, []).append((figure(fitted.profile, name) - figure(PLANTED, name)) / error)
    assert set(off) >= {"difficulty.zero", "lengths.hardness", "answers.top_wrong_share", "confidence_auc"}
    for name, found in off.items():
        assert abs(np.mean(found)) < 1.4, (name, found)  # 4 standard errors of a mean of eight is 1.4
        assert max(map(abs, found)) < 4.5, (name, found)
        assert np.sqrt(np.mean(np.square(found))) < 1.9, (name, found)


def test_leaving_the_cap_out_of_account_would_shorten_the_samples() -> None:
    """Half of the hard problems' samples are cut: their true median is recovered from those that end."""
    hard = dataclasses.replace(PLANTED, lengths=Lengths(15_000, 0.5, 0.4, 0.6, 1.0, 20_000))
    samples = draw_samples(hard, 400, 8, 1)
    fitted = fit_outcomes(samples, task="t", model="m", max_tokens=20_000)
    assert fitted.capped > 0.2 * fitted.samples
    naive = np.exp(np.median(np.log(samples.tokens[samples.tokens < 20_000])))
    assert naive < 13_000
    error = fitted.errors["lengths.median_tokens"]
    assert abs(fitted.profile.lengths.median_tokens - 15_000) < 4 * error < 4 * 1000


def test_concentration_is_exact_on_exact_moments() -> None:
    from foretell.models.accuracy.voting import top_shares

    assert concentration(0.6 / 1.4, 0.6**3 / (1 - 0.4**3)).top_wrong_share == pytest.approx(0.6)
    s, weight = top_shares(Answers(0.4, 3.0))
    found = concentration(float(weight @ (s / (2 - s))), float(weight @ (s**3 / (1 - (1 - s) ** 3))))
    assert found.top_wrong_share == pytest.approx(0.4, abs=0.02)
    assert found.spread == pytest.approx(3.0, rel=0.2)


def test_what_records_do_not_hold_is_a_gap() -> None:
    drawn = draw_samples(PLANTED, 60, 6, 0)
    bare = Samples(drawn.problem, drawn.tokens, drawn.correct)
    fitted = fit_outcomes(bare, task="t", model="m")
    assert {"answers", "confidence_auc", "revision", "prompt_tokens"} <= set(fitted.profile.gaps)
    assert fitted.profile.lengths.cap_tokens == 20_000  # several samples end there
    assert any("20000" in note for note in fitted.notes)
    with pytest.raises(ValueError, match="max_tokens: 100 is below"):
        fit_outcomes(bare, task="t", model="m", max_tokens=100)
    with pytest.raises(ValueError, match="three problems or more"):
        fit_outcomes(Samples(np.arange(9), drawn.tokens[:9], drawn.correct[:9]), task="t", model="m")


def test_a_written_profile_is_read_back(tmp_path: Path) -> None:
    fitted = fit_outcomes(
        draw_samples(PLANTED, 60, 6, 2), task="My task", model="m", source="here, 2026-11-21"
    )
    write_outcomes(tmp_path / "m.toml", fitted.profile)
    assert load_outcomes("my task", str(tmp_path / "m.toml")) == fitted.profile


ROWS = [("a", 10, 1, "x"), ("a", 20, 0, "y"), ("b", 30, 0, None)]


def test_logs_are_read_under_their_usual_names(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "Question_ID,completion_tokens,is_correct,answer,input_tokens\n"
        + "".join(f'{p},{t},{bool(c)},"{a or ""}",100\n' for p, t, c, a in ROWS)
    )
    names = ("task_id", "tokens", "passed", "prediction")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in ROWS]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n\n")
    for name in ("log.csv", "log.jsonl"):
        found = read_samples(tmp_path / name)
        assert found.problem.tolist() == [0, 0, 1]
        assert found.tokens.tolist() == [10, 20, 30]
        assert found.correct.tolist() == [True, False, False]
        assert found.answer == ("x", "y", None)
    assert read_samples(tmp_path / "log.csv").prompt_tokens == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,tokens\n1,2\n", "no column correct"),
        ("id,tokens,correct\n1,2,1\n1,-3,1\n", "line 3: tokens '-3' is not a number of tokens"),
        ("id,tokens,correct\n1,2,0.5\n", "line 2: correct '0.5' is neither true nor false"),
        ("id,tokens,correct\n,2,1\n", "line 2: id '' names no problem"),
        ("id,tokens,correct\n", "no records"),
    ],
)
def test_a_bad_log_says_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_samples(tmp_path / "log.csv")
