"""Forecasts of scenarios with a task: accuracy, latency, tokens and cost from one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.models.profiles import load_outcomes
from foretell.sim import Scenario, forecast
from foretell.sim.cli import main

BASE: dict[str, Any] = {
    "workload": {
        "task": "math-500",
        "arrivals": {"process": "poisson", "rate_per_s": 0.5},
        "num_requests": 60,
    },
    "pools": {
        "solver": {"model": "qwen2.5-7b", "hardware": "h100-sxm", "replicas": 2},
        "judge": {"model": "qwen2.5-math-prm-7b", "hardware": "l40s"},
    },
    "strategy": {"name": "best_of_n", "n": 4, "verifier": {"pool": "judge", "auc": 0.85}},
    "replications": 4,
    "seed": 5,
}


def scenario(**changes: Any) -> Scenario:
    return Scenario.from_dict(BASE).replace(**changes)


def test_all_figures_of_the_queries_come_from_one_run() -> None:
    found = forecast(scenario(**{"workload.warmup_s": 10.0}), processes=1)
    figures = {name: estimate.value for name, estimate in found.summary.items()}
    queries, calls = found.queries, found.run
    assert len(queries) == 60
    assert figures["calls_per_query"] == pytest.approx(8, abs=0.2)  # four samples, four verdicts
    assert len(calls) == queries.calls.sum()
    assert calls.output_tokens.sum() == queries.output_tokens.sum()
    assert (queries.latency_s > 0).all()
    assert 0.5 < figures["accuracy"] <= 1
    assert figures["answered"] > 0.99
    assert figures["usd_per_correct"] > figures["usd_per_query"] > 0
    assert figures["energy_per_correct_J"] > figures["energy_per_query_J"] > 0
    # The slowest of four is slower than a call.
    mean_call = float(np.nanmean(calls.finish_s - calls.arrival_s))
    assert figures["e2e_mean_s"] > mean_call
    # The price: the rent of three accelerators over the run, for every query.
    span = float(queries.finish_s.max() - queries.arrival_s.min())
    rent = found.deployment.usd_per_h
    assert rent is not None
    one = forecast(scenario(replications=1), processes=1)
    spent = one.summary["usd_per_query"].value * 60
    assert spent == pytest.approx(rent / 3600 * span, rel=0.02)


def test_equal_scenarios_give_equal_forecasts_on_one_process_or_two() -> None:
    one, two = (forecast(scenario(), processes=n) for n in (1, 2))
    assert one.to_dict() == two.to_dict()


def test_strategies_meet_the_same_problems() -> None:
    """Common random numbers: one sample is among four, so that an oracle can only gain."""
    oracle = {"name": "best_of_n", "n": 4}
    pools = {"solver": BASE["pools"]["solver"]}
    few, many = (
        forecast(scenario(pools=pools, strategy=strategy, replications=1)).queries
        for strategy in ({"name": "single"}, oracle)
    )
    assert np.array_equal(few.arrival_s, many.arrival_s)
    assert (many.right >= few.right).all()
    assert many.right.sum() > few.right.sum()


def test_a_deadline_costs_accuracy_and_bounds_latency() -> None:
    pools = {"solver": BASE["pools"]["solver"]}
    vote = {"name": "self_consistency", "n": 8}
    free, bound = (
        forecast(scenario(pools=pools, strategy=vote, **change)).summary
        for change in ({}, {"workload.deadline_s": 4.0})
    )
    assert bound["e2e_p99_s"].value <= 4.0 + 1e-6 < free["e2e_p99_s"].value
    assert bound["late"].value > 0.1
    assert bound["accuracy"].value < free["accuracy"].value
    assert bound["tokens_per_query"].value < free["tokens_per_query"].value


def test_few_problems_widen_the_interval_of_accuracy() -> None:
    profile = load_outcomes("aime24", "qwen3-8b")
    rng = np.random.default_rng(0)
    means = [profile.perturbed(rng).difficulty.mean for _ in range(4000)]
    law = profile.difficulty
    beta_mean, whole = law.a / (law.a + law.b), law.a + law.b
    sd = (1 - law.zero) * np.sqrt(beta_mean * (1 - beta_mean) / (whole + 1) / 30)
    assert np.std(means) == pytest.approx(sd, rel=0.1)
    assert np.mean(means) == pytest.approx(law.mean, abs=0.01)
    assert replace(profile, problems=None).perturbed(rng) == replace(profile, problems=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workload.task": "aime42"}, "workload.task: unknown task 'aime42'; did you mean aime2"),
        ({"pools.solver.model": "llama-2-7b"}, "pools.solver.outcomes: unknown outcome profile 'llama-2-7b'"),
        (
            {"strategy": {"name": "best_off_n"}},
            "strategy.name: 'best_off_n' is not supported; did you mean best",
        ),
        ({"strategy.m": 3}, "strategy.m: best_of_n has no such parameter; known: n, verifier"),
        ({"strategy.n": "many"}, "strategy.n: 'many' is not a whole number"),
        (
            {"strategy.verifier": "jugde"},
            "strategy.verifier: 'jugde' is no pool; the pools are solver, judge",
        ),
        (
            {"strategy.verifier": {"pool": "judge", "ac": 1}},
            "strategy.verifier.ac: unknown field; did you mean auc",
        ),
        ({"strategy": {"name": "single"}}, "pools.judge: strategy single does not call it; drop it"),
        ({"strategy": {"name": "disaggregated"}}, "strategy.name: disaggregated takes no task yet"),
        ({"workload.lengths": "sharegpt"}, "workload.lengths: task math-500 says what is asked"),
        ({"strategy.max_tokens": 0}, "strategy.max_tokens: 0 leaves no room for an answer"),
        ({"objectives": {"accuracy": ">= 80"}}, "objectives.accuracy: '80' is more than all; write it as"),
        ({"workload.deadline_s": -1}, "workload.deadline_s: -1.0 is not a finite number > 0"),
        ({"client": "local"}, "client"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        forecast(scenario(**changes))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_command_line_asks_for_a_task(tmp_path: Path) -> None:
    flags = ["forecast", "--model", "llama-3.1-8b", "--hardware", "h100-sxm", "--request-rate", "1"]
    flags += ["--task", "gsm8k", "--strategy", "self_consistency:n=3", "--num-prompts", "30"]
    flags += ["--replications", "2", "--json", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, flags, standalone_mode=False)
    assert done.exception is None, done.exception
    answer = json.loads(done.output)
    assert answer["scenario"]["strategy"] == {"name": "self_consistency", "n": 3}
    assert answer["intervals"]["calls_per_query"]["value"] == 3
    lines = (tmp_path / "out" / "queries.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 31


@pytest.mark.parametrize("name", ["self_consistency", "gsm8k", "gsm8k/llama-3.1-8b"])
def test_what_is_bundled_can_be_looked_at(name: str) -> None:
    done = CliRunner().invoke(main, ["show", name], standalone_mode=False)
    assert done.exception is None
    assert name.split("/")[0] in done.output or name.split("/")[1] in done.output
