"""`foretell compare`: the grid, the ranking, and what the command writes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.sim import Scenario
from foretell.sim.cli import main
from foretell.sim.comparing import Comparison, compare, difference
from foretell.sim.comparing_grid import grid
from foretell.sim.intervals import Estimate

BASE: dict[str, Any] = {
    "workload": {
        "task": "math-500",
        "arrivals": {"process": "poisson", "rate_per_s": 0.05},
        "num_requests": 12,
    },
    "pools": {
        "solver": {"model": "qwen3-4b", "hardware": "h100-sxm", "operator_times": "curves"},
        "judge": {"model": "qwen2.5-7b", "hardware": "l40s", "operator_times": "curves"},
    },
    "compare": {
        "strategy": [
            {"name": "single"},
            {"name": "best_of_n", "n": 2, "verifier": {"pool": "judge", "auc": 0.8}},
        ],
        "pools.solver.model": ["qwen3-4b", "qwen3-8b"],
    },
    "seed": 5,
    "replications": 3,
}


def scenario(**changes: Any) -> Scenario:
    return Scenario.from_dict({**BASE, **changes})


def test_the_grid_is_the_product_without_pools_that_a_cell_does_not_call() -> None:
    cells = grid(scenario())
    assert [(c.scenario.strategy["name"], c.scenario.pools["solver"].model) for c in cells] == [
        ("single", "qwen3-4b"),
        ("single", "qwen3-8b"),
        ("best_of_n", "qwen3-4b"),
        ("best_of_n", "qwen3-8b"),
    ]
    assert [list(c.scenario.pools) for c in cells] == 2 * [["solver"]] + 2 * [["solver", "judge"]]
    assert all(not c.scenario.compare and c.scenario.seed == 5 for c in cells)


def test_cells_that_differ_in_an_idle_pool_are_one() -> None:
    asked = scenario(compare={**BASE["compare"], "pools.judge.hardware": ["l40s", "h100-sxm"]})
    names = [c.scenario.strategy["name"] for c in grid(asked)]
    assert names == ["single"] * 2 + ["best_of_n"] * 4


def test_cells_may_be_given_one_by_one() -> None:
    given = [{"strategy.n": 4, "pools.solver.replicas": 2}, {"strategy.n": 8}]
    asked = scenario(
        strategy={"name": "self_consistency"}, compare={"cells": given, "workload.task": ["gsm8k"]}
    )
    found = [(c.scenario.strategy["n"], c.scenario.pools["solver"].replicas) for c in grid(asked.replace())]
    assert found == [(4, 2), (8, 1)]
    assert {c.scenario.workload.task for c in grid(asked)} == {"gsm8k"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategy": []}, r"compare.strategy: \[\] is not a list of values"),
        ({"pools.solver.model": "qwen3-4b"}, "compare.pools.solver.model: 'qwen3-4b' is not a list"),
        ({"pools.solver.model": ["qwen3-4b", "qwen3-9b"]}, r"compare.pools.solver.model\[1\]: unknown"),
        ({"pools.solver.hardware": ["h1000"]}, r"compare.pools.solver.hardware\[0\]: unknown"),
        (
            {"pools.solver.modle": ["x"]},
            r"compare.pools.solver.modle\[0\]: unknown field; did you mean model",
        ),
        ({"pools.solvr.model": ["x"]}, r"compare.pools.solvr.model\[0\]: 'solvr' is no pool"),
        ({"strategy": [{"name": "single"}, {"name": "singel"}]}, r"compare.strategy\[1\].name: 'singel'"),
        ({"strategy": [{"name": "best_of_n", "n": "x"}]}, r"compare.strategy\[0\].n: 'x' is not a whole"),
        ({"pools.solver.replicas": [1, 0]}, r"compare.pools.solver.replicas\[1\]: 0 is not"),
        ({"seed": [1, 2]}, "compare.seed: all cells have the same"),
        ({"cells": [3]}, r"compare.cells\[0\]: 3 is not a table"),
        ({"cells": [{"seed": 1}], "strategy": [{"name": "single"}]}, r"compare.cells\[0\].seed"),
        (
            {"cells": [{"strategy.n": 1}], "strategy.n": [2]},
            r"compare.cells\[0\].strategy.n: the grid varies",
        ),
        ({"pools.solver.replicas": list(range(1, 20_000))}, "19,999 cells are more than 10,000"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(asked: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(scenario(compare=asked))


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="compare: missing; give a list of values by field"):
        grid(scenario(compare={}, pools=_one_pool()))


@pytest.fixture(scope="module")
def simulated() -> Comparison:
    asked = scenario(objectives={"accuracy": ">= 0.5", "e2e_p99": "<= 1 h"})
    return compare(asked.replace(**{"pools.solver.hardware": "h100-sxm"}), processes=1)


@pytest.mark.systems(20, 253)
def test_ranking_and_frontier(simulated: Comparison) -> None:
    """The cheapest that meets the objectives is first; the frontier is that of the definition."""
    told = simulated.cells
    assert len(told) == 4
    assert simulated.by == "usd_per_query"
    met = [cell.value("usd_per_query") for cell in told if cell.met]
    assert met == sorted(met)
    assert [cell.met for cell in told] == sorted((cell.met for cell in told), reverse=True)
    good = np.array([[-c.value("accuracy"), c.value("e2e_p99_s"), c.value("usd_per_query")] for c in told])
    for point, on in zip(good, simulated.frontier, strict=True):
        assert on == (not any((o <= point).all() and (o < point).any() for o in good))
    assert all(0 <= share <= 1 for share in simulated.frontier_share)
    for cell in told:
        assert cell.value("usd_per_correct") == pytest.approx(
            cell.value("usd_per_query") / cell.value("accuracy"), rel=0.2
        )


def test_processes_change_nothing(simulated: Comparison) -> None:
    assert compare(simulated.scenario, processes=2).to_dict() == simulated.to_dict()


def test_common_random_numbers_make_differences_surer(simulated: Comparison) -> None:
    """One model, two strategies, the same problems and first sample: the difference varies less than both."""
    cells = {(c.labels["strategy"][:6], c.labels["pools.solver.model"]): c.summary for c in simulated.cells}
    one, two = cells["single", "qwen3-4b"]["e2e_mean_s"], cells["best_o", "qwen3-4b"]["e2e_mean_s"]
    apart = math.hypot(np.std(one.values), np.std(two.values))
    assert np.std(difference(two, one).values) < apart


def test_a_difference_and_its_interval() -> None:
    one = Estimate(5.0, 0, 0, (4.0, 5.0, 6.0, 5.0))
    other = Estimate(3.0, 0, 0, (2.0, 3.0, 4.0, 3.0))
    assert difference(one, other) == Estimate(2.0, 2.0, 2.0, (2.0,) * 4)
    noisy = difference(one, Estimate(3.0, 0, 0, (3.0, 3.0, 3.0, 3.0)))
    # By hand: sd of (1, 2, 3, 2) is 0.8165; t(0.95; 3) is 2.3534; times √(1 + 1/4).
    assert noisy.high - noisy.value == pytest.approx(2.3534 * 0.8165 * math.sqrt(1.25), rel=1e-3)
    assert math.isnan(difference(one, Estimate(math.nan, 0, 0, ())).value)


def test_a_cell_that_does_not_fit_is_shown_and_all_are_fatal() -> None:
    asked = scenario(compare={"pools.solver.model": ["qwen3-4b", "qwen3-235b-a22b"]}, pools=_one_pool())
    found = compare(asked, method="closed_form")
    assert [bool(cell.reason) for cell in found.cells] == [False, True]
    assert "fit" in found.cells[1].reason
    with pytest.raises(ValueError, match=r"no cell can be forecast; the first: pools\.solver: "):
        compare(asked.replace(compare={"pools.solver.model": ["qwen3-235b-a22b"]}), method="closed_form")


def test_which_wins_depends_on_what_is_asked() -> None:
    asked = scenario(compare=BASE["compare"], replications=1)
    cheap = compare(asked, method="closed_form", by="tokens_per_query").cells[0]
    assert cheap.labels["strategy"] == "single"
    none = compare(asked.replace(objectives={"accuracy": ">= 1"}), method="closed_form")
    assert none.best is None
    assert not none.met
    with pytest.raises(ValueError, match="by: 'beauty' is not one of"):
        compare(asked, by="beauty")


def _one_pool() -> dict[str, Any]:
    return {"solver": BASE["pools"]["solver"]}


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "compare.json.yaml"
    file.write_text(json.dumps({**BASE, **changes}))
    return file


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    file = written(tmp_path, objectives={"accuracy": ">= 0.5"})
    folder = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["compare", str(file), "--method", "closed_form", "--output", str(folder)]
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Best: ")
    assert done.output.count("qwen3-8b") >= 2
    rows = list(csv.DictReader((folder / "cells.csv").read_text().splitlines()))
    plain = json.loads((folder / "compare.json").read_text())
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4] == [cell["rank"] for cell in plain["cells"]]
    assert float(rows[0]["accuracy"]) == plain["cells"][0]["figures"]["accuracy"]["value"]
    assert plain["method"] == "closed_form"
    assert plain["cells"][1]["against_first"]["accuracy"]["value"] is not None
    again = CliRunner().invoke(main, ["compare", str(file), "--method", "closed_form", "--json"])
    assert json.loads(again.stdout)["cells"] == plain["cells"]


def test_exit_codes(tmp_path: Path) -> None:
    file = written(tmp_path)
    run = CliRunner().invoke
    missed = run(main, ["compare", str(file), "--method", "closed_form", "--slo", "accuracy:1"])
    assert missed.exit_code == 1
    assert "None of 4 cells meets every objective; closest: " in " ".join(missed.output.split())
    bad = written(tmp_path, compare={"strategy": [{"name": "singel"}]})
    wrong = run(main, ["compare", str(bad), "--output", str(tmp_path / "none")])
    assert wrong.exit_code == 2
    assert "compare.strategy[0].name: 'singel' is not supported; did you mean single?" in wrong.output
    assert not (tmp_path / "none").exists()
    assert run(main, ["compare", str(tmp_path / "nowhere.yaml")]).exit_code == 2


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_narrow_terminal_still_names_every_cell(width: int) -> None:
    import io

    from rich.console import Console

    from foretell.sim.cli.comparison_tables import show_comparison

    text = Path(__file__).parents[2] / "examples" / "reasoning.yaml"
    if not text.is_file():
        pytest.skip("the tests are on their own, without the examples")
    comparison = compare(Scenario.load(text).replace(replications=2), method="closed_form")
    out = io.StringIO()
    show_comparison(comparison, Console(file=out, width=width, highlight=False))
    table = out.getvalue().split("Against the first")[0]
    assert table.count("qwen3-14b") >= 8
    assert max(map(len, table.splitlines())) <= width


def test_what_rounding_leaves_of_equal_figures_is_no_difference() -> None:
    from foretell.sim.cli.comparison_tables import _change
    from foretell.sim.intervals import Estimate

    assert _change("accuracy", Estimate(1.1e-16, -0.1, 0.1)).plain == "+0 points (−10 to +10)"
    assert _change("accuracy", Estimate(0.01, -0.1, -1e-15)).plain == "+1 points (−10 to +0)"
