"""The file of shipped scales: written, read back, and honest about errors."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from functools import cache

import numpy as np
import pytest

from foretell.models.residual import CLIENT, Residual, residual_keys
from foretell.models.tabulated import TERMS
from foretell.validate.fit_residual import RELATED, fitted, log_errors, to_toml
from foretell.validate.mixed import NAMES, PRIOR, Runs, mixed
from foretell.validate.silicon_rows import MeasuredRow
from measured import measured

BY_HAND = Residual(
    {"gemm": 1.23456, "layers": 8.0},
    {
        "model:gpt-oss-120b": {"gemm": 1.1, "layers": 1.001},
        "pair:qwen3.5-397b-a17b, h200": {"layers": 0.996},
        "release:to 0.11": {},
    },
    {"pair": {"ttft": 0.2, "tpot": 0.1}, "sample": {"ttft": 0.15, "tpot": 0.05}},
    "1090 runs, fitted 2026-11-21",
)


def test_what_is_written_is_what_is_read() -> None:
    text = to_toml({"silicon": BY_HAND, "curves": dataclasses.replace(BY_HAND, source="others")})
    found = {name: Residual(**record) for name, record in tomllib.loads(text).items()}
    assert set(found) == {"silicon", "curves"}
    assert found["curves"].source == "others"
    residual = found["silicon"]
    assert residual.source == BY_HAND.source
    assert residual.errors == BY_HAND.errors
    assert residual.scales == {"gemm": 1.235, "layers": 8.0}  # four digits
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 110


def test_keys_that_nothing_moved_are_known_all_the_same() -> None:
    (residual,) = (Residual(**of) for of in tomllib.loads(to_toml({"silicon": BY_HAND})).values())
    assert residual.effects == {
        "model:gpt-oss-120b": {"gemm": 1.1},
        "pair:qwen3.5-397b-a17b, h200": {},
        "release:to 0.11": {},
    }
    assert residual.at(BY_HAND.effects) == pytest.approx(BY_HAND.at(BY_HAND.effects), rel=0.01)


def groups(spread: float, noise: float = 0.02) -> tuple[list[MeasuredRow], Runs]:
    """Twelve pairs of thirty rows; each off by a factor of its own, drawn from `spread`, and by noise."""
    rng = np.random.default_rng(11)
    c = np.array([PRIOR[name][0] for name in NAMES])
    rows, steps, times = [], [], []
    for model in ("a", "b", "c", "d"):
        for accelerator in ("h100-sxm", "h200", "b200"):
            factor = math.exp(spread * rng.standard_normal())
            for i in range(30):
                step = np.zeros(len(NAMES))
                for name, size in (("gemm", 5e-3), ("decode_attention", 3e-3), ("layers", 5e-5)):
                    step[NAMES.index(name)] = size * rng.uniform(0.3, 2.0)
                tpot_s, ttft_s = factor * (step @ c) * np.exp(noise * rng.standard_normal(2))
                rows.append(measured(id=str(i), model=model, accelerator=accelerator))
                steps.append(step)
                times.append((10 * ttft_s, tpot_s))
    step, both = np.array(steps), np.array(times)
    keys = tuple(residual_keys(row.run.model, row.run.accelerator, "0.19.0") for row in rows)
    return rows, Runs(10 * step, step, both[:, 0], both[:, 1], keys)


@pytest.mark.slow
def test_errors_are_standard_errors() -> None:
    rows, runs = groups(0.0)
    found = log_errors(mixed(runs), rows, RELATED["pair"])
    assert found == pytest.approx({"ttft": 0.02, "tpot": 0.02}, rel=0.2)


@pytest.mark.slow
def test_errors_are_wider_where_the_row_was_not_seen() -> None:
    rows, runs = groups(0.1)
    model = mixed(runs)
    out, within = (log_errors(model, rows, RELATED[name]) for name in ("pair", "sample"))
    assert out["tpot"] > within["tpot"] > 0.019
    assert 0.06 < out["tpot"] < 0.16


def test_a_row_set_aside_tells_no_error() -> None:
    rows, runs = groups(0.0)
    wrong = dataclasses.replace(runs, tpot_s=np.where(np.arange(len(rows)) % 30 < 3, 9.9, runs.tpot_s))
    doubtful = [
        dataclasses.replace(row, run=dataclasses.replace(row.run, set_aside="a clock" * (i % 30 < 3)))
        for i, row in enumerate(rows)
    ]
    assert log_errors(mixed(wrong), doubtful, RELATED["pair"])["tpot"] < 0.03
    assert log_errors(mixed(wrong), rows, RELATED["pair"])["tpot"] > 0.5


def test_what_may_not_help_to_forecast_a_pair() -> None:
    here, model, gpu, neither = (
        measured(model=m, accelerator=a)
        for m, a in (("a", "h200"), ("a", "b200"), ("b", "h200"), ("b", "b200"))
    )
    barred = {
        name: [related(here, other) for other in (here, model, gpu, neither)]
        for name, related in RELATED.items()
    }
    assert barred == {
        "sample": [False, False, False, False],
        "pair": [True, False, False, False],
        "model": [True, True, False, False],
        "accelerator": [True, False, True, False],
        "both": [True, True, True, False],
    }


@cache
def small() -> Residual:
    rows = [
        measured(id=f"{model}{gpu}{n}", model=model, accelerator=gpu, concurrency=n, num_requests=3 * n)
        for model in ("llama-3.1-8b", "qwen3-32b")
        for gpu in ("h100-sxm", "h200")
        for n in (1, 8)
    ]
    return fitted(rows, "curves", "a test")


def test_a_fit_from_rows_to_the_file() -> None:
    residual = small()
    assert set(residual.scales) == {*TERMS, *CLIENT}
    assert set(residual.errors) == {"pair", "model", "accelerator", "both", "sample"}
    assert residual.source == "a test"
    for model in ("llama-3.1-8b", "qwen3-32b"):
        assert residual.known(residual_keys(model, "h200")) == "pair"
    assert residual.known(residual_keys("llama-3.1-8b", "b200")) == "accelerator"
    (again,) = (Residual(**of) for of in tomllib.loads(to_toml({"curves": residual})).values())
    assert set(again.effects) == set(residual.effects)
    for gpu in ("h100-sxm", "b200"):
        keys = residual_keys("qwen3-32b", gpu, "0.19.0")
        assert again.at(keys) == pytest.approx(residual.at(keys), rel=0.03)
