"""Scenarios for the differential test of the scheduler, drawn and shrunk by hypothesis.

Times and cost coefficients are multiples of 2⁻⁴⁰ s and small, so that float64 sums of them are exact and
two schedulers must agree on every bit. Same seed, same hypothesis: same scenarios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foretell.models.stepcost import AffineCost
from foretell.sim.case import Call, Case
from foretell.sim.config import EngineConfig

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MILLISECOND = 2.0**-10  # about one
TICK = 2.0**-40
CHUNK = 9
"""Scenarios taken from one search of hypothesis; a mismatch among them is shrunk from its seed. A longer
search would mutate what it drew, and its scenarios would be alike."""
_PATIENCE_S = 120.0
_SIZES = ((1, 6, 30), (10, 24, 100), (24, 48, 200), (40, 64, 300), (40, 64, 400))
"""Fewest and most requests of a scenario, and the longest answer."""
_DEFAULTS = {
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "scheduler_reserve_full_isl": False,
    "watermark": 0.0,
    "async_scheduling": False,
    "kv_cache_groups": (0,),
    "num_speculative_tokens": 0,
}
"""What a version that does not know the setting does."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What scenarios may ask for.

    Attributes:
        unknown: settings that the vLLM version does not have.
        semantics: switches of foretell's engine for what that version does differently.

    """

    unknown: tuple[str, ...] = ()
    semantics: tuple[tuple[str, Any], ...] = ()


def scope_of(version: str, unknown: Sequence[str]) -> Scope:
    """What scenarios for a vLLM version may ask for, given the settings that its scheduler says it lacks.

    Raises:
        ValueError: foretell has no preset for the version.

    """
    from foretell.sim.presets import version_ways

    unsupported, ways = version_ways(version)
    lacking = dict.fromkeys((*unknown, *unsupported))
    return Scope(tuple(lacking), tuple((name, value) for name, value in ways.items() if value))


def cases(scope: Scope = Scope()) -> SearchStrategy[Case]:
    """Strategy: a scenario of up to 64 requests."""
    from hypothesis import strategies as st

    return st.composite(_draw_case)(scope)


def draw_cases(n: int, seed: int, scope: Scope = Scope()) -> Iterator[tuple[int, Case]]:
    """Draw `n` scenarios; yields each with the seed of the search that shrinks it (see `shrink`)."""
    for start in range(0, n, CHUNK):
        found: list[Case] = []
        chunk_seed = seed * 1_000_003 + start // CHUNK
        _search(scope, chunk_seed, found.append, shrinks=False)
        for case in found[1 : 1 + n - start]:  # the first is always the least there is
            yield chunk_seed, case


def shrink(chunk_seed: int, differs: Callable[[Case], bool], scope: Scope = Scope()) -> Case | None:
    """The smallest scenario that hypothesis finds to differ, from the one that it drew with this seed.

    Returns:
        None if none differs this time.

    """
    smallest: list[Case] = []
    until = time.monotonic() + _PATIENCE_S

    def check(case: Case) -> None:
        if time.monotonic() < until and differs(case):
            smallest[:] = [case]
            raise _DiffersError

    try:
        _search(scope, chunk_seed, check, shrinks=True)
    except Exception as error:
        if not smallest:
            raise
        assert isinstance(error, _DiffersError) or smallest
    return smallest[0] if smallest else None


class _DiffersError(Exception):
    """Tells hypothesis of a mismatch."""


def _search(scope: Scope, chunk_seed: int, check: Callable[[Case], None], *, shrinks: bool) -> None:
    import hypothesis as hy

    phases = (hy.Phase.generate, hy.Phase.shrink) if shrinks else (hy.Phase.generate,)

    @hy.seed(chunk_seed)
    @hy.settings(
        max_examples=1 + CHUNK,
        database=None,
        deadline=None,
        phases=phases,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hy.HealthCheck),
    )
    @hy.given(cases(scope))
    def test(case: Case) -> None:
        check(case)

    test()


def _draw_case(draw: Callable[[Any], Any], scope: Scope) -> Case:
    from hypothesis import strategies as st

    fewest, most, longest_answer = draw(st.sampled_from(_SIZES))
    block_size = draw(st.sampled_from((16, 16, 32, 64, 128, 1, 2, 3, 4, 8)))
    longest_prompt = draw(st.sampled_from((4, 40, 150, 600, 3 * block_size, 5 * block_size)))
    longest_answer = draw(st.sampled_from((1, longest_answer, longest_answer, 2 * longest_answer)))
    windows = draw(st.sampled_from(((0,),) * 10 + ((1,), (0, 1), (0, 1), (0, 1, 1), (0, 1, 2))))
    groups = tuple(w and w * draw(st.integers(1, 4 * block_size)) for w in windows)
    if len(set(groups)) < len(set(windows)):
        groups = (0,)
    speculation = draw(st.sampled_from((0,) * 8 + (1, 2, 3, 5)))
    settings: dict[str, Any] = {
        "block_size": block_size,
        "kv_cache_groups": groups,
        "num_speculative_tokens": speculation,
        "speculative_method": draw(st.sampled_from(("ngram", "draft_model", "eagle", "mtp")))
        if speculation
        else "ngram",
        "max_num_seqs": draw(st.sampled_from((1, 2, 4, 8, 16, 64))),
        "enable_chunked_prefill": draw(st.sampled_from((True, True, True, False))),
        "scheduler_reserve_full_isl": draw(st.booleans()),
        "watermark": draw(st.sampled_from((0.0, 0.0, 0.0, 0.05, 0.3))),
        "scheduling_policy": draw(st.sampled_from(("fcfs", "fcfs", "priority"))),
        "enable_prefix_caching": draw(st.sampled_from((True, True, False))),
        "async_scheduling": draw(st.booleans()),
        "empty_step_s": draw(st.sampled_from((0.0, MILLISECOND))),
    }
    longest = longest_prompt + longest_answer
    settings["max_model_len"] = draw(st.sampled_from((4 * longest, longest, max(2, longest // 2))))
    budget = draw(st.sampled_from((1, 4, 16, 64, 512))) + (1 + speculation) * settings["max_num_seqs"]
    settings["max_num_batched_tokens"] = budget
    if not settings["enable_chunked_prefill"]:
        settings["max_num_batched_tokens"] = max(budget, settings["max_model_len"])
    threshold = draw(st.sampled_from((0, 0, 0, 1, 5, 20, 100)))
    if speculation and threshold:
        threshold = max(threshold, 1 + speculation)  # less makes vLLM fail
    if threshold > settings["max_model_len"]:
        threshold = 0  # vLLM refuses it
    settings["long_prefill_token_threshold"] = threshold
    settings["long_prefill_token_threshold_adaptive"] = threshold > 0 and draw(st.booleans())
    each = -(-min(longest, settings["max_model_len"]) // block_size) * len(groups)
    several = draw(st.sampled_from((1.0, 1.1, 1.3, 1.6, 2.0, 3.0, 8.0)))
    settings["num_gpu_blocks"] = 3 + len(groups) + int(each * several) + draw(st.integers(0, 3))
    if settings["speculative_method"] == "ngram" and speculation:
        settings["async_scheduling"] = False  # vLLM refuses the two together
    settings |= {name: _DEFAULTS[name] for name in scope.unknown if name in _DEFAULTS}
    config = EngineConfig(**settings, **dict(scope.semantics))
    cost = AffineCost(
        base_s=MILLISECOND * draw(st.integers(1, 8)),
        per_token_s=MILLISECOND / 64 * draw(st.integers(0, 4)),
        per_seq_s=MILLISECOND / 16 * draw(st.integers(0, 4)),
        per_context_token_s=MILLISECOND / 1024 * draw(st.integers(0, 4)),
        per_attention_pair_s=MILLISECOND / 1024 * draw(st.integers(0, 2)),
    )
    habit = Habit(
        longest_prompt=longest_prompt,
        longest_answer=longest_answer,
        gap=draw(st.sampled_from((0, 1, 10, 60, 250, 1000))),
        sharing=draw(st.sampled_from(("own", "groups", "groups", "turns", "turns", "equal", "mixed"))),
        stops=draw(st.booleans()),
        cancels=draw(st.sampled_from((False, False, True))),
        named_backwards=draw(st.sampled_from((False, False, True))),
    )
    rows = draw(
        st.lists(
            _rows(config, habit), min_size=draw(st.sampled_from((1, fewest, fewest, fewest))), max_size=most
        )
    )
    return Case(config, cost, tuple(_calls(rows, config, habit)))


@dataclass(frozen=True, slots=True)
class Habit:
    """What the calls of a scenario have in common."""

    longest_prompt: int
    longest_answer: int
    gap: int
    sharing: str
    stops: bool
    cancels: bool
    named_backwards: bool


def _rows(config: EngineConfig, habit: Habit) -> SearchStrategy[dict[str, Any]]:
    from hypothesis import strategies as st

    row: dict[str, SearchStrategy[Any]] = {
        "gap": st.sampled_from((0, 1, 1, 2, 3)) if habit.gap else st.just(0),
        "prompt": st.integers(1, habit.longest_prompt),
        "answer": st.integers(1, habit.longest_answer),
    }
    if config.scheduling_policy == "priority":
        row["priority"] = st.integers(0, 2)
    if habit.sharing != "own":
        row["stream"] = st.integers(0, 2)
        row["shared"] = st.integers(0, 8)
    if habit.sharing == "mixed":
        row["sharing"] = st.sampled_from(("own", "groups", "turns", "equal"))
    if habit.stops:
        row["stop"] = st.booleans()
    if habit.cancels:
        row["cancel"] = st.sampled_from((None, None, None, -1, 0, 3, 20, 100, 400))
    if config.num_speculative_tokens:
        row["accepted"] = st.lists(st.integers(0, config.num_speculative_tokens), max_size=4)
    return st.fixed_dictionaries(row)


def _calls(rows: list[dict[str, Any]], config: EngineConfig, habit: Habit) -> Iterator[Call]:
    """Turn what was drawn into calls that the engine can serve, in order of arrival."""
    at = 0
    said: dict[int, int] = {}  # tokens of a conversation so far
    for i, row in enumerate(rows):
        at += habit.gap * row["gap"]
        prompt, answer = row["prompt"], row["answer"]
        sharing = row.get("sharing", habit.sharing)
        stream = row.get("stream", 0)
        segments: tuple[tuple[str | int, int], ...] = ()
        if sharing == "turns":
            prompt = min(said.get(stream, 0) + prompt, max(1, 2 * habit.longest_prompt))
        elif sharing == "equal":
            prompt = config.block_size * max(1, min(4, habit.longest_prompt // config.block_size))
        prompt = min(prompt, config.max_model_len - 1)
        while config.rejects(prompt, answer):
            prompt, answer = (prompt, answer // 2) if answer > 1 else (max(1, prompt // 2), 1)
            if (prompt, answer) == (1, 1):
                break
        if config.rejects(prompt, answer):
            continue
        if sharing == "groups":
            shared = max(1, prompt * row["shared"] // 8)
            segments = ((f"g{stream}", shared),)
            if row["shared"] % 2 and shared < prompt:
                segments = (*segments, (f"h{row['shared']}", prompt - shared))
        elif sharing == "turns":
            # What a turn answers is part of what the next one asks.
            segments = ((f"s{stream}", prompt + answer),)
            said[stream] = prompt + answer if prompt + answer < 2 * habit.longest_prompt else 0
        elif sharing == "equal":
            segments = (("q", prompt + min(row["shared"], answer)),)
        cancel = row.get("cancel")
        arrival = at * MILLISECOND
        accepted = row.get("accepted") or []
        yield Call(
            id=f"r{len(rows) - i if habit.named_backwards else i}",
            arrival_s=arrival,
            prompt_tokens=prompt,
            output_tokens=answer,
            priority=row.get("priority", 0),
            segments=segments,
            stop_token=row.get("stop", False),
            cancel_s=None if cancel is None else max(0.0, arrival + cancel * MILLISECOND + TICK),
            accepted=tuple((accepted * answer)[:answer]) if accepted else (),
        )
