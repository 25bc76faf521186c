"""The plan's choice against the truth: every candidate of a small space simulated."""

from __future__ import annotations

import pytest

from foretell.sim.planning_verify import plan
from planned import chat, cheapest, drawn, replicas_off, simulated, spaces, upto


def test_the_choice_is_the_true_one_in_a_tiny_space() -> None:
    asked = chat(
        {"hardware": ["h100-sxm", "l40s"], "replicas": upto(4)},
        {"tpot_p99": "<= 40 ms"},
        rate=25,
        requests=300,
    ).replace(replications=2)
    truth = cheapest(simulated(asked))
    found = plan(asked)
    assert truth is not None
    assert found.best is not None
    assert found.best.candidate.changes == truth.changes
    assert truth.changes["pools.chat.replicas"] > 1, "nothing to choose"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*spaces(), "drawn 2", "drawn 3", "drawn 8", "drawn 10"])
def test_the_choice_is_at_most_one_replica_off_the_truth(name: str) -> None:
    asked = drawn(int(name.split()[1])) if name.startswith("drawn") else spaces()[name]
    truth = cheapest(simulated(asked))
    off = replicas_off(plan(asked), truth)
    print(f"{name}: true {truth and dict(truth.changes)}, plan {off:g} replicas dearer")
    assert -1e-9 <= off <= 1
