"""The client's side: hand arithmetic, and where a forecast's figures then lie."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models.residual import load_residual
from foretell.sim import Scenario, forecast
from foretell.sim.client import (
    Client,
    at_client,
    at_engine,
    bundled_clients,
    client_toml,
    load_client,
    streams,
)
from foretell.sim.config import EngineConfig
from foretell.sim.costspec import parse_step_cost
from foretell.sim.simulation import simulate
from foretell.traces import Trace

FAR = Client(request_s=0.006, per_prompt_token_s=1e-4, latency_s=0.004, response_s=0.002, per_stream_s=0.0005)


COST, ENGINE = parse_step_cost("constant:0.1"), EngineConfig(num_gpu_blocks=100)
TWO = Trace(np.zeros(2), np.array([100, 50]), np.array([2, 4]))


def scenario(**more: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "workload": {"concurrency": 2, "lengths": {"prompt": 100, "output": 5}, "num_requests": 20},
            "pools": {"main": {"step_cost": "constant:0.1", "engine": {"num_gpu_blocks": 100}}},
            "replications": 2,
            **more,
        }
    )


def test_requests_at_once_stand_in_line() -> None:
    sent, prompts = np.array([0.0, 0.0, 0.005, 1.0]), np.array([100, 50, 0, 0])
    # 6 ms each and 0.1 ms a token, one after another; 4 ms more while the next is served.
    np.testing.assert_allclose(FAR.reached_s(sent, prompts), [0.020, 0.031, 0.037, 1.010])
    np.testing.assert_allclose(FAR.there_s(prompts), [0.020, 0.015, 0.010, 0.010])


def test_the_way_there_and_back() -> None:
    """Steps of 0.1 s: the second prompt comes in the first's step, and joins the next one."""
    run = simulate(at_engine(TWO, FAR), COST, ENGINE)
    np.testing.assert_allclose(run.arrival_s, [0.020, 0.031])
    np.testing.assert_allclose(run.first_token_s, [0.120, 0.220])
    np.testing.assert_allclose(run.finish_s, [0.220, 0.520])
    seen = at_client(run, FAR, TWO)
    np.testing.assert_allclose(seen.arrival_s, [0, 0])
    np.testing.assert_allclose(seen.first_token_s, [0.1225, 0.223])  # 2 ms, 0.5 ms an answer: one, then two
    np.testing.assert_allclose(seen.finish_s, [0.223, 0.5225])
    assert seen.engines == run.engines


def test_nothing_in_between_changes_nothing() -> None:
    run = simulate(TWO, COST, ENGINE)
    seen = at_client(simulate(at_engine(TWO, Client()), COST, ENGINE), Client(), TWO)
    for name in ("arrival_s", "first_token_s", "finish_s"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(run, name))


def test_streams_count_from_the_first_token_to_the_last() -> None:
    first, last = np.array([1.0, 2.0, np.nan]), np.array([3.0, 2.0, np.nan])
    found = streams(np.array([0.5, 1.0, 2.0, 2.5, 3.0, 3.5, np.nan]), first, last)
    assert found.tolist() == [0, 1, 2, 1, 1, 0, 0]


def test_who_waits_for_an_answer_asks_later() -> None:
    loop = Trace(np.zeros(3), np.array([100, 100, 200]), np.ones(3, dtype=int), concurrency=2)
    way = 0.01 + 1e-4 * np.array([100, 100, 200]) + 0.002 + 2 * 0.0005
    assert at_engine(loop, FAR).think_s == pytest.approx(way)
    thoughtful = dataclasses.replace(loop, think_s=np.array([1.0, 2.0, 3.0]))
    assert at_engine(thoughtful, FAR).think_s == pytest.approx(way + np.array([1, 2, 3]))
    np.testing.assert_allclose(at_engine(loop, FAR).arrival_s, [0.020, 0.036, 0.036])  # the first two in line


def test_a_forecast_says_on_which_side_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from foretell.sim.cli.tables import show_forecast

    near = forecast(scenario())
    far = forecast(scenario(client={"latency_s": 0.03, "response_s": 0.02}))
    plain, moved = near.to_dict(detailed=True), far.to_dict(detailed=True)
    assert (plain["boundary"], moved["boundary"]) == ("engine", "client")
    assert moved["boundaries"]["ttft"] == "client"
    assert moved["boundaries"]["itl"] == "engine"
    assert set(plain["boundaries"].values()) == {"engine"}
    assert moved["mean_ttft_ms"] == pytest.approx(plain["mean_ttft_ms"] + 50)
    assert moved["mean_e2el_ms"] == pytest.approx(plain["mean_e2el_ms"] + 50)
    assert moved["mean_tpot_ms"] == pytest.approx(plain["mean_tpot_ms"])
    assert moved["ttfts"] == pytest.approx([t + 0.05 for t in plain["ttfts"]])
    # Ten answers one after another in each of two slots, 50 ms between them.
    assert moved["duration"] == pytest.approx(plain["duration"] + 10 * 0.05)
    show_forecast(near)
    assert "the engine's: without HTTP" in capsys.readouterr().out
    show_forecast(far)
    shown = capsys.readouterr().out
    assert "Latency at the client" in shown
    assert "Gaps (ITL), engine" in shown


def test_goodput_is_judged_where_the_client_is() -> None:
    near, far = (
        forecast(scenario(goodput={"ttft": "120 ms"}, **client))
        for client in ({}, {"client": {"request_s": 0.05}})
    )
    assert near.summary["attainment"].value == 1
    assert far.summary["attainment"].value == 0


def test_a_scenario_names_a_client(tmp_path: Path) -> None:
    (tmp_path / "here.toml").write_text(client_toml(dataclasses.replace(FAR, source="a test")))
    named = tmp_path / "asked.yaml"
    named.write_text(
        "workload: {concurrency: 1, lengths: {prompt: 10, output: 2}, num_requests: 2}\n"
        "pools: {main: {step_cost: 'constant:0.1', engine: {num_gpu_blocks: 100}}}\n"
        "client: here.toml\n"
    )
    loaded = Scenario.load(named)
    assert loaded.client == dataclasses.replace(FAR, source="a test")
    assert Scenario.from_dict(loaded.to_dict()) == loaded


@pytest.mark.parametrize("name", bundled_clients())
def test_bundled_clients_say_where_they_were_measured(name: str) -> None:
    client = load_client(name)
    assert client.source
    assert client.date
    assert client.machine
    assert scenario(client=name).client == client


def test_the_client_of_measured_servers_is_the_one_that_was_fitted() -> None:
    scales = load_residual("silicon").at(())
    client = load_client("vllm-gpu-servers")
    assert client.latency_s == pytest.approx(1e-3 * scales["client"])
    assert client.per_prompt_token_s == pytest.approx(1e-6 * scales["client_1k"])
    assert client.per_stream_s == pytest.approx(1e-6 * scales["client_stream"])
    assert client.request_s == client.response_s == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"request_s": -1}, "client.request_s: -1.0 is not a finite number of seconds >= 0"),
        ({"request": 1}, "client.request: unknown field; did you mean request_s?"),
        ("nobody", "client: 'nobody' is unknown; give one of"),
        ("missing.toml", "client missing.toml: cannot be read"),
        (3, "client: 3 is not a table of fields"),
    ],
)
def test_bad_clients_are_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        scenario(client=given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
