"""What notebooks 03, 06, 07 and 08 compute by functions of their own."""

from __future__ import annotations

import json
import math
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from places import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "notebooks").is_dir(), reason="the tests are on their own, without the notebooks"
)


def notebook(name: str) -> Any:
    """A notebook as a module: its functions, without running its cells."""
    spec = spec_from_file_location(name, ROOT / "notebooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_fewest_accelerators_that_keep_a_deadline() -> None:
    """One fewer is too slow or too full, and more never hurt."""
    book = notebook("03_strategy_for_a_budget")
    found = book.course("math-500", "qwen3-8b", "h200", "vote of 4", {"name": "self_consistency", "n": 4})
    deadline_s = 1.3 * float(found.p90_s[0])
    rate = 4.5 * found.capacity_rps
    count = found.least(rate, deadline_s)
    assert count is not None
    assert count >= 5  # the capacity alone asks for that
    assert found.p90_at(rate / count) <= deadline_s < found.p90_at(rate / (count - 1))
    assert found.least(rate, 0.9 * float(found.p90_s[0])) is None
    assert found.right("math-500", 0.8) == found.accuracy


def test_an_offer_costs_its_accelerators_rent() -> None:
    book = notebook("03_strategy_for_a_budget")
    one = book.course("math-500", "qwen3-4b", "h200", "single", {"name": "single"})
    (offer,) = book.offers([one], "math-500", 0.5, 120.0, 0.8)
    assert offer.usd * 0.5 * 3600 == pytest.approx(offer.accelerators * one.usd_per_h)
    assert offer.p90_s <= 120


def test_a_size_is_served_between_its_ends() -> None:
    """Of caps and loads: accuracies and rates outside have no time, and time rises with both."""
    book = notebook("07_kinetics")
    found = book.served("4B", (1024, 4096, 16_384), (0.01, 0.5, 0.9), "b200")
    low, high = float(found.accuracy[0]), float(found.accuracy[-1])
    assert math.isinf(found.at(high + 0.01, 0.01))
    assert math.isinf(found.at(low - 0.01, 0.01))
    middle = (low + high) / 2
    capacity = found.capacity_at(middle)
    assert found.capacity_rps[-1] < capacity < found.capacity_rps[0]
    assert math.isinf(found.at(middle, 0.95 * capacity))
    assert found.at(middle, 0.1 * capacity) < found.at(middle, 0.8 * capacity)
    assert found.at(low, 0.01) < found.at(high, 0.01)


def test_the_played_queue_has_the_mean_that_is_known() -> None:
    """M/M/1 at a half: one second; from an empty start a long run forgets how it began."""
    means = notebook("08_trust").mean_waits(0.5, 5000, 10, 10)
    assert means.shape == (10, 10)
    assert abs(means.mean() - 1) < 4 * means.std() / math.sqrt(means.size)


def test_tables_of_the_pages_are_read() -> None:
    heads, rows = notebook("08_trust").page_table("validation.md", "Each pair left out:")
    assert heads[:2] == ["model, GPU", "runs"]
    assert all(len(row) == len(heads) for row in rows)
    assert sum(int(row[1]) for row in rows) > 1000


@pytest.mark.parametrize(
    ("page", "heading", "columns"),
    [
        ("frontier.md", "## What was reached", {1: "groups, points, beyond", 2: "across"}),
        ("validation.md", "Other rows, with the scales of vLLM's servers", {1: "runs", 2: "TPOT", 3: "TTFT"}),
        ("validation.md", "### What was reached", {3: "90 % intervals hold"}),
        ("validation.md", "### Servers of others", {2: "TPOT", 3: "E2E", 4: "TTFT", 5: "inside"}),
        ("papers.md", "<!-- figures findings -->", {2: "published", 3: "ours", 4: "direction"}),
    ],
)
def test_the_columns_that_08_quotes_are_where_it_looks(
    page: str, heading: str, columns: dict[int, str]
) -> None:
    heads, rows = notebook("08_trust").page_table(page, heading)
    assert all(name in heads[at] for at, name in columns.items())
    assert rows


def test_files_of_the_reader(tmp_path: Path) -> None:
    """A step log and a benchmark's result are told apart; what is neither is said in one line."""
    book = notebook("06_calibrate")
    log = tmp_path / "low.csv"
    rng = np.random.default_rng(1)
    lines = ["prefill_tokens,prefill_pairs,prefill_seqs,decode_seqs,decode_context,dt_s"]
    for _ in range(40):
        prompt, batch = int(rng.integers(0, 900)), int(rng.integers(1, 60))
        pairs = prompt * (prompt + 1) // 2
        lines.append(f"{prompt},{pairs},{int(prompt > 0)},{batch},{700 * batch},{0.008 + 3e-5 * prompt:.5f}")
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fitted = book.from_files([log], "llama-3.1-8b", "h100-sxm")
    assert fitted.profile.fitted_on["observations"] == "steps"
    result = tmp_path / "c8.json"
    result.write_text(
        json.dumps(
            {
                "max_concurrency": 8,
                "request_rate": "inf",
                "completed": 64,
                "total_input_tokens": 32_000,
                "total_output_tokens": 6400,
                "mean_ttft_ms": 92.0,
                "mean_tpot_ms": 8.1,
            }
        ),
        encoding="utf-8",
    )
    fitted = book.from_files([result], "llama-3.1-8b", "h100-sxm")
    assert fitted.profile.fitted_on["observations"] == "operating points"
    with pytest.raises(ValueError, match="cannot be read"):
        book.from_files([tmp_path / "none.csv"], "llama-3.1-8b", "h100-sxm")
