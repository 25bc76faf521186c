"""Our engines against what vLLM's scheduler did, as recorded: no vLLM is needed."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest

from foretell.sim.cli import main
from foretell.sim.watch import first_difference, watch
from foretell.validate.scheduler import ENGINES, engines_for
from foretell.validate.scheduler_controls import check_controls
from foretell.validate.scheduler_corpus import Corpus, Recorded, read_corpora
from foretell.validate.scheduler_tables import show


@cache
def corpora() -> tuple[Corpus, ...]:
    return tuple(read_corpora())


def scenarios() -> list[tuple[str, Recorded]]:
    return [(f"{corpus.version}-{n}", one) for corpus in corpora() for n, one in enumerate(corpus.scenarios)]


@pytest.mark.parametrize("one", [one for _, one in scenarios()], ids=[name for name, _ in scenarios()])
def test_every_step_is_that_of_vllm(one: Recorded) -> None:
    for engine in engines_for(one.case):
        assert first_difference(one.vllm, watch(one.case, ENGINES[engine])) is None, engine


def test_the_corpus_says_what_made_it_and_reaches_all_there_is() -> None:
    assert corpora(), "no corpus is shipped"
    newest = corpora()[-1]
    assert newest.version
    assert newest.date >= "2026-11"
    assert len(newest.scenarios) >= 60
    reached = Counter(name for one in newest.scenarios for name in one.features)
    for name in (
        "load: idle (nobody waits)",
        "load: overload (somebody always waits)",
        "burst",
        "preemption",
        "preemption under priority",
        "asynchronous preemption",
        "prefix hit",
        "hit in a conversation",
        "preemption, hit and eviction",
        "prompt in chunks",
        "chunked prefill off",
        "adaptive threshold",
        "watermark",
        "reservation off",
        "stop token",
        "cancelled while running",
        "cut at max_model_len",
        "window passed",
        "hybrid groups",
        "drafts accepted",
        "drafts rejected",
        "speculation and windows",
    ):
        assert reached[name] >= 3, name


def test_wrong_settings_are_noticed_wherever_they_bind() -> None:
    binding: Counter[str] = Counter()
    for _, one in scenarios()[::8]:
        for control in check_controls(one.case, watch(one.case), one.vllm):
            binding[control.setting] += control.binds
            assert control.caught == control.binds, control
    for setting in ("block_size", "async_scheduling", "enable_prefix_caching", "kv_cache_groups"):
        assert binding[setting] > 0, setting
    assert sum(n > 0 for n in binding.values()) >= 15


def test_the_command_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["validate", "scheduler", "--corpus", "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)["corpora"]
    assert [one["vllm_version"] for one in told] == [corpus.version for corpus in corpora()]
    for one, corpus in zip(told, corpora(), strict=True):
        assert one["scenarios_equal"] == one["scenarios"] == len(corpus.scenarios)
        assert one["steps_equal"] == one["steps"] == sum(len(s.vllm.steps) for s in corpus.scenarios)
    show(told[-1])
    assert f"{told[-1]['steps']:,} steps equal" in " ".join(capsys.readouterr().out.split())
