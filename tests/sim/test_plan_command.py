"""`foretell plan` on the command line: the answer, its exit codes, what it writes, the example."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foretell.sim import Scenario, forecast
from foretell.sim.cli import main
from foretell.sim.cli.plan import planned
from foretell.sim.planning_spec import plan_spec
from places import example

SCENARIO = """
workload:
  arrivals: {process: poisson, rate_per_s: 25}
  lengths: {prompt: 400, output: 100}
  num_requests: 300
pools:
  chat: {model: llama-3.1-8b, hardware: h100-sxm, operator_times: curves}
objectives: {tpot_p99: <= 40 ms, ttft_p99: <= 1 s}
plan:
  fields:
    pools.chat.hardware: [h100-sxm, l40s]
    pools.chat.replicas: {low: 1, high: 6}
replications: 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO)
    return file


def cli(*args: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["plan", *map(str, args)], prog_name="foretell")


def test_the_answer_comes_first_and_can_be_run(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = cli(file, "--output", out)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Deploy ")
    told = json.loads((out / "plan.json").read_text())
    best = told["best"]
    [command] = best["commands"]
    assert f"  {command['line']}" in lines
    assert shlex.split(command["line"])[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-8B"]
    assert told["met"] is True
    count = best["changes"]["pools.chat.replicas"]
    assert command["replicas"] == count
    assert best["conditions"]["as it is"]["met"] is True
    assert best["figures"]["tpot_p99_s"]["value"] < 0.04
    assert best["usd_per_h"] < min(
        [f["usd_per_h"] for f in told["finalists"][1:]] + [o["usd_per_h"] for o in told["others"]]
    )
    assert told["search"]["candidates"] == 12
    made = Scenario.load(file).replace(plan={}, **best["changes"])
    assert forecast(made, processes=1).summary["tpot_p99_s"].value == best["figures"]["tpot_p99_s"]["value"]
    if count > 1:
        cheaper = told["next_cheaper"]
        assert cheaper["usd_per_h"] < best["usd_per_h"]
        assert cheaper["missed"]


def test_json_instead_of_tables_and_equal_for_any_processes(file: Path) -> None:
    one, two = (cli(file, "--json", "--processes", n, "--replications", "2") for n in ("1", "2"))
    assert json.loads(one.stdout)["best"] == json.loads(two.stdout)["best"]


def test_it_exits_with_1_when_nothing_meets(file: Path) -> None:
    done = cli(file, "--budget", "0.5usd/h", "--replications", "2")
    assert done.exit_code == 1, done.output
    assert done.stdout.startswith("Nothing meets every objective; nearest: ")
    assert "nearest: 1 × l40s: 1 replica at 0.790 USD/h, which misses budget" in " ".join(done.stdout.split())


def test_flags_lie_over_the_file(file: Path) -> None:
    asked = planned(
        file, slo=("tpot:p99:30ms",), power="12kW", budget="9 usd/h", headroom="20%", spare=1, seed=7
    )
    assert asked.objectives == {
        "tpot_p99": "30ms",
        "ttft_p99": "<= 1 s",
        "power": "12kW",
        "budget": "9 usd/h",
    }
    spec = plan_spec(asked)
    assert (spec.headroom, spec.spare, spec.probability, asked.seed) == (0.2, 1, 0.5, 7)
    assert len(spec.fields) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--headroom", "much"), "plan.headroom: 'much' is not a share"),
        (("--probability", "2"), "plan.probability: "),
        (("--slo", "tpot:p99"), "objective 'tpot:p99': "),
        (("--budget", "12 apples"), "objectives.budget: "),
        (("--finalists", "0"), "0 is not in the range"),
        (("--processes", "none"), "'none' is not a valid integer"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(file: Path, args: tuple[str, ...], message: str) -> None:
    done = cli(file, *args)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_scenario_without_a_plan_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(
        SCENARIO.replace("plan:", "sweep:").replace("  fields:\n", "").replace("    pools", "  pools")
    )
    done = cli(file, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "plan: missing" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_example_of_the_readme_takes_thirty_seconds_at_most() -> None:
    start = time.process_time()
    done = cli(example("fleet.yaml"), "--processes", "1")
    spent = time.process_time() - start
    print(f"foretell plan examples/fleet.yaml: {spent:.1f} CPU-s")
    assert done.exit_code == 0, done.output
    assert spent < 30
