"""The fewest replicas that do: against trying them all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.sim.sensitivity_need import MOST, fewest

COUNTS = st.integers(1, 200)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 40))
def test_one_part(need: int, start: int) -> None:
    found = fewest(lambda counts: counts[0] >= need, (start,), (1.0,), (1,))
    assert found == (need,) or (found is None and need > start * MOST / 2)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 200), st.integers(0, 30))
def test_what_is_known_is_used(need: int, above: int, below: int) -> None:
    start, least = need + above, max(need - below, 1)
    asked: list[int] = []

    def kept(counts: tuple[int, ...]) -> bool:
        asked.append(counts[0])
        return counts[0] >= need

    assert fewest(kept, (start,), (1.0,), (least,), sure=True) == (need,)
    assert start not in asked
    assert all(least <= count for count in asked)


@settings(deadline=None)
@given(st.tuples(COUNTS, COUNTS), st.tuples(COUNTS, COUNTS))
def test_parts_that_do_not_help_each_other(need: tuple[int, int], start: tuple[int, int]) -> None:
    def kept(counts: tuple[int, ...]) -> bool:
        return all(have >= want for have, want in zip(counts, need, strict=True))

    assert fewest(kept, start, (1.0, 3.0), (1, 1)) in (need, None)


@settings(deadline=None)
@given(st.integers(4, 300), st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_parts_that_do(work: int, start: tuple[int, int]) -> None:
    """No part can lose a replica: 2 of the first do what 3 of the second do."""

    def kept(counts: tuple[int, ...]) -> bool:
        return 3 * counts[0] + 2 * counts[1] >= work

    found = fewest(kept, start, (2.0, 1.0), (1, 1))
    assert found is not None
    assert kept(found)
    for part in (0, 1):
        fewer = tuple(count - (i == part) for i, count in enumerate(found))
        assert fewer[part] == 0 or not kept(fewer)


def test_what_never_does() -> None:
    asked: list[int] = []

    def kept(counts: tuple[int, ...]) -> bool:
        asked.append(counts[0])
        return False

    assert fewest(kept, (3,), (1.0,), (1,)) is None
    assert max(asked) > 3 * MOST / 2
    assert len(asked) < 14


def test_steps_are_few() -> None:
    asked: list[int] = []

    def kept(counts: tuple[int, ...]) -> bool:
        asked.append(counts[0])
        return counts[0] >= 700

    assert fewest(kept, (1000,), (1.0,), (1,)) == (700,)
    assert len(asked) < 22
