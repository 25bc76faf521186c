from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.traces import (
    Trace,
    at_rate,
    between,
    concat,
    from_zero,
    head,
    merge,
    scaled_lengths,
    scaled_rate,
    summary,
)
from foretell.traces.describe import shared_prefix_tokens


def trace(arrival: list[float], **more: Any) -> Trace:
    n = len(arrival)
    columns: dict[str, Any] = {"prompt_tokens": [10] * n, "output_tokens": [5] * n} | more
    return Trace(np.array(arrival), **columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"arrival": [0.0, 2.0, 1.0]}, "row 2, column arrival_s: 1.0 comes after 2.0"),
        ({"arrival": [0.0, float("nan")]}, "row 1, column arrival_s: nan is out of range"),
        ({"arrival": [0.0, float("inf")]}, "row 1, column arrival_s: inf is out of range"),
        ({"arrival": [-1.0, 0.0]}, "row 0, column arrival_s: -1.0 is out of range"),
        ({"arrival": [0.0, 1.0], "prompt_tokens": [3, 0]}, "row 1, column prompt_tokens: 0 is out of range"),
        ({"arrival": [0.0, 1.0], "output_tokens": [0, 3]}, "row 0, column output_tokens: 0 is out of range"),
        (
            {"arrival": [0.0, 1.0], "prompt_tokens": [3, 1.5]},
            "row 1, column prompt_tokens: 1.5 is not a whole",
        ),
        ({"arrival": [0.0, 1.0], "think_s": [0.0, -2.0]}, "row 1, column think_s: -2.0 is out of range"),
        ({"arrival": [0.0, 1.0], "segments": [(), (("g", 16),)]}, "row 1, column segments: 16 tokens"),
        ({"arrival": [0.0], "segments": [(("g", 0),)]}, "row 0, column segments: a segment of 0 tokens"),
        ({"arrival": [0.0, 1.0], "session": ["a"]}, "column session has 1 rows; arrival_s has 2"),
        ({"arrival": [0.0], "concurrency": 0}, "concurrency is 0"),
        ({"arrival": [0.0], "prompt_tokens": ["x"]}, "column prompt_tokens holds"),
        ({"arrival": [0.0], "prompt_tokens": [[1]]}, "column prompt_tokens has 2 dimensions"),
    ],
)
def test_bad_values_are_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        trace(**columns)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_later_turn_may_come_without_a_time_of_its_own() -> None:
    ok = trace([1.0, 0.0, 3.0, 4.0], session=["a", "a", "", "b"])
    assert len(ok) == 4
    with pytest.raises(ValueError, match="row 2, column arrival_s"):
        trace([1.0, 0.0, 0.5], session=["a", "a", "b"])


def test_columns_are_typed_and_cannot_be_written() -> None:
    given = np.array([0, 1])
    t = Trace(given, np.array([1, 2], dtype=np.int32), np.array([3.0, 4.0]))
    assert [x.dtype.name for x in (t.arrival_s, t.prompt_tokens, t.output_tokens)] == [
        "float64",
        "int64",
        "int64",
    ]
    with pytest.raises(ValueError, match="read-only"):
        t.arrival_s[0] = 5.0
    given[0] = 0  # the caller's own array stays writable
    assert t.ids() == ["r0", "r1"]


def test_slices_and_scales() -> None:
    t = trace([10.0, 11.0, 13.0, 16.0], request_id=list("abcd"), priority=[0, 1, 2, 3])
    assert list(head(t, 2).ids()) == ["a", "b"]
    middle = between(t, 11.0, 16.0)
    assert list(middle.ids()) == ["b", "c"]
    assert middle.priority is not None
    assert middle.priority.tolist() == [1, 2]
    assert from_zero(middle).arrival_s.tolist() == [0.0, 2.0]
    assert scaled_rate(t, 2.0).arrival_s.tolist() == [5.0, 5.5, 6.5, 8.0]
    assert summary(at_rate(t, 4.0))["request_rate_per_s"] == pytest.approx(4.0)
    with pytest.raises(ValueError, match="factor is -1"):
        scaled_rate(t, -1)
    with pytest.raises(ValueError, match="no time span"):
        at_rate(trace([0.0, 0.0]), 1.0)


def test_a_slice_keeps_whole_sessions() -> None:
    t = trace([1.0, 0.0, 3.0, 0.0], session=["a", "a", "b", "b"], request_id=["a1", "a2", "b1", "b2"])
    assert list(between(t, 2.0, 9.0).ids()) == ["b1", "b2"]
    assert from_zero(t).arrival_s.tolist() == [0.0, 0.0, 2.0, 0.0]


def test_scaled_lengths_keep_chains_consistent() -> None:
    t = trace([0.0, 1.0], prompt_tokens=[100, 40], segments=[(("g", 50), ("h", 30)), (("g", 40),)])
    half = scaled_lengths(t, prompt=0.5)
    assert half.prompt_tokens.tolist() == [50, 20]
    assert half.output_tokens.tolist() == [5, 5]
    assert half.segments == [(("g", 25), ("h", 15)), (("g", 20),)]


def test_concat_and_merge() -> None:
    a = trace([0.0, 2.0], priority=[1, 1])
    b = trace([1.0, 3.0], segments=[(("g", 4),)] * 2)
    both = merge(a, b)
    assert both.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert list(both.ids()) == ["0/r0", "1/r0", "0/r1", "1/r1"]
    assert both.segments == [(), (("1/g", 4),), (), (("1/g", 4),)]
    assert both.priority is not None
    assert both.priority.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="comes after"):
        concat([a, b])
    assert len(concat([a, trace([2.0, 3.0])])) == 4


def test_summary_by_hand() -> None:
    t = trace([0.0, 1.0, 4.0], prompt_tokens=[10, 20, 30], output_tokens=[1, 2, 3])
    s = summary(t)
    assert s["requests"] == 3
    assert s["duration_s"] == 4.0
    assert s["request_rate_per_s"] == 0.5
    assert s["interarrival_cv"] == pytest.approx(0.5)  # gaps 1 and 3: mean 2, deviation 1
    assert s["prompt_tokens"]["mean"] == 20
    assert s["prompt_tokens"]["total"] == 60
    assert s["output_tokens_per_s"] == 1.5
    assert s["shared_prefix_share"] is None


def test_peak_rate_is_that_of_the_busiest_minute() -> None:
    s = summary(trace([0.0, 50.0, 100.0, 101.0, 102.0, 200.0]))
    assert s["peak_rate_per_s"] == 4 / 60  # 50, 100, 101, 102


def test_shared_prefix_counts_what_came_before() -> None:
    chains = [
        (("g", 8), ("a", 4)),
        (("g", 8), ("a", 2)),  # all of it is there: 10
        (("g", 6),),  # 6 of g
        (("g", 8), ("b", 4), ("c", 4)),  # 8, then b is new
        (("g", 6), ("a", 4)),  # g parts after 6 tokens: 6
        (("a", 4),),  # a behind g is another stream: 0
        (("g", 8), ("b", 4), ("c", 9)),  # 8 + 4 + 4
        (),
    ]
    shared = shared_prefix_tokens(chains, np.full(len(chains), 100))
    assert shared.tolist() == [0, 10, 6, 8, 6, 0, 16, 0]
    assert shared_prefix_tokens(chains, np.full(len(chains), 5)).tolist() == [0, 5, 5, 5, 5, 0, 5, 0]


def test_to_frame_has_the_columns_that_exist() -> None:
    frame = trace([0.0, 1.0], priority=[0, 1]).to_frame()
    assert list(frame.columns) == ["arrival_s", "prompt_tokens", "output_tokens", "request_id", "priority"]
    assert len(frame) == 2
