"""Sections of the page of evidence: figures judged by their bounds, and no miss left out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evidence_summaries import CLIENT, CORPUS, ENERGY, KV, OPERATORS, PAPERS, RUNS, SCHEDULER, SERVED, SILICON
from foretell.validate.evidence import Coverage, Section, beyond, check, missed, uncovered
from foretell.validate.evidence_kinds import KINDS
from foretell.validate.evidence_parts import energy, kv, operators
from foretell.validate.evidence_runs import runs, served
from foretell.validate.evidence_scheduler import corpus, scheduler
from foretell.validate.evidence_servers import client, silicon
from foretell.validate.theory_tables import theory_summary
from frontier_groups import FRONTIER
from theory_sample import sample


@pytest.mark.parametrize(
    ("value", "low", "high", "met"),
    [
        (5.0, None, 5.0, True),
        (5.0001, None, 5.0, False),
        (99.99999, 100.0, None, False),
        (100.0, 100.0, None, True),
        (None, 1.0, None, None),
        (math.nan, 1.0, None, None),
    ],
)
def test_a_target_is_judged_by_its_bounds(
    value: float | None, low: float | None, high: float | None, met: bool | None
) -> None:
    assert check("a", value, low, high).met is met


def test_rounding_shows_no_miss_as_met() -> None:
    assert check("a", 99.99999, 100.0).reached == "99.99999 %"
    assert check("a", 5.0004, high=5.0).reached == "5.0004 %"
    assert check("a", 4.9996, high=5.0).reached == "5 %"
    assert check("a", 0.8499, 0.85, unit="").reached == "84.99 %"
    assert check("a", 999_999, 1_000_000, unit="steps").reached == "999,999 steps"


def test_errors_beyond_a_limit_are_counted_and_the_largest_named() -> None:
    errors = [("a", -30.0), ("b", 11.0), ("c", 10.0), ("d", None), ("b", 25.0)]
    assert beyond("x", errors, 10.0, worst=2) == [
        "x: 3 of 4 runs are off by more than 10 %: a −30.0 %, b +25.0 % and 1 more"
    ]
    assert beyond("x", errors, 30.0) == []


def test_intervals_that_hold_too_few_or_too_many_are_misses() -> None:
    found = [Coverage("few", 0.8, 10), Coverage("right", 0.9, 10), Coverage("many", 1.0, 10)]
    assert [line.partition(":")[0] for line in uncovered(found)] == ["few", "many"]


def _lines(section: Section) -> str:
    return "\n".join(missed(section))


def test_what_a_summary_says_of_its_targets_is_not_believed() -> None:
    target = {
        "name": "steps equal",
        "asked": {"at_least": 100.0, "at_most": None, "unit": "%"},
        "reached": 98.0,
    }
    section = runs(RUNS | {"targets": [target | {"met": True}]})
    assert [one.met for one in section.checks] == [False]
    assert "steps equal: asked at least 100 %, reached 98 %" in _lines(section)


def test_recorded_runs_that_are_far_off_are_named() -> None:
    lines = _lines(runs(RUNS))
    assert "slow +40.0 %" in lines
    assert "other: 3 tokens came in another step" in lines
    assert "other: step 7 differs" in lines
    assert ("quick", "−1.5 % to +9.5 %", "–", "–") in runs(RUNS).grids[2].rows
    assert runs(RUNS).absent == ["lonely is not forecast: alone with its model"]


def test_served_runs_are_judged_by_their_figures() -> None:
    section = served(SERVED)
    assert [one.met for one in section.checks] == [True, False, False]  # TPOT 4 %, E2E 6 %, TTFT 20 %
    assert "TTFT +20.0 %" in _lines(section)
    assert "held 50 % of 6" in _lines(section)


def test_the_scheduler_is_judged_by_every_version() -> None:
    older = SCHEDULER | {"vllm_version": "0.31.0", "steps_equal": 90, "scenarios_equal": 9, "scale": []}
    section = scheduler([older, SCHEDULER])
    lines = _lines(section)
    assert "vLLM 0.31.0: steps equal: asked at least 100 %, reached 90 %" in lines
    assert "vLLM 0.32.0: scenarios: asked at least 2,000 scenarios, reached 10 scenarios" in lines
    assert "vLLM 0.31.0: scenarios: asked at least 500 scenarios" in lines
    assert "block_size made wrong was noticed in 3 of the 4 scenarios" in lines
    assert "never binding, so that nothing is shown: watermark" in lines
    assert "versions of vLLM: asked at least 3 versions, reached 2 versions" in lines
    assert "m.json" in lines
    assert "vLLM 0.32.0: steps equal" not in lines
    assert scheduler(SCHEDULER).key == "scheduler"


def test_an_unequal_step_of_the_recorded_decisions_is_a_miss() -> None:
    lines = _lines(corpus(CORPUS))
    assert "vLLM 0.31.0, recorded: steps equal: asked at least 100 %, reached 99 %" in lines
    assert "vLLM 0.31.0: 1 of 10 scenarios are not equal throughout" in lines
    assert "0.32.0" not in lines


def test_other_sections_name_what_is_off() -> None:
    assert "NCCL on h200 (shape) 50.0 %" in _lines(operators(OPERATORS))
    assert "big on H100 −40.0 %" in _lines(energy(ENERGY))
    assert "m, h200, TP 1, vLLM 0.11.0 +50.0 %" in _lines(kv(KV))
    assert "outside of the band: m, h200, TP 1, vLLM 0.11.0" in _lines(kv(KV))
    assert "burst (first) −30.0 %" in _lines(client(CLIENT))
    assert "which is no nearer than the engine's side alone" in _lines(client(CLIENT))
    lines = _lines(silicon(SILICON))
    assert "a, h200 22.0 %" in lines
    assert "sglang agg 60.0 % (5 runs)" in lines
    assert "TPOT median error: asked at most 5 %, reached 7 %" in lines


BUILT: dict[str, Any] = {
    "scheduler": SCHEDULER,
    "corpus": CORPUS,
    "runs": RUNS,
    "served": SERVED,
    "client": CLIENT,
    "silicon": SILICON,
    "frontier": FRONTIER,
    "operators": OPERATORS,
    "energy": ENERGY,
    "kv": KV,
    "papers": PAPERS,
    "theory": theory_summary(sample()),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_every_section_says_what_a_sceptic_asks(kind: Any) -> None:
    section = kind.build(BUILT[kind.key])
    assert section.key == kind.key
    assert section.claim
    assert section.how
    assert section.would_fail
    assert section.command.startswith("foretell validate ")
    assert section.source
    assert not section.answer.endswith(".")
