"""Scales fitted with priors: planted ones come back, priors hold the rest, and left-out rows have no say."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from foretell.models.residual import CLIENT, residual_keys
from foretell.models.tabulated import TERMS
from foretell.validate.mixed import LEVELS, NAMES, PRIOR, Array, Index, Mixed, Runs, mixed, untuned

MODELS = ("dense-a", "dense-b", "moe-c", "moe-d")
ACCELERATORS = ("h100-sxm", "h200", "b200")
EACH = 20
TRUTH = {"gemm": 1.15, "decode_attention": 0.9, "layers": 10.0, "step": 0.8, "client": 14.0}
PLANTED = {"experts": 1.3}
"""Factors of moe-c alone."""


def seconds(rng: np.random.Generator, experts: bool) -> tuple[Array, Array]:
    """Terms of a time to first token and per output token, of sizes and in a mix as servers have them."""

    def draw(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    step: dict[str, float] = {
        "gemm": draw(1e-4, 4e-3),
        "experts": draw(5e-4, 8e-3) * experts,
        "decode_attention": draw(1e-5, 4e-3),
        "elementwise": draw(1e-4, 1e-3),
        "layers": 1e-6 * rng.integers(30, 300),
        "step": 1e-3,
        "sequences": 1e-6 * draw(1, 200),
        "head": 1e-4,
    }
    many = draw(1, 10)
    prompt: dict[str, float] = {
        **{name: many * value for name, value in step.items()},
        "gemm_compute": draw(1e-3, 1.0),
        "prefill_attention": draw(1e-4, 0.3),
        "client": 1e-3,
        "client_1k": 1e-3 * draw(0.1, 30),
        "client_stream": 1e-6 * draw(1, 200),
    }
    return np.array([prompt.get(name, 0.0) for name in NAMES]), np.array(
        [step.get(name, 0.0) for name in NAMES]
    )


@cache
def synthetic(noise: float = 0.02, seed: int = 3) -> Runs:
    """Runs of every model on every accelerator, at the truth and the planted factors, and noise."""
    rng = np.random.default_rng(seed)
    scales = {name: PRIOR[name][0] for name in NAMES} | TRUTH
    rows = []
    for model in MODELS:
        for accelerator in ACCELERATORS:
            factors = PLANTED if model == "moe-c" else {}
            c = np.array([scales[name] * factors.get(name, 1.0) for name in NAMES])
            for _ in range(EACH):
                prompt, step = seconds(rng, "moe" in model)
                times = np.array([prompt @ c, step @ c]) * np.exp(noise * rng.standard_normal(2))
                rows.append((prompt, step, *times, residual_keys(model, accelerator, "0.19.0")))
    a, b, ttft, tpot = (np.array([row[i] for row in rows]) for i in range(4))
    return Runs(a, b, ttft, tpot, tuple(row[4] for row in rows))


@cache
def fitted(noise: float = 0.02) -> tuple[Mixed, Array]:
    model = mixed(synthetic(noise))
    return model, model.fit(np.arange(len(model.runs.keys)))


def every(model: Mixed) -> Index:
    return np.arange(len(model.runs.keys))


def scale_of(model: str, term: str, accelerator: str = "h200", noise: float = 0.02) -> float:
    found, z = fitted(noise)
    return found.residual(z).at(residual_keys(model, accelerator, "0.19.0"))[term]


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_known_scales_come_back(noise: float) -> None:
    for term, value in TRUTH.items():
        found = scale_of("dense-a", term, noise=noise)
        assert found == pytest.approx(value, rel=0.06 + noise), term


def test_a_planted_effect_is_found_where_it_was_planted() -> None:
    there, elsewhere = scale_of("moe-c", "experts"), scale_of("moe-d", "experts")
    assert there / elsewhere == pytest.approx(PLANTED["experts"], rel=0.1)
    found, z = fitted()
    effects = found.residual(z).effects
    assert effects["model:moe-c"]["experts"] > 1.05 > effects["model:moe-d"]["experts"]
    assert effects["model:moe-c"]["layers"] == pytest.approx(1.0, abs=0.05)


def test_predictions_are_as_good_as_the_noise() -> None:
    model, z = fitted()
    ttft, tpot = model.predict(z, every(model))
    assert np.log(tpot / model.runs.tpot_s).std() == pytest.approx(0.02, rel=0.25)
    assert np.log(ttft / model.runs.ttft_s).std() == pytest.approx(0.02, rel=0.25)


def test_predictions_by_hand() -> None:
    """Scales of 2 and 3 and a factor of 5: 2·5·0.1 + 3·0.2 and 2·5·0.01 + 3·0."""
    keys = ("model:m", "accelerator:x")
    a, b = np.zeros((2, 1, len(NAMES)))
    gemm, client = NAMES.index("gemm"), NAMES.index("client")
    a[0, gemm], a[0, client], b[0, gemm] = 0.1, 0.2, 0.01
    model = mixed(Runs(a, b, np.ones(1), np.ones(1), (keys,)), {"model": {"gemm": 0.1, "experts": 0.1}})
    assert model.names == ("",) * len(NAMES) + ("model:m",)  # no experts, no factor of theirs
    z = np.zeros(len(model.names))
    z[gemm], z[client], z[-1] = np.log([2.0, 3.0, 5.0])
    ttft, tpot = model.predict(z, np.array([0]))
    assert ttft.tolist() == pytest.approx([1.6])
    assert tpot.tolist() == pytest.approx([0.1])
    residual = model.residual(z)
    assert residual.effects == {"model:m": {"gemm": pytest.approx(5.0)}}
    scales = residual.at(keys)
    assert [scales["gemm"], scales["client"]] == pytest.approx([10.0, 3.0])


def test_a_residual_predicts_what_its_parameters_predict() -> None:
    model, z = fitted()
    residual, runs = model.residual(z), model.runs
    for i in (0, 70, 150, 239):
        c = np.array([residual.at(runs.keys[i])[name] for name in NAMES])
        ttft, tpot = model.predict(z, np.array([i]))
        assert [runs.ttft_terms[i] @ c, runs.tpot_terms[i] @ c] == pytest.approx([ttft[0], tpot[0]])


def test_priors_hold_what_no_run_tells() -> None:
    model, z = fitted()
    for name in ("communication", "experts_compute", "launches", "prefill_layers"):  # 0 s in all runs
        assert np.exp(z[NAMES.index(name)]) == pytest.approx(PRIOR[name][0], rel=1e-6)
    # few runs move the scales less than many
    few = model.fit(np.arange(3))
    gemm = NAMES.index("gemm")
    assert abs(few[gemm]) < abs(z[gemm])


def test_without_noise_or_priors_against_them_nothing_moves() -> None:
    model = mixed(synthetic())
    at_prior = model.predict(model.mean, every(model))
    exact = dataclasses.replace(model.runs, ttft_s=at_prior[0], tpot_s=at_prior[1])
    z = mixed(exact).fit(every(model))
    assert z == pytest.approx(model.mean, abs=1e-6)


@pytest.mark.slow
def test_rows_that_are_left_out_have_no_say() -> None:
    """To the bit: whatever was measured there."""
    runs = synthetic()
    out = np.array(["pair:moe-c, b200" in keys for keys in runs.keys])
    assert out.sum() == EACH
    rest = np.flatnonzero(~out)
    absurd = dataclasses.replace(
        runs, ttft_s=np.where(out, 100.0 * runs.ttft_s, runs.ttft_s), tpot_s=np.where(out, 1e-5, runs.tpot_s)
    )
    one, other = mixed(runs), mixed(absurd)
    z, same = one.fit(rest), other.fit(rest)
    assert z.tolist() == same.tolist()
    here = np.flatnonzero(out)
    assert [part.tolist() for part in one.predict(z, here)] == [
        part.tolist() for part in other.predict(same, here)
    ]
    # what holds for those rows alone stays at its prior
    own = [i for i, name in enumerate(one.names) if name == "pair:moe-c, b200"]
    assert own
    assert z[own] == pytest.approx(0.0, abs=1e-6)
    assert other.fit(every(other)).tolist() != z.tolist()


def test_a_left_out_model_gets_what_the_others_have_in_common() -> None:
    runs = synthetic()
    out = np.array(["model:dense-b" in keys for keys in runs.keys])
    model = mixed(runs)
    z = model.fit(np.flatnonzero(~out))
    _, tpot = model.predict(z, np.flatnonzero(out))
    _, plain = model.predict(model.mean, np.flatnonzero(out))
    measured = runs.tpot_s[out]
    tuned, untuned_ = (np.median(np.abs(np.log(each / measured))) for each in (tpot, plain))
    assert tuned < 0.6 * untuned_


def test_weights_act() -> None:
    """Two halves that disagree: the heavier has its way, and no weight is as good as not there."""
    runs = synthetic()
    slow = np.arange(len(runs.keys)) % 2 == 0
    torn = dataclasses.replace(runs, tpot_s=np.where(slow, 1.3 * runs.tpot_s, runs.tpot_s))
    model = mixed(torn, {})
    rows = every(model)

    def median(weights: Array) -> float:
        _, tpot = model.predict(model.fit(rows, None, weights), rows)
        return float(np.median(tpot / runs.tpot_s))

    light, even, heavy = (median(np.where(slow, w, 1.0)) for w in (0.02, 1.0, 50.0))
    assert light < 1.05 < 1.25 < heavy
    assert light < even < heavy
    none = model.fit(rows, None, np.where(slow, 0.0, 1.0))
    assert none == pytest.approx(model.fit(rows[~slow]), abs=1e-3)
    assert model.fit(rows, None, np.ones(len(rows))).tolist() == model.fit(rows).tolist()


def test_the_layout_of_parameters() -> None:
    model = mixed(synthetic())
    n, p = len(model.runs.keys), len(model.names)
    assert model.holds.shape == (n, p)
    assert {len(each) for each in (model.term, model.mean, model.error)} == {p}
    assert set(model.holds.sum(axis=0)) <= {n, 3 * EACH, 4 * EACH, 6 * EACH, 8 * EACH, 2 * EACH, EACH}
    assert "model:dense-a" in model.names
    assert not any(
        name.endswith("dense-a") and NAMES[term].startswith("experts")
        for name, term in zip(model.names, model.term, strict=True)
    )
    assert (model.error > 0).all()
    assert set(NAMES) == set(PRIOR) == {*TERMS, *CLIENT}
    for factors in LEVELS.values():
        assert set(factors) <= set(NAMES)


def test_what_stands_before_any_run() -> None:
    plain = untuned()
    assert set(plain.scales) == set(NAMES)
    assert plain.at(residual_keys("m", "h200")) == {name: median for name, (median, _) in PRIOR.items()}
    assert plain.known(residual_keys("m", "h200")) == "both"
    model = mixed(synthetic())
    c = np.array([plain.scales[name] for name in NAMES])
    assert model.predict(model.mean, np.array([5]))[1][0] == pytest.approx(model.runs.tpot_terms[5] @ c)
