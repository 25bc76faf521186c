"""`foretell ui`: what the page asks, and what it is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from foretell.sim import Scenario
from foretell.sim.closed_form import forecast_closed_form
from foretell.sim.ui.starts import STARTS, Start
from ui_client import CHAT, changed, served


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served() as found:
        yield found


def answer(client: Any, scenario: dict[str, Any], **given: Any) -> dict[str, Any]:
    reply = client.post("/answer", json={"scenario": scenario, **given})
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def test_page_and_its_files_come_from_the_package(client: Any) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    names = ["page.css", "colours.css", "chart.css", "ui.js", "ui.css"]
    assert [client.get(f"/static/{name}").status_code for name in names] == [200] * len(names)
    assert "javascript" in client.get("/static/ui.js").headers["content-type"]


def test_choices_are_what_is_bundled(client: Any) -> None:
    told = client.get("/choices").json()
    assert told["scenario"] == json.loads(json.dumps(CHAT))
    assert {"llama-3.1-8b", "qwen3-32b"} <= {model["name"] for model in told["models"]}
    by_name = {one["name"]: one for one in told["hardware"]}
    assert by_name["h100-sxm"]["usd_per_h"] > 0
    assert by_name["h100-sxm"]["node"] == 8
    best = next(one for one in told["strategies"] if one["name"] == "best_of_n")
    kinds = {p["name"]: (p["kind"], p["required"]) for p in best["parameters"]}
    assert kinds["n"] == ("integer", False)
    assert kinds["verifier"][0] == "judge"
    for objective in told["objectives"]:  # every example is one that a scenario takes
        text = f"{objective['direction']} {objective['example']}"
        Scenario.from_dict(changed(objectives={objective["name"]: text}, goodput={"ttft": "1 s"}))


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_answer_is_the_closed_form(client: Any, start: Start) -> None:
    told = answer(client, dict(start.scenario))
    found = forecast_closed_form(Scenario.from_dict(start.scenario), draws=1)
    figures = {one["name"]: one["value"] for one in told["figures"]}
    for name, value in figures.items():
        assert value == pytest.approx(found.summary[name].value, nan_ok=True), name
    assert told["met"] == found.met
    assert [one["met"] for one in told["objectives"]] == [v.met for v in found.verdicts]
    assert {"attainment", "goodput_rps"} & set(figures) == {"attainment", "goodput_rps"} & set(found.summary)
    assert {"e2e_p99_s", "usd_per_h", "load", "capacity_rps"} <= set(figures)
    assert told["commands"] and all(one["line"].startswith("vllm serve ") for one in told["commands"])
    assert {"latency", "step_time"} <= set(told["charts"])
    for chart in told["charts"].values():
        ElementTree.fromstring(chart)  # whole, well-formed HTML of XML's kind


def test_intervals_are_drawn_when_asked_for(client: Any) -> None:
    without = {one["name"]: one for one in answer(client, dict(CHAT))["figures"]}
    with_them = {one["name"]: one for one in answer(client, dict(CHAT), intervals=True)["figures"]}
    assert without["ttft_p99_s"]["low"] is None
    assert not without["ttft_p99_s"]["range"]
    one = with_them["ttft_p99_s"]
    assert one["low"] < one["high"]
    assert one["value"] == without["ttft_p99_s"]["value"]
    assert one["range"]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_ranges_are_those_of_a_forecast_of_the_file(
    client: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its usual number of draws where all engines are alike, else fewer. No clock has a say in it."""
    monkeypatch.setattr("time.thread_time", lambda: math.nan)
    told = answer(client, dict(start.scenario), intervals=True)
    values = yaml.safe_load(told["yaml"])
    scenario = Scenario.from_dict({name: values[name] for name in values if name != "replications"})
    alike = len(scenario.pools) == 1 and isinstance(next(iter(scenario.pools.values())).replicas, int)
    draws = scenario.replications if alike else 4
    assert scenario.replications == 8
    assert f"ranges: from {draws} draws" in told["notes"]
    found = forecast_closed_form(scenario, draws=None if alike else draws)
    for one in told["figures"]:
        estimate = found.summary[one["name"]]
        ends = [math.nan if one[end] is None else one[end] for end in ("low", "high")]
        assert ends == pytest.approx([estimate.low, estimate.high], nan_ok=True), one["name"]
    for one, verdict in zip(told["objectives"], found.verdicts, strict=True):
        assert one["chance"] == pytest.approx(verdict.probability)


def test_an_overload_is_said_first(client: Any) -> None:
    told = answer(client, changed(workload__arrivals={"process": "poisson", "rate_per_s": 50}))
    assert told["met"] is False
    assert told["headline"].startswith("Cannot keep up")
    figures = {one["name"]: one for one in told["figures"]}
    assert figures["ttft_p99_s"]["value"] is None
    assert figures["load"]["value"] > 1


def test_a_closed_loop_is_answered_by_means(client: Any) -> None:
    told = answer(client, changed(workload__concurrency=16, workload__arrivals=None, objectives={}))
    assert told["headline"].lower().startswith("mean")
    assert "latency" not in told["charts"]
    assert "step_time" in told["charts"]
    names = {one["name"] for one in told["figures"]}
    assert {"ttft_mean_s", "tpot_mean_s", "e2e_mean_s"} <= names
    assert "ttft_p99_s" not in names


@pytest.mark.parametrize("in_flight", [1, 16, 5000])
def test_a_closed_loops_frontier_is_its_closed_form_over_those_in_flight(client: Any, in_flight: int) -> None:
    def asked(concurrency: int) -> dict[str, Any]:
        return changed(workload__concurrency=concurrency, workload__arrivals=None, objectives={})

    told = client.post("/frontier", json={"scenario": asked(in_flight)}).json()
    assert set(told["charts"]) == {"frontier", "load"}
    for chart in told["charts"].values():
        ElementTree.fromstring(chart)
    own = [one for one in told["points"] if one["series"] == "h100-sxm"]
    assert {one["series"] for one in told["points"]} == {"h100-sxm", "h200", "b200", "a100-80gb-sxm"}
    assert [one["label"] for one in own if one["here"]] == [f"{in_flight:,} in flight"]
    by_number = {int(one["label"].split()[0].replace(",", "")): one for one in own}
    for concurrency, one in by_number.items():
        found = forecast_closed_form(Scenario.from_dict(asked(concurrency)), draws=1).summary
        assert one["x"] == pytest.approx(1 / found["tpot_mean_s"].value)
        assert one["y"] == pytest.approx(found["output_throughput_per_accelerator_tps"].value)
    held = [by_number[number] for number in sorted(by_number) if number <= 256]
    assert len(held) >= 6
    assert all(few["x"] > many["x"] and few["y"] < many["y"] for few, many in pairwise(held))


def test_prefill_and_decode_apart_have_no_frontier_of_a_closed_loop(client: Any) -> None:
    start = next(one for one in STARTS if "disaggregated" in str(one.scenario.get("strategy")))
    workload = dict(start.scenario["workload"]) | {"concurrency": 8}
    del workload["arrivals"]
    reply = client.post("/frontier", json={"scenario": dict(start.scenario) | {"workload": workload}})
    assert reply.status_code == 422
    assert "simulate it" in reply.json()["error"]


def test_what_has_no_closed_form_offers_a_simulation(client: Any) -> None:
    task = changed(workload={"task": "aime24", "arrivals": {"process": "poisson", "rate_per_s": 0.01}})
    task |= {"pools": {"solver": {"model": "qwen3-8b", "hardware": "h100-sxm"}}, "objectives": {}}
    for scenario, field in (
        (task | {"strategy": {"name": "mcts"}}, "strategy"),
        (changed(objectives={"itl_p99": "1 s"}), "objectives.itl_p99"),
        (changed(workload__arrivals={"process": "poisson", "rate_per_s": "inf"}), "workload.arrivals"),
    ):
        reply = client.post("/answer", json={"scenario": scenario})
        assert reply.status_code == 422
        assert reply.json()["simulate"] is True, reply.json()
        assert str(reply.json()["field"]).startswith(field)
        assert "--method" not in reply.json()["error"]


def test_refusals_name_the_field(client: Any) -> None:
    for scenario, field in (
        (changed(pools__chat__model="llama-3.1-405b"), "pools.chat"),
        (changed(pools__chat__tensor_parallel_size=3), "pools.chat.tensor_parallel_size"),
        (changed(pools__chat__engine={"max_model_len": 10**9}), "pools.chat.engine.max_model_len"),
        (changed(pools__chat__hardware="h1000"), "pools.chat.hardware"),
        (changed(pools__chat__colour="red"), "pools.chat.colour"),
        (changed(objectives={"ttft_p90": "1"}), "objectives.ttft_p90"),
        (changed(workload__arrivals={"process": "sometimes"}), "workload.arrivals.process"),
        (changed(strategy={"name": {}}), "strategy.name"),
        (changed(strategy={"name": []}), "strategy.name"),
        (changed(pools__chat__replicas=True), "pools.chat.replicas"),
        (changed(pools__chat__replicas=[{"count": True}]), "pools.chat.replicas.0.count"),
        (changed(pools__chat__engine={"max_num_seqs": True}), "pools.chat.engine.max_num_seqs"),
        (changed(replications=True), "replications"),
    ):
        reply = client.post("/answer", json={"scenario": scenario})
        assert reply.status_code == 422
        told = reply.json()
        assert (told["field"], told["simulate"]) == (field, False)
        assert "\n" not in told["error"]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_yaml_of_an_answer_is_what_forecast_reads(client: Any, start: Start, tmp_path: Any) -> None:
    text = answer(client, dict(start.scenario))["yaml"]
    file = tmp_path / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    assert Scenario.load(file) == Scenario.from_dict(start.scenario)
    back = client.post("/read", json={"yaml": text}).json()
    assert Scenario.from_dict(back["scenario"]) == Scenario.from_dict(start.scenario)
    again = client.post("/write", json={"scenario": back["scenario"]}).json()
    assert again["yaml"] == text


def test_reading_leaves_out_what_the_page_does_not_ask(client: Any) -> None:
    values = changed(plan={"fields": {"pools.chat.hardware": ["h200"]}})
    told = client.post("/read", json={"yaml": yaml.safe_dump(values)}).json()
    assert told["dropped"] == ["plan"]
    assert Scenario.from_dict(told["scenario"]) == Scenario.from_dict(CHAT)


@pytest.mark.parametrize(
    "text", ["a: [1", "- 1", "", "a: !!python/object:os.system {}", "a: 2024-01-01", "\x00"]
)
def test_bad_yaml_is_one_line(client: Any, text: str) -> None:
    reply = client.post("/read", json={"yaml": text})
    assert reply.status_code == 422
    assert reply.json()["error"] and "\n" not in reply.json()["error"]


def test_frontier_goes_through_the_load_asked(client: Any) -> None:
    told = client.post("/frontier", json={"scenario": dict(CHAT)}).json()
    here = [one for one in told["points"] if one["here"]]
    figures = {one["name"]: one["value"] for one in answer(client, dict(CHAT))["figures"]}
    assert len(here) == 1
    assert here[0]["series"] == "h100-sxm"
    assert here[0]["x"] == pytest.approx(1 / figures["tpot_mean_s"])
    assert here[0]["y"] == pytest.approx(figures["output_throughput_per_accelerator_tps"])
    own = sorted((one["y"], one["x"]) for one in told["points"] if one["series"] == "h100-sxm")
    assert len(own) >= 4
    speeds = [speed for _, speed in own]
    assert speeds == sorted(speeds, reverse=True)  # more load, slower for each user
    for chart in told["charts"].values():
        ElementTree.fromstring(chart)


@pytest.mark.parametrize(("index", "own", "others"), [(0, 7, 3), (2, 4, 1), (4, 7, 3)])
def test_frontiers_of_a_kind_have_as_many_points(client: Any, index: int, own: int, others: int) -> None:
    told = client.post("/frontier", json={"scenario": dict(STARTS[index].scenario)}).json()
    series = [one["series"] for one in told["points"]]
    assert series.count(series[0]) == own
    assert len(set(series)) == 1 + others
    assert "mi300x" in " ".join(told["notes"])  # what is left out is named


def test_frontier_of_a_task_goes_over_samples(client: Any) -> None:
    start = next(one for one in STARTS if "task" in one.scenario["workload"])
    told = client.post("/frontier", json={"scenario": dict(start.scenario)}).json()
    here = next(one for one in told["points"] if one["here"])
    assert (here["series"], here["label"]) == ("qwen3-8b", "n=4")
    by_samples = {one["label"]: one for one in told["points"] if one["series"] == "qwen3-8b"}
    assert by_samples["n=1"]["x"] < here["x"]  # a fourth of the tokens costs less
    assert by_samples["n=1"]["y"] < here["y"]
    assert all(0 < one["y"] <= 1 for one in told["points"])
    assert {"frontier_cost", "frontier_latency"} == set(told["charts"])


def test_vllm_line_is_laid_over_the_pool(client: Any) -> None:
    command = "vllm serve Qwen/Qwen3-32B -tp 2 --max-num-seqs 64 --port 80 --max-nun-seqs 3"
    told = client.post("/vllm", json={"scenario": dict(CHAT), "command": command}).json()
    pool = told["scenario"]["pools"]["chat"]
    assert pool["model"] == "qwen3-32b"
    assert (pool["tensor_parallel_size"], pool["hardware"]) == (2, "h100-sxm")
    assert pool["engine"] == {"max_num_seqs": 64}
    assert {"flag": "-tp 2", "as": "pools.chat.tensor_parallel_size: 2"} in told["understood"]
    assert told["left_out"] == [
        {"flag": "--max-nun-seqs 3", "why": "unknown flag, did you mean --max-num-seqs?"}
    ]
    assert told["harmless"] == ["--port 80"]
    bad = client.post("/vllm", json={"scenario": dict(CHAT), "command": "rm -rf /"})
    assert (bad.status_code, bad.json()["field"]) == (422, None)


def test_json_has_no_figures_that_are_not_finite(client: Any) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, float):
            assert math.isfinite(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(each)

    for rate in (1e-9, 6.6, 50, 1e9):
        scenario = changed(workload__arrivals={"process": "poisson", "rate_per_s": rate})
        for path in ("/answer", "/frontier"):
            reply = client.post(path, json={"scenario": scenario})
            assert reply.status_code == 200, (rate, path, reply.text)
            assert "NaN" not in reply.text
            walk(reply.json())
