"""Clients that give up: the column `cancel_s`, through replays on one engine and on several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models.stepcost import AffineCost
from foretell.sim import EngineConfig, simulate
from foretell.traces import Trace, read_trace, scaled_rate, write_csv

NAN = float("nan")


@pytest.mark.parametrize("replicas", [1, 2])
def test_who_gives_up_is_cancelled_and_frees_its_place(replicas: int) -> None:
    # One step takes 1 s. Row 0 would hold the only slot for 100 s and leaves at 10.5, so that row 2,
    # which waits, takes its place at 11; row 1 gives up in line, and row 3 before it comes.
    trace = Trace(
        np.repeat([0.0, 0.0, 0.0, 5.0], replicas),
        prompt_tokens=np.repeat([4, 4, 4, 4], replicas),
        output_tokens=np.repeat([100, 5, 5, 5], replicas),
        cancel_s=np.repeat([10.5, 3.0, NAN, 5.0], replicas),
    )
    run = simulate(trace, AffineCost(1.0), EngineConfig(max_num_seqs=1), replicas=replicas)
    assert run.status.tolist() == np.repeat([1, 1, 0, 1], replicas).tolist()
    assert run.finish_s[2 * replicas :][:replicas].tolist() == [16.0] * replicas
    assert run.replica[-replicas:].tolist() == [-1] * replicas
    assert np.isnan(run.finish_s).sum() == 3 * replicas


@pytest.mark.parametrize("replicas", [1, 2])
def test_who_ends_first_does_not_give_up(replicas: int) -> None:
    trace = Trace(
        np.zeros(2),
        prompt_tokens=np.array([4, 4]),
        output_tokens=np.array([5, 5]),
        cancel_s=np.array([6.0, 5.0]),
    )
    run = simulate(trace, AffineCost(1.0), EngineConfig(), replicas=replicas)
    assert run.status.tolist() == [0, 1]  # a cancellation acts before the token that comes then


def test_giving_up_makes_room_in_a_closed_loop_and_ends_a_conversation() -> None:
    both = np.array([4, 4])
    columns: dict[str, Any] = {"prompt_tokens": both, "output_tokens": both + 6, "cancel_s": [3.5, NAN]}
    loop = simulate(Trace(np.zeros(2), concurrency=1, **columns), AffineCost(1.0), EngineConfig())
    assert (loop.arrival_s[1], loop.finish_s[1]) == (3.5, 14.0)
    talk = simulate(Trace(np.zeros(2), session=["a", "a"], **columns), AffineCost(1.0), EngineConfig())
    assert talk.status.tolist() == [1, 1]
    assert talk.replica.tolist() == [0, -1]


def test_the_columns_survive_a_file_and_a_faster_clock(tmp_path: Path) -> None:
    trace = Trace(
        np.array([1.0, 2.0]),
        prompt_tokens=np.array([4, 4]),
        output_tokens=np.array([5, 5]),
        cancel_s=np.array([3.0, NAN]),
        accepted=[(2, 0, 1), ()],
    )
    write_csv(trace, tmp_path / "t.csv")
    again = read_trace(tmp_path / "t.csv")
    faster = scaled_rate(trace, 2.0).cancel_s
    assert again.cancel_s is not None
    assert faster is not None
    assert np.array_equal(again.cancel_s, [3.0, NAN], equal_nan=True)
    assert again.accepted == trace.accepted
    assert faster.tolist()[0] == 2.5  # it waits two seconds, as before
    rows = '{"arrival_s": 0, "prompt_tokens": 4, "output_tokens": 5}\n'
    rows += '{"arrival_s": 1, "prompt_tokens": 4, "output_tokens": 5, "cancel_s": 2, "accepted": [2, 1]}\n'
    (tmp_path / "t.jsonl").write_text(rows)
    sparse = read_trace(tmp_path / "t.jsonl")
    assert sparse.cancel_s is not None
    assert np.array_equal(sparse.cancel_s, [NAN, 2.0], equal_nan=True)
    assert sparse.accepted == [(), (2, 1)]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("accepted", "2 x", "line 2, column accepted: '2 x' is not whole numbers with spaces between"),
        ("accepted", "2 -1", "line 2, column accepted: -1 is out of range"),
        ("cancel_s", "-1", "line 2, column cancel_s: -1.0 is out of range"),
        ("cancel_s", "soon", "line 2, column cancel_s: 'soon' is not a number"),
    ],
)
def test_bad_cells_are_named(tmp_path: Path, column: str, cell: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(f"arrival_s,prompt_tokens,output_tokens,{column}\n0,4,5,{cell}\n")
    with pytest.raises(ValueError) as error:
        read_trace(tmp_path / "t.csv")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kv_cache_groups": ()}, "kv_cache_groups: () is not"),
        ({"kv_cache_groups": (-1,)}, "kv_cache_groups: (-1,) is not"),
        ({"num_speculative_tokens": -1}, "num_speculative_tokens: -1 is not"),
        ({"speculative_method": "guess"}, "speculative_method: 'guess' is not one of ngram"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        EngineConfig(**settings)  # type: ignore[arg-type]
    assert message in str(error.value)
