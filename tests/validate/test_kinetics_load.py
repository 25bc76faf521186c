"""The frontier under load: physical bounds, the closed form, the ranking at both ends, the page's tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foretell.models.hardware import load_hardware
from foretell.models.kinetics import WHOLE, intensity
from foretell.models.kinetics_curves import Pricing, chain_costs
from foretell.models.kinetics_paper import paper_models
from foretell.models.profiles import load_outcomes
from foretell.validate.kinetics_load import (
    KINDS,
    OVERLOAD_RPS,
    Frontiers,
    Setting,
    accuracies,
    alone_s,
    choices,
    frontiers,
    full_s,
    simulated,
)
from places import ROOT, docs_script

SMALL = Setting(alone_queries=40, full_queries=256, queries=80)


def least_seconds(size: str, cap: int, batch: float) -> float:
    """By the whole cost law: the greater of arithmetic and memory at a B200's peaks."""
    part, model = load_hardware("b200").accelerator, paper_models()[size]
    outcomes = load_outcomes("aime24", model.architecture)
    shape = model.shape(as_published=False)
    ratio = intensity(part)
    flops, both = (
        float(chain_costs(shape, outcomes, Pricing(i, WHOLE, batch), (cap,))[0]) for i in (0.0, ratio)
    )
    return max(flops, both - flops) / part.peak_flops["bf16"]


@pytest.mark.systems(26)
@pytest.mark.parametrize("size", ["4B", "14B"])
def test_servers_are_near_the_cost_law_and_never_below_it(size: str) -> None:
    cap = 4096
    alone = alone_s(SMALL, size, cap)
    assert least_seconds(size, cap, 1) * 0.97 < alone < 3 * least_seconds(size, cap, 1)
    full = full_s(SMALL, size, cap)
    assert least_seconds(size, cap, 1024) < full < 2.5 * least_seconds(size, cap, 256)
    assert full < alone / 10


@pytest.mark.systems(26)
def test_accuracy_under_load_is_the_closed_form() -> None:
    cap, count = 6144, 1500
    run = simulated(SMALL, "8B", cap, OVERLOAD_RPS, count)
    expected = float(accuracies("8B", (cap,))[0])
    assert run.summary["accuracy"].value == pytest.approx(expected, abs=4 * math.sqrt(0.25 / count))


@pytest.mark.slow
@pytest.mark.systems(26)
def test_load_turns_the_ranking_from_flops_to_eflops() -> None:
    found = frontiers(SMALL, ("4B", "14B"), (8192, 12_288, 16_384))
    assert [found.best(kind, 0.65) for kind in ("FLOPs", "alone")] == ["4B", "4B"]
    assert [found.best(kind, 0.65) for kind in ("eFLOPs", "whole", "full")] == ["14B"] * 3
    assert found.best("full", 0.99) is None


def test_choices_keep_to_the_rate_and_the_limit() -> None:
    caps = (1024, 4096)
    found = frontiers(SMALL, ("4B", "14B"), caps)
    chosen = choices(found, SMALL, 0.05, (1.0, 12.0, 60.0))
    assert chosen[1.0].size is None
    assert (chosen[12.0].size, chosen[60.0].size, chosen[60.0].cap) == ("4B", "14B", 4096)
    assert all(c.latency_s <= limit for limit, c in chosen.items() if c.size)
    rate = 0.95 / max(float(np.max(c)) for c in found.costs["full"].values())
    crowded = choices(found, SMALL, rate, (1e9,))[1e9]
    assert crowded.accuracy < max(float(a[-1]) for a in found.accuracy.values())


def test_the_page_s_tables_of_made_up_costs() -> None:
    """4B reaches 0.5, and 14B, twice as dear, 0.8."""
    accuracy = {"4B": np.array([0.3, 0.4, 0.5, 0.5]), "14B": np.array([0.3, 0.4, 0.5, 0.8])}
    costs = {"4B": np.array([0.2, 0.3, 0.5, 0.6]), "14B": np.array([0.4, 0.6, 1, 1.6])}
    found = Frontiers((1024, 2048, 3072, 4096), accuracy, dict.fromkeys(KINDS, costs))
    page = docs_script("measure_kinetics")
    assert page.cheapest(found, (0.5, 0.8, 0.9)) == {
        "0.50": dict.fromkeys(KINDS, "**4B** (14B 2.00×)"),
        "0.80": dict.fromkeys(KINDS, "**14B**"),
        "0.90": dict.fromkeys(KINDS, "none"),
    }
    assert page.highest_rates(found, (0.5, 0.8)) == {
        "4B": {"0.50": pytest.approx(2)},
        "14B": {"0.50": pytest.approx(1), "0.80": pytest.approx(1 / 1.6)},
    }
    assert page.large_over_small(found, "full") == pytest.approx({0.3: 2, 0.4: 2, 0.5: 2})


def test_the_page_s_choices_and_the_noise_of_seeds() -> None:
    page, sizes = docs_script("measure_kinetics"), ("4B", "14B")
    found = frontiers(SMALL, sizes, (1024,))
    best = max(sizes, key=lambda size: float(found.accuracy[size][0]))
    shown = f"{best}, 1,024: {100 * found.accuracy[best][0]:.0f} %"
    assert page.within(found, SMALL, (0.05,), (1.0, 60.0)) == {"0.05": {"1": "none", "60": shown}}
    assert 0 < page.other_seed(SMALL, (1024,)) < 0.5


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "docs" / "kinetics.md").is_file(), reason="the tests are on their own")
def test_the_page_shows_what_the_simulator_says() -> None:
    """Two of the highest rates. If it fails: python docs/figures.py --run kinetics_load."""
    found = frontiers(Setting(), ("4B", "14B"), (8192, 12_288, 16_384))
    page = (ROOT / "docs" / "kinetics.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    heads = next(row for row in rows if row[0] == "size")
    column = heads.index("0.65")
    for size in ("4B", "14B"):
        (shown,) = (row[column] for row in rows if row[0] == size)
        assert shown == f"{1 / found.cost_at('full', 0.65)[size]:.2g}"
