from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost
from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.tabulate import tabulate
from foretell.sim import Scenario, forecast
from foretell.sim.deployment import deploy
from foretell.sim.profile import (
    AFFINE,
    Profile,
    calibrated_cost,
    read_profile,
    reference_terms,
    write_profile,
)

TRUE = (8e-3, 9e-5, 3e-4, 1e-7, 2e-8)


def affine(**changes: Any) -> Profile:
    values: dict[str, Any] = {
        "kind": "affine",
        "coefficients": dict(zip(AFFINE, TRUE, strict=True)),
        "draws": (tuple(float(f"{1.5 * c:.6g}") for c in TRUE), tuple(2 * c for c in TRUE)),
        "log_error": 0.1,
        "run_log_error": 0.0,
        "identified": dict.fromkeys(AFFINE, True),
        "fitted_on": {"observations": "steps", "rows": 10, "note": 'a "quoted" näme'},
        "warnings": ("one", "two"),
        "created": "2026-11-21",
    }
    return Profile(**(values | changes))


def scales(base: Any, **coefficients: float) -> Profile:
    return affine(
        kind="terms",
        coefficients=coefficients,
        draws=(tuple(coefficients.values()),),
        identified=dict.fromkeys(coefficients, True),
        reference={name: reference_terms(base.terms)[name] for name in coefficients},
    )


def write(folder: Path, profile: Profile) -> str:
    write_profile(folder / "profile.toml", profile)
    return str(folder / "profile.toml")


def asked(**pool: Any) -> Scenario:
    workload = {"arrivals": {"process": "constant", "rate_per_s": 4}, "lengths": {"prompt": 100, "output": 5}}
    return Scenario.from_dict(
        {"workload": workload | {"num_requests": 20}, "pools": {"main": pool}, "replications": 4}
    )


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    profile = affine()
    assert read_profile(write(tmp_path, profile)) == profile


def test_a_long_posterior_is_thinned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    draws = tuple(tuple(TRUE * np.exp(0.1 * rng.standard_normal(5))) for _ in range(1000))
    kept = read_profile(write(tmp_path, affine(draws=draws)))
    assert len(kept.draws) == 100
    for name, (low, high) in affine(draws=draws).interval().items():
        assert kept.interval()[name] == pytest.approx((low, high), rel=0.05)


def test_draws_come_from_the_posterior_and_from_how_runs_differ() -> None:
    load = (100, 5050.0, 100, 1, 8, 4000, 9)
    cost, _ = calibrated_cost(affine())
    assert cost(*load) == AffineCost(*TRUE)(*load)
    ratios = {round(cost.perturbed(np.random.default_rng(s))(*load) / cost(*load), 9) for s in range(30)}
    assert ratios == {1.5, 2.0}
    cost, _ = calibrated_cost(affine(draws=(), run_log_error=0.2))
    rng = np.random.default_rng(1)
    logs = [np.log(cost.perturbed(rng)(*load) / cost(*load)) for _ in range(400)]
    assert np.std(logs) == pytest.approx(0.2, rel=0.1)
    assert abs(np.mean(logs)) < 0.04


def test_scales_multiply_the_terms_of_a_model() -> None:
    base = tabulate(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    load = (512, 512 * 256.5, 512, 1, 32, 32 * 700, 33)
    cost, notes = calibrated_cost(scales(base, decode_attention=1.5, step=2.0), base)
    terms = base.terms(*load)
    more = 0.5 * terms["decode_attention"] + 2.0 * terms["step"]
    assert terms["decode_attention"] > 1e-4
    assert cost(*load) == pytest.approx(base(*load) + more, rel=1e-6)
    assert not [note for note in notes if "another model" in note]


def test_scales_of_another_model_are_carried_over_with_a_note() -> None:
    base, other = (
        tabulate(load_architecture(name), load_hardware("h100-sxm"))
        for name in ("llama-3.1-8b", "llama-3.1-70b")
    )
    _, notes = calibrated_cost(scales(base, decode_attention=1.5), other)
    assert "fitted on another model" in notes[-1]


def test_a_forecast_uses_a_profile(tmp_path: Path) -> None:
    """A lone request of 100 tokens: its steps are those of the affine cost, by hand."""
    path = write(tmp_path, affine(draws=(TRUE,)))
    result = forecast(asked(calibration=path))
    base, token, seq, context, pair = TRUE
    first = base + 100 * token + seq + 5050 * pair
    rest = [base + token + seq + context * (100 + i) for i in range(1, 5)]
    assert result.summary["ttft_mean_s"].value == pytest.approx(first)
    assert result.summary["tpot_mean_s"].value == pytest.approx(sum(rest) / 4)
    assert any("calibrated" in note for note in result.notes)


def test_a_forecast_has_the_interval_of_the_posterior(tmp_path: Path) -> None:
    path = write(tmp_path, affine(run_log_error=0.1, draws=(TRUE,)))
    result = forecast(asked(calibration=path).replace(replications=16))
    found = result.summary["tpot_mean_s"]
    assert 0.05 < np.std(np.log(found.values)) < 0.2
    assert found.low < found.value < found.high


def test_with_a_model_its_memory_counts_and_the_profiles_times(tmp_path: Path) -> None:
    path = write(tmp_path, affine())
    part = deploy(asked(model="llama-3.1-8b", hardware="h100-sxm", calibration=path).pool).parts[0]
    assert part.capacity is not None
    load = (0, 0, 0, 0, 4, 400, 4)
    assert part.cost(*load) == AffineCost(*TRUE)(*load)


def test_a_path_starts_at_the_scenario(tmp_path: Path) -> None:
    write(tmp_path, affine())
    file = tmp_path / "scenario.yaml"
    file.write_text(
        "workload: {concurrency: 1, num_requests: 2, lengths: {prompt: 10, output: 2}}\n"
        "pools: {main: {replicas: [{calibration: profile.toml}, {step_cost: constant:0.1}]}}\n"
    )
    pool = Scenario.load(file).pool
    assert pool.groups[0].calibration == str(tmp_path / "profile.toml")
    assert len(deploy(pool).parts) == 2


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"calibration": "p", "step_cost": "constant:1"}, "calibration: says how long a step takes"),
        ({"calibration": "nothing.toml"}, "calibration nothing.toml: cannot be read"),
        ({"calibration": "p", "quantization": "fp8"}, "quantization: has no effect"),
    ],
)
def test_bad_use_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_profile(Path("p"), affine())
    with pytest.raises(ValueError, match=message):
        deploy(asked(**pool).pool)


def test_scales_need_a_model(tmp_path: Path) -> None:
    profile = affine(
        kind="terms", coefficients={"gemm": 1.0}, draws=((1.0,),), identified={"gemm": True}, reference={}
    )
    with pytest.raises(ValueError, match="give model and hardware too"):
        deploy(asked(calibration=write(tmp_path, profile)).pool)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "affine"', 'kind = "magic"', "kind: 'magic' is not one of affine, terms"),
        ("base_s = 0.008", "base_s = -1", "coefficients.base_s: -1 is not a finite number >= 0"),
        ("log_error = 0.1", 'log_error = "x"', "log_error: 'x' is not a finite number"),
        ("[posterior]", "[elsewhere]", "elsewhere: unknown field|draws: missing"),
        ("[posterior]", "[[posterior", "malformed"),
        ('names = ["base_s"', 'names = ["base"', "posterior.names"),
        ("base_s = true", "base = true", "identified: its names"),
    ],
)
def test_a_damaged_profile_is_told_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "profile.toml"
    text = affine().to_toml()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as told:
        read_profile(file)
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)


def test_draws_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="draws: row 0 has 1 values for 5 coefficients"):
        dataclasses.replace(affine(), draws=((1.0,),))
