"""A tree of subtasks: what its context holds, and what it would without pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.sim.programs.sampling import single
from foretell.sim.programs.subtasks import thread_inference
from unloaded import profile, run

PROMPT = 256


@pytest.mark.systems(61)
def test_the_context_is_that_of_the_tree_walked_by_hand() -> None:
    took = run(thread_inference(branching=2, depth=2, result_tokens=10), profile(1000), 1)
    # Leaves: nothing held; one result; the first task's; the first task's and one of the second's.
    assert took.run.prompt_tokens.tolist() == [PROMPT, PROMPT + 10, PROMPT + 10, PROMPT + 20]
    assert took.run.output_tokens.tolist() == [260] * 4
    whole = run(thread_inference(branching=2, depth=2, result_tokens=10, pruned=0.0), profile(1000), 1)
    # Unpruned: 260 of the first leaf; 520 of both and 10 of their task; 260 more.
    assert whole.run.prompt_tokens.tolist() == [PROMPT, PROMPT + 260, PROMPT + 530, PROMPT + 790]


@pytest.mark.systems(61)
def test_pruning_keeps_the_context_small_whatever_the_trace() -> None:
    """At most branching − 1 results are held at each level; the paper evicts up to 90 % of the cache."""
    settings: dict[str, Any] = {"branching": 4, "depth": 3, "result_tokens": 20}
    for tokens in (8_000, 64_000):
        pruned = run(thread_inference(**settings), profile(tokens), 20)
        whole = run(thread_inference(**settings, pruned=0.0), profile(tokens), 20)
        held = pruned.run.prompt_tokens.max() - PROMPT
        assert held == 3 * 3 * 20
        peak = (pruned.run.prompt_tokens + pruned.run.output_tokens).max()
        assert peak < 0.2 * (whole.run.prompt_tokens + whole.run.output_tokens).max()
        assert np.array_equal(pruned.answers, run(single(), profile(tokens), 20).answers)


def test_a_deadline_and_bad_settings() -> None:
    assert (run(thread_inference(), profile(1000), 5, deadline_s=1.0).answers == -1).all()
    with pytest.raises(ValueError, match="branching"):
        thread_inference(branching=0)
