"""`foretell fit-profile` from a log to a profile that scenarios take."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from drawn_samples import draw_samples
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes
from foretell.models.profiles import load_outcomes
from foretell.sim.cli import main

PLANTED = Outcomes(
    "t", "m", Difficulty(0.6, 0.5), Lengths(3000, 0.6, 0.4, 0.5, 1.0, 8000), Answers(0.5), prompt_tokens=120
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    drawn = draw_samples(PLANTED, 120, 8, 0)
    assert drawn.answer is not None
    path = tmp_path / "my-eval.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question_id", "completion_tokens", "passed", "answer", "prompt_tokens"])
        rows = zip(drawn.problem, drawn.tokens, drawn.correct, drawn.answer, strict=True)
        for problem, tokens, correct, answer in rows:
            writer.writerow([f"q{problem}", round(float(tokens)), bool(correct), answer or "", 120])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fit-profile", *map(str, arguments)])


def test_a_log_becomes_a_profile(log: Path, tmp_path: Path) -> None:
    done = run(log, "--model", "qwen3-8b", "--max-tokens", 8000, "-o", tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    assert "960 samples of 120 problems" in done.output
    profile = load_outcomes("my-eval", str(tmp_path / "out.toml"))
    assert profile.model == "qwen3-8b"
    assert profile.prompt_tokens == 120
    assert "my-eval.csv, fitted 20" in profile.sources["lengths"]
    assert profile.difficulty.mean == pytest.approx(PLANTED.difficulty.mean, abs=0.1)


def test_json_has_every_figure_with_its_error(log: Path) -> None:
    done = run(log, "--max-tokens", 8000, "--json")
    found = json.loads(done.output)
    assert found["problems"] == 120
    for name in ("difficulty.a", "lengths.hardness", "answers.top_wrong_share"):
        assert found["figures"][name]["standard_error"] > 0
    within = found["figures"]["lengths.sd_within"]
    assert abs(within["value"] - 0.4) < 4 * within["standard_error"]
    assert "confidence_auc" in found["gaps"]
    assert "confidence_auc" not in found["figures"]


def test_bad_input_is_one_line_and_writes_nothing(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.toml"
    for arguments, says in (
        ((log, "--max-tokens", 10, "-o", out), "max_tokens: 10 is below a sample"),
        ((tmp_path / "no.csv", "-o", out), "No such file"),
        ((log, "-o", tmp_path / "out.txt"), "a profile is a .toml file"),
        ((log, "-o", tmp_path / "no" / "out.toml"), "cannot be written"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert says in done.output
        assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
