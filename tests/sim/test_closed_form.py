"""Forecasts in closed form: their figures, intervals and verdicts, and the command that gives them."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from foretell.sim import Scenario, forecast
from foretell.sim.analytic import analyse
from foretell.sim.cli import main
from foretell.sim.closed_form import forecast_closed_form
from foretell.sim.deployment import deploy
from foretell.sim.forecasting import METHOD, seeds
from foretell.sim.report.told import headline, subject
from foretell.sim.uncertain import drawn_part
from places import example

MODELLED = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "operator_times": "curves"}
KNOWN = {"step_cost": "affine:0.006,2e-5,2e-5,2e-8,1e-10", "engine": {"num_gpu_blocks": 50_000}}


def scenario(rate: float = 4.0, pool: dict[str, Any] = MODELLED, **more: Any) -> Scenario:
    values = {
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": rate},
            "lengths": {
                "prompt": {"lognormal": {"mean": 600, "sigma": 0.7}},
                "output": {"lognormal": {"mean": 200, "sigma": 0.7}},
            },
            "num_requests": 2000,
        },
        "pools": {"main": pool},
        "objectives": {"ttft_p99": "<= 1 s", "tpot_mean": "<= 40 ms"},
    }
    return Scenario.from_dict(values | more)


def foretell(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), prog_name="foretell")


def test_it_says_what_the_simulation_says() -> None:
    asked = scenario(8.0, KNOWN, replications=2)
    closed, simulated = forecast_closed_form(asked), forecast(asked)
    for name, limit in {
        "tpot_mean_s": 0.05,
        "e2e_mean_s": 0.10,
        "ttft_mean_s": 0.20,
        "mean_batch": 0.15,
    }.items():
        assert closed.summary[name].value == pytest.approx(simulated.summary[name].value, rel=limit), name


def test_draws_are_those_of_the_simulated_replications() -> None:
    asked = scenario(replications=4)
    found = forecast_closed_form(asked)
    (part,) = (made := deploy(asked.pool, 700.0)).parts
    other = drawn_part(part, np.random.default_rng(seeds(asked, 2)[1]))
    alone = analyse(asked, deployment=replace(made, parts=(other,))).figures
    assert found.summary["tpot_mean_s"].values[2] == pytest.approx(alone["tpot_mean_s"], rel=1e-12)


def test_the_interval_is_as_wide_as_the_cost_is_unsure() -> None:
    """At a light load a token takes as long as the memory that it reads: its error is the cost's."""
    asked = scenario(0.05)
    found = forecast_closed_form(asked, draws=128)
    (part,) = deploy(asked.pool, 700.0).parts
    error = part.cost.errors["memory"]  # type: ignore[attr-defined]
    spread = float(np.std(np.log(found.summary["tpot_mean_s"].values), ddof=1))
    assert spread == pytest.approx(error, rel=0.2)  # 128 draws know a spread to 6 %


def test_more_draws_keep_the_first_ones_and_nothing_is_random() -> None:
    few, many = (forecast_closed_form(scenario(), draws=n).summary["e2e_mean_s"].values for n in (3, 6))
    assert many[:3] == few
    assert forecast_closed_form(scenario()).to_json() == forecast_closed_form(scenario()).to_json()


def test_values_lie_in_their_intervals() -> None:
    for name, found in forecast_closed_form(scenario()).summary.items():
        assert found.low <= found.value <= found.high or math.isnan(found.value), name


def test_without_draws_no_interval_and_no_probability() -> None:
    for found in (forecast_closed_form(scenario(pool=KNOWN)), forecast_closed_form(scenario(), draws=1)):
        assert all(math.isnan(figure.low) for figure in found.summary.values())
        assert all(math.isnan(verdict.probability) for verdict in found.verdicts)
        assert "nothing was drawn" in found.notes[0]


def test_probabilities_fall_with_the_load() -> None:
    limit = {"tpot_mean": "<= 12 ms"}
    chances = [
        forecast_closed_form(scenario(rate, objectives=limit), draws=16).verdicts[0].probability
        for rate in (5.0, 12.0, 20.0, 60.0)
    ]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.9
    assert chances[-1] < 0.01


def test_beyond_the_capacity_there_are_no_latencies() -> None:
    found = forecast_closed_form(scenario(500.0))
    assert not found.met
    assert math.isnan(found.summary["ttft_p99_s"].value)
    assert found.verdicts[0].probability == 0
    told = json.loads(found.to_json())
    assert told["mean_ttft_ms"] is None
    assert any("overloaded" in note for note in told["notes"])


def test_json_has_the_keys_of_a_simulated_one() -> None:
    asked = scenario(2.0, replications=2, goodput={"ttft": "1 s"})
    small = replace(asked, workload=replace(asked.workload, num_requests=40))
    closed, simulated = forecast_closed_form(asked).to_dict(), forecast(small).to_dict()
    assert set(simulated) <= set(closed)
    assert closed["mean_itl_ms"] is closed["completed"] is closed["duration"] is None
    assert closed["method"].startswith("closed form")
    assert simulated["method"] == METHOD
    assert closed["intervals"]["ttft_mean_s"]["low"] < closed["mean_ttft_ms"] / 1e3


def test_a_client_is_left_out_and_told() -> None:
    found = forecast_closed_form(scenario(client={"request_s": 0.01}))
    assert any(note.startswith("client: left out") for note in found.notes)
    assert found.to_dict()["boundary"] == "engine"


def test_a_closed_loop_has_means() -> None:
    loop = {"concurrency": 4, "lengths": {"prompt": 900, "output": 90}, "num_requests": 200}
    found = forecast_closed_form(scenario(workload=loop, objectives={"tpot_mean": "<= 1 s"}))
    assert found.met
    assert found.mean_tokens == (900, 90)
    in_flight = found.rate_per_s * found.summary["e2e_mean_s"].value
    assert in_flight == pytest.approx(4)  # Little's law
    assert "at most 4 in flight" in subject(found)
    assert headline(replace(found, verdicts=())).startswith("mean: first token")
    assert found.to_html().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"itl_p99": "<= 1 s"}}, "objectives.itl_p99: the closed form has no itl_p99_s"),
        ({"objectives": {"goodput": ">= 1"}}, "objectives.goodput: needs per-request limits"),
    ],
)
def test_what_has_no_closed_form_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forecast_closed_form(scenario(**changes))


def test_a_price_that_nobody_knows_is_told_so() -> None:
    asked = scenario(pool=KNOWN, objectives={"cost_per_query": "<= 1 usd"})
    with pytest.raises(ValueError, match="cost_per_query: the accelerator has no price; give price_"):
        forecast_closed_form(asked)
    priced = scenario(pool=KNOWN | {"price_usd_per_h": 2.0}, objectives={"cost_per_correct": "<= 1 usd"})
    with pytest.raises(ValueError, match="the closed form has no usd_per_correct"):
        forecast_closed_form(priced)


def test_a_task_has_accuracy_and_intervals() -> None:
    found = forecast_closed_form(Scenario.load(example("strategies.yaml")), draws=3)
    right = found.summary["accuracy"]
    assert 0 < right.low < right.value < right.high <= 1
    assert found.mean_tokens is None
    assert len(found.notes) == len(set(found.notes))


def test_it_takes_a_fraction_of_a_second() -> None:
    asked = Scenario.load(example("chat.yaml"))
    forecast_closed_form(asked, draws=1)
    begun = time.process_time()
    forecast_closed_form(asked)
    spent = time.process_time() - begun
    assert spent < 1.0, f"{spent:.2f} CPU-seconds"


def test_the_command_says_which_method_it_used(tmp_path: Any) -> None:
    file, out = str(example("chat.yaml")), tmp_path / "out.json"
    shown = foretell("forecast", file, "--method", "closed_form", "--json", str(out))
    assert shown.exit_code == 0, shown.output
    assert "Closed form: continuous batching" in shown.output
    assert "requests at 3.50/s" in shown.output
    assert "Gaps (ITL)" not in shown.output
    assert json.loads(out.read_text(encoding="utf-8"))["met"] is True
    simulated = foretell("forecast", file, "--num-prompts", "30", "--replications", "1")
    assert "Simulated: vLLM's scheduling decisions, step by step." in " ".join(simulated.output.split())
    busy = foretell("forecast", file, "--method", "closed_form", "--request-rate", "50")
    assert busy.exit_code == 1
    assert "Misses ttft_p90" in busy.output


@pytest.mark.parametrize("flags", [("--output", "there"), ("--processes", "2")])
def test_flags_of_runs_are_refused(flags: tuple[str, str], tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = foretell("forecast", str(example("chat.yaml")), "--method", "closed_form", *flags)
    assert refused.exit_code == 2
    assert f"{flags[0]}: a closed form" in refused.output
    assert not list(tmp_path.iterdir())
