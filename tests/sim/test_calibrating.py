"""Calibration against known coefficients, and against recorded runs of vLLM on CPUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost, StepLoad
from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.tabulate import tabulate
from foretell.sim import EngineConfig, metrics, simulate
from foretell.sim.calibrating import calibrate_steps, fit_steps
from foretell.sim.calibrating_points import calibrate_points
from foretell.sim.costforms import affine_bounds, affine_form, terms_form
from foretell.sim.observations import OperatingPoint
from foretell.sim.profile import calibrated_cost, reference_terms
from foretell.sim.scenario import Workload
from foretell.sim.steplog import StepLog, read_step_logs
from foretell.sim.term_times import latency_terms
from foretell.traces import Trace, trace_from_spec
from recorded import MISSING, ROOT, RUNS

TRUE = (8e-3, 9e-5, 3e-4, 1e-7, 2e-8)
CONFIG = EngineConfig(num_gpu_blocks=20_000, max_num_seqs=128, max_num_batched_tokens=2048)
LENGTHS = {"prompt": {"uniform": {"low": 50, "high": 1500}}, "output": {"geometric": 60}}


def trace(rate_per_s: float, seed: int, num_requests: int = 60) -> Trace:
    arrivals = {"process": "poisson", "rate_per_s": rate_per_s}
    return trace_from_spec({"arrivals": arrivals, "lengths": LENGTHS, "num_requests": num_requests}, seed)


def made(cost: Any, rates: tuple[float, ...] = (2, 8, 20), seed: int = 0) -> StepLog:
    """What the steps of simulated runs carry, and their seconds without noise."""
    loads = []
    for index, rate in enumerate(rates):
        run = simulate(trace(rate, 100 * seed + index), cost, CONFIG, loads=True)
        assert run.loads is not None
        loads.append(run.loads[0])
    rows = np.vstack(loads)
    load = StepLoad(*rows[:, 3:].T)
    names = tuple(f"run{i}" for i in range(len(rates)))
    return StepLog(load, cost(*load), np.repeat(np.arange(len(rates)), [len(x) for x in loads]), names)


def noisy(log: StepLog, rng: np.random.Generator, step: float, run: float = 0.0) -> StepLog:
    errors = step * rng.standard_normal(len(log)) + (run * rng.standard_normal(len(log.names)))[log.run]
    return StepLog(log.load, log.seconds * np.exp(errors), log.run, log.names)


def test_known_coefficients_are_within_their_intervals_at_the_rate() -> None:
    log, form = made(AffineCost(*TRUE)), affine_form()
    inside = []
    for seed in range(100):
        fit = fit_steps(noisy(log, np.random.default_rng(seed), 0.12), form)
        low, high = fit.interval().T
        inside.append((low <= TRUE) & (high >= TRUE))
    each = np.mean(inside, axis=0)
    assert each.min() >= 0.8  # of 100 draws at 0.9
    assert 0.86 <= each.mean() <= 0.97


def test_scales_of_a_model_are_recovered() -> None:
    base = tabulate(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    form = terms_form(base)
    heaviest = max(reference_terms(base.terms).items(), key=lambda item: item[1])[0]
    true = {heaviest: 1.3, "decode_attention": 1.5, "step": 4.0}
    log = noisy(made(base.scaled(true), rates=(5, 20, 60)), np.random.default_rng(1), 0.03)
    result = calibrate_steps(log, form)
    found = result.profile.coefficients
    assert found[heaviest] == pytest.approx(1.3, rel=0.1)
    assert found["decode_attention"] == pytest.approx(1.5, rel=0.25)
    assert found["step"] == pytest.approx(4.0, rel=0.25)
    predicted = form.cost(np.array(list(found.values())))(*log.load)
    assert np.mean(np.abs(predicted / log.seconds - 1)) < 0.03  # as the noise has it: 0.8 × 3 %
    assert result.profile.reference[heaviest] > 0


def test_no_term_beats_the_peaks() -> None:
    """Steps ten times as fast as modelled, faster than any hardware: coefficients stop at their bounds."""
    layout = (load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    base = tabulate(*layout)
    log = made(base)
    log = StepLog(log.load, log.seconds / 10, log.run, log.names)
    form = terms_form(base)
    fit = fit_steps(log, form)
    least = form.bounds(log.load)
    assert (fit.coefficients >= least).all()
    assert (fit.draws >= least).all()
    terms = reference_terms(form.terms)
    heaviest = form.names.index(max(terms, key=lambda name: terms[name]))
    assert fit.coefficients[heaviest] == pytest.approx(least[heaviest])
    assert any("ask for less than its bound" in warning for warning in fit.warnings)
    bounds = affine_bounds(*layout, Parallelism(), Precision())
    affine = fit_steps(log, affine_form(bounds))
    assert (affine.coefficients >= bounds).all()


def test_bounds_of_affine_coefficients_by_hand() -> None:
    """Llama 3.1 8B in bf16: 8.03 G parameters, 0.525 G of them the embedding, which is looked up."""
    bounds = affine_bounds(
        load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"), Parallelism(), Precision()
    )
    assert bounds[0] == pytest.approx(2 * (8.03e9 - 0.525e9) / 3.35e12, rel=0.01)  # weights read
    assert bounds[1] == pytest.approx(
        2 * (8.03e9 - 2 * 0.525e9) / 989.5e12, rel=0.15
    )  # FLOPs, and activations
    assert bounds[3] == pytest.approx(2 * 8 * 128 * 2 * 32 / 3.35e12, rel=0.01)  # keys and values of a token
    assert bounds[4] == pytest.approx(4 * 32 * 128 * 32 / 989.5e12, rel=0.01)  # QKᵀ and PV of a pair


def test_how_runs_differ_is_told_by_leaving_one_out() -> None:
    log = made(AffineCost(*TRUE), rates=(3, 4, 5, 6, 8, 10, 12, 15))
    errors = [
        calibrate_steps(
            noisy(log, np.random.default_rng(seed), 0.1, 0.15), affine_form(), draws=10
        ).profile.run_log_error
        for seed in range(12)
    ]
    assert 0.12 < np.mean(errors) < 0.25


def test_one_run_says_that_it_is_one() -> None:
    result = calibrate_steps(made(AffineCost(*TRUE), rates=(8,)), affine_form())
    assert result.profile.run_log_error == 0
    assert result.profile.warnings[-1].startswith("one run:")
    assert [each.name for each in result.held_out] == ["run0, other half"] * 2


def test_terms_of_latencies_add_up_to_them() -> None:
    cost = AffineCost(*TRUE)
    options: list[dict[str, Any]] = [{}, {"async_scheduling": True}, {"num_gpu_blocks": 300}]
    for changes in options:
        config = EngineConfig(**({"num_gpu_blocks": 20_000, "max_num_seqs": 64} | changes))
        run = simulate(trace(6, 1), cost, config, replicas=2, loads=True, itl=True)
        terms = latency_terms(run, lambda *load: {"whole": cost(*load)})
        for name, value in metrics.latencies(run).items():
            metric, _, statistic = name.partition("_")
            if statistic == "mean_s":
                assert terms[metric][0] == pytest.approx(value, rel=1e-9), (metric, changes)


def points(cost: AffineCost, client_s: float) -> list[OperatingPoint]:
    """What a benchmark of a server with this cost would report."""
    found = []
    for concurrency in (1, 4, 16, 48):
        spec = {"arrivals": {"process": "closed_loop", "concurrency": concurrency}, "lengths": LENGTHS}
        requests = trace_from_spec(spec | {"num_requests": 30 + 4 * concurrency}, concurrency)
        run = simulate(requests, cost, CONFIG)
        means = metrics.latencies(run)
        found.append(
            OperatingPoint(
                f"c{concurrency}",
                {"ttft": means["ttft_mean_s"] + client_s, "tpot": means["tpot_mean_s"]},
                num_requests=len(run),
                concurrency=concurrency,
                lengths=(tuple(run.prompt_tokens.tolist()), tuple(run.output_tokens.tolist())),
            )
        )
    return found


def test_latencies_at_operating_points_give_the_cost_back() -> None:
    """From a first guess that is wrong by factors of two, the cost predicts another load."""
    true = AffineCost(*TRUE)
    guess = AffineCost(*(c * f for c, f in zip(TRUE, (2, 0.5, 2, 0.5, 2), strict=True)))
    result = calibrate_points(
        points(true, 0.01),
        affine_form(around=guess),
        CONFIG,
        workload=Workload(lengths=LENGTHS, concurrency=1),
    )
    fitted = AffineCost(**result.profile.coefficients)
    assert fitted.base_s == pytest.approx(true.base_s, rel=0.15)
    assert fitted.per_token_s == pytest.approx(true.per_token_s, rel=0.15)
    assert result.profile.client_s == pytest.approx(0.01, rel=0.5)
    assert result.in_sample.mape < 0.03
    other = trace(6, 9, 200)
    means = [metrics.latencies(simulate(other, cost, CONFIG)) for cost in (true, fitted, guess)]
    off = [abs(m["e2e_mean_s"] / means[0]["e2e_mean_s"] - 1) for m in means]
    assert off[1] < 0.05 < 0.3 < off[2]


@pytest.mark.skipif(not ROOT.is_dir(), reason=MISSING)
class TestRecordedRuns:
    def test_recorded_batches_add_up_to_the_recorded_loads(self) -> None:
        """The columns of steps.csv are vLLM's own sums; decode_ctx_sum there is Σ c, ours Σ (c + 1)."""
        import pandas as pd

        folder = ROOT / "runs" / "m_prefix_on_r6"
        log, theirs = read_step_logs([folder]), pd.read_csv(folder / "steps.csv")
        assert np.array_equal(log.load.prefill_tokens, theirs.n_prefill_tokens)
        assert np.array_equal(log.load.prefill_pairs, theirs.prefill_attn_work)
        assert np.array_equal(log.load.prefill_seqs, theirs.n_prefill_seqs)
        assert np.array_equal(log.load.decode_seqs, theirs.n_decode_seqs)
        assert np.array_equal(log.load.decode_context, theirs.decode_ctx_sum + theirs.n_decode_seqs)
        assert np.array_equal(log.load.sampled, theirs.n_sampled)

    def test_half_of_the_runs_predict_the_others(self) -> None:
        """The noise floor of these runs is 12 to 14 % a step; their total time varies by as much."""
        folders = [ROOT / "runs" / name for name in RUNS]
        mine = [f for f in folders if json.loads((f / "config.json").read_text())["model"] == "llama_m"]
        result = calibrate_steps(read_step_logs(mine), affine_form(), draws=10)
        rows = [each.rows for each in result.held_out]
        assert len(mine) == len(rows) == 17
        assert np.average([each.mape for each in result.held_out], weights=rows) < 0.15
        totals = np.array([each.total_error for each in result.held_out])
        assert np.median(np.abs(totals)) < 0.08
        assert abs(result.in_sample.total_error) < 0.02

    def test_intervals_of_one_half_hold_the_other_halfs_total_times(self) -> None:
        """Nominally 90 %, from a posterior and a spread between runs that saw nothing of those runs."""
        names = [name for name in RUNS if name.startswith(("burst_m_", "m_")) or name == "cal_burst_m"]
        held = []
        for side in (0, 1):
            seen, other = names[side::2], names[1 - side :: 2]
            profile = calibrate_steps(
                read_step_logs([ROOT / "runs" / name for name in seen]), affine_form()
            ).profile
            cost, _ = calibrated_cost(profile)
            rng = np.random.default_rng(0)
            drawn = [cost.perturbed(rng) for _ in range(200)]
            for name in other:
                run = read_step_logs([ROOT / "runs" / name])
                low, high = np.quantile([each(*run.load).sum() for each in drawn], [0.05, 0.95])
                held.append(low <= run.seconds.sum() <= high)
        assert len(held) == 17
        assert np.mean(held) >= 0.8


def test_folders_without_a_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no steps\.csv in this folder"):
        read_step_logs([tmp_path])
