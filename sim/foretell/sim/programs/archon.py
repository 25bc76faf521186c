"""Archon: an inference-time architecture as a list of typed layers, given in the scenario."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import simpy

from foretell.models.verifiers import Verifier
from foretell.sim.programs.fusion import Candidate, candidates_of, evidence, fused, look, settled, shown
from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import whole, within

Layer = Callable[[Query, LLM, list[Candidate]], Generator[simpy.Event, Any, list[Candidate]]]
"""What a layer makes of the candidates before it."""


def generate(*, pools: tuple[PoolName, ...] = (MAIN,), n: int = 1) -> Layer:
    """Samples of every model, n of each."""
    whole("n", n)

    def layer(query: Query, llm: LLM, candidates: list[Candidate]) -> Any:
        calls = [llm.sample(query, pool=pool) for pool in pools for _ in range(n)]
        yield every(calls)
        return [*candidates, *candidates_of(calls)]

    return layer


def critique(*, pool: PoolName = MAIN, tokens: int = 500, auc: float = 0.6) -> Layer:
    """One call that says what is strong and weak in every candidate."""
    return _reading(pool, tokens, auc, keep=None)


def rank(*, pool: PoolName = MAIN, keep: int = 1, tokens: int = 50, auc: float = 0.7) -> Layer:
    """One call that orders the candidates; the first `keep` stay."""
    whole("keep", keep)
    return _reading(pool, tokens, auc, keep)


def _reading(pool: PoolName, tokens: int, auc: float, keep: int | None) -> Layer:
    whole("tokens", tokens)
    within("auc", auc, 0, 1)

    def layer(query: Query, llm: LLM, candidates: list[Candidate]) -> Any:
        call = llm.write(query, tokens, pool=pool, prompt_tokens=shown(candidates, 0))
        yield call
        if not call.done:
            return candidates
        read = [look(llm, candidate, auc) for candidate in candidates]
        return read if keep is None else sorted(read, key=lambda c: -c.evidence)[:keep]

    return layer


def verify(
    *,
    pool: PoolName = MAIN,
    tokens: int = 500,
    completeness: float = 0.9,
    soundness: float = 0.7,
) -> Layer:
    """A call for each candidate, which argues and gives a verdict; those accepted stay, if there are any."""
    judge = Judge(pool, Verifier(completeness=completeness, soundness=soundness, output_tokens=tokens))

    def layer(query: Query, llm: LLM, candidates: list[Candidate]) -> Any:
        verdicts = [llm.judge(candidate.call, judge) for candidate in candidates]
        yield every(verdicts)
        seen = [
            c.seen(evidence(judge.verifier, v.score)) if v.done else c
            for c, v in zip(candidates, verdicts, strict=True)
        ]
        accepted = [c for c, v in zip(seen, verdicts, strict=True) if v.done and v.score > 0]
        return accepted or seen

    return layer


def unit_tests(
    *,
    pool: PoolName = MAIN,
    n: int = 5,
    tokens: int = 500,
    completeness: float = 0.8,
    soundness: float = 0.5,
) -> Layer:
    """One call writes n tests, then one for each candidate says which of them it passes."""
    whole("n", n)
    verifier = Verifier(completeness=completeness, soundness=soundness, output_tokens=tokens)
    free = Judge(None, verifier)

    def layer(query: Query, llm: LLM, candidates: list[Candidate]) -> Any:
        tests = llm.write(query, tokens, pool=pool)
        yield tests
        runs = [
            llm.write(query, n, pool=pool, after=c.call, prompt_tokens=max(tests.tokens, 1))
            for c in candidates
        ]
        yield every(runs)
        if not all(run.done for run in runs):
            return candidates
        return [
            c.seen(sum(evidence(verifier, llm.judge(c.call, free).score) for _ in range(n)))
            for c in candidates
        ]

    return layer


def fuse(*, pool: PoolName = MAIN, n: int = 1, auc: float = 0.7, shown_tokens: int = 0) -> Layer:
    """Readers of all candidates, n of them, who try too and settle on what convinces them most."""
    whole("n", n)
    whole("shown_tokens", shown_tokens, 0)
    within("auc", auc, 0, 1)

    def layer(query: Query, llm: LLM, candidates: list[Candidate]) -> Any:
        extra = shown(candidates, shown_tokens)
        calls = [llm.sample(query, pool=pool, prompt_tokens=extra) for _ in range(n)]
        yield every(calls)
        return fused(llm, candidates, calls, auc) or candidates

    return layer


KINDS: Mapping[str, Callable[..., Layer]] = {
    "generate": generate,
    "critique": critique,
    "rank": rank,
    "verify": verify,
    "unit_tests": unit_tests,
    "fuse": fuse,
}


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers one after the other.

    Attributes:
        layers: what each does.
        pools: those that they call.
        kinds: their names.

    """

    layers: tuple[Layer, ...] = field(repr=False)
    pools: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @classmethod
    def from_scenario(cls, value: Any, where: str, pools: Collection[str]) -> Layers:
        """Read a list of mappings, each with `layer`, the kind, and that kind's fields.

        Raises:
            ValueError: what is wrong in which of them.
        """
        from foretell.sim.programs.catalogue import arguments

        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"{where}: {value!r} is not a list of layers, each {{layer: generate, ...}}")
        layers, called = [], []
        for place, spec in enumerate(value):
            here = f"{where}[{place}]"
            if not isinstance(spec, Mapping) or spec.get("layer") not in KINDS:
                raise ValueError(f"{here}: {spec!r} is no mapping with a layer, one of {', '.join(KINDS)}")
            kind = KINDS[spec["layer"]]
            if (kind is generate) != (place == 0):
                raise ValueError(f"{here}: generators are the first layer, and only that; name all in one")
            fields = {key: figure for key, figure in spec.items() if key != "layer"}
            made, writers, _ = arguments(kind, spec["layer"], fields, pools, here)
            try:
                layers.append(kind(**made))
            except ValueError as error:
                raise ValueError(f"{here}.{error}") from None
            called += writers
        kinds = tuple(spec["layer"] for spec in value)
        return cls(tuple(layers), tuple(dict.fromkeys(called)), kinds)


ARCHON = Layers((generate(n=5), rank(keep=3), fuse()), kinds=("generate", "rank", "fuse"))


def archon(*, layers: Layers = ARCHON) -> Program:
    """Layers of generators, critics, rankers, verifiers, unit tests and fusers, each reading the one before.

    Every layer that reads a candidate adds to the evidence for or against it (see `fusion`); at the end the
    answer with most of it stands. Layers and their fields, the first pool serving where none is named:
      generate: pools, n                  n samples of each; the first layer, and only there
      critique: pool, tokens, auc         one call that reads all candidates; its remarks are evidence
      rank:     pool, keep, tokens, auc   one call that reads all; the best `keep` stay
      verify:   pool, tokens, completeness, soundness   a call for each; those accepted stay, if any is
      unit_tests: pool, n, tokens, completeness, soundness   one call writes n tests, one for each candidate
                                          says which it passes; that is evidence of n verdicts
      fuse:     pool, n, auc, shown_tokens   n readers who try themselves, as in `mixture_of_agents`

    Args:
        layers: in a scenario a list of mappings, each with `layer`, the kind, and that kind's fields.

    Source: Saad-Falcon et al. 2024, "Archon: an architecture search framework for inference-time techniques".
    """

    def program(query: Query, llm: LLM) -> Steps:
        candidates: list[Candidate] = []
        for layer in layers.layers:
            candidates = yield from layer(query, llm, candidates)
            if not candidates or query.over:
                break
        return settled(candidates)

    return program
