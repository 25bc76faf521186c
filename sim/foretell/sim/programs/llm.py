"""What a program sees: its query, the models it may call, and its calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from foretell.models.verifiers import rate_given
from foretell.sim.programs.calls import MAIN, Call, Judge, PoolName, Query, Steps
from foretell.sim.programs.clock import Clock, Every, First
from foretell.sim.programs.draws import RIGHT, Draws, Outcome, Samples

if TYPE_CHECKING:
    from foretell.sim.programs.servers import Server

__all__ = ["LLM", "MAIN", "RIGHT", "Call", "Judge", "PoolName", "Program", "Query", "Steps", "every", "first"]

PROBE_TOKENS = 16
Program = Callable[[Query, "LLM"], Steps]
"""What a query does."""


@dataclass(slots=True)
class Runtime:
    """What the programs of one run share.

    Attributes:
        clock: the time.
        servers: by pool; the first is the default.
        draws: everything by chance.
        ended: called with every call that ended.

    """

    clock: Clock
    servers: dict[str, Server]
    draws: Draws
    ended: Callable[[Call], None]
    serials: int = 0

    def next_serial(self) -> int:
        """A number for a new call, unique in the run."""
        self.serials += 1
        return self.serials

    def begin(self, call: Call) -> None:
        """Hand a call to its server, unless its query's time is up."""
        if call.query.over:
            self.end(call, 0, done=False)
            return
        call.query.open[call.serial] = call
        self.servers[call.pool].submit(call)

    def end(self, call: Call, tokens: int, *, done: bool) -> None:
        """A call has ended, with so many tokens written."""
        query = call.query
        query.open.pop(call.serial, None)
        call.tokens, call.done, call.ended_s = tokens, done, self.clock.now
        outcome = call.outcome
        if outcome is not None:
            call.cut = call.start + tokens < outcome.tokens
            if done and not call.cut:
                call.answer, call.confidence = outcome.answer, outcome.confidence
        elif not done:
            call.answer = None
        query.calls += 1
        query.tokens += tokens
        query.prompt_tokens += call.prompt_tokens
        self.ended(call)
        call.succeed(call)

    def cancel(self, call: Call) -> None:
        """Give up a call that has not ended."""
        if call.serial in call.query.open:
            self.end(call, self.servers[call.pool].cancel(call), done=False)


class LLM:
    """The models, as one query's program may call them."""

    __slots__ = ("_run", "first_pool", "query")

    def __init__(self, run: Runtime, query: Query) -> None:
        self._run = run
        self.query = query
        self.first_pool = next(iter(run.servers))

    def sample(
        self,
        query: Query,
        *,
        pool: str = "",
        max_tokens: int | None = None,
        after: Call | None = None,
        prompt_tokens: int = 0,
    ) -> Call:
        """Ask for a whole answer; its outcome is the next sample of the pool's model to this query.

        Args:
            query: the query.
            pool: whom to ask; the first pool by default.
            max_tokens: where to cut it; it then has no answer.
            after: a call that ended, whose text is the prompt; the query's own prompt by default.
            prompt_tokens: new tokens behind that.

        """
        pool = pool or self.first_pool
        outcome = self.foresee(query, pool)
        length = outcome.tokens if max_tokens is None else min(outcome.tokens, max(int(max_tokens), 1))
        call = self._call(pool, after, prompt_tokens, length)
        call.outcome = outcome
        self._run.begin(call)
        return call

    def resume(self, call: Call, max_tokens: int, prompt_tokens: int = 0) -> Call:
        """Let a trace that was cut go on for at most so many tokens; one that ended is returned as it is.

        `prompt_tokens` new ones, such as what a tool said, come between its text and what it writes.
        """
        outcome = call.outcome
        if outcome is None or call.ended or not call.done:
            return call
        more = min(outcome.tokens - call.position, max(int(max_tokens), 1))
        after = self._call(call.pool, call, prompt_tokens, more)
        after.outcome, after.start = outcome, call.position
        self._run.begin(after)
        return after

    def probe(self, call: Call, tokens: int = PROBE_TOKENS) -> Call:
        """Ask a trace for its answer so far: its own if it has settled on it, else a fresh guess.

        A guess is right with the profile's `guess_ratio` times the problem's chance.
        """
        asked = self._call(call.pool, call, 0, tokens)
        outcome, query = call.outcome, call.query
        if outcome is not None:
            if call.position >= outcome.settled_at:
                asked.answer, asked.confidence = outcome.answer, outcome.confidence
            else:
                samples = self.samples(call.pool)
                chance = samples.profile.guess_ratio * float(samples.chance[query.id])
                guess = query.uniform()
                asked.answer = RIGHT if guess < chance else samples.wrong(query.id, query.uniform())
        self._run.begin(asked)
        return asked

    def write(
        self,
        query: Query,
        tokens: float,
        *,
        pool: str = "",
        after: Call | None = None,
        prompt_tokens: int = 0,
    ) -> Call:
        """Let a model write so many tokens that are no answer: a step, a plan, a draft, a summary."""
        call = self._call(pool or self.first_pool, after, prompt_tokens, max(round(tokens), 1))
        self._run.begin(call)
        return call

    def judge(self, call: Call, judge: Judge, right: bool | None = None, depth: int = 0) -> Call:
        """Let a verifier read what a call wrote; `score` is its score, or ±1 as its verdict.

        Args:
            call: what is judged.
            judge: who judges.
            right: whether what is judged is right, where that is not whether the call's answer is.
            depth: of the step that is judged; errors in common are of one depth. 0: an answer.

        """
        verifier, query = judge.verifier, call.query
        good = (call.answer == RIGHT) if right is None else right
        common = verifier.common
        shared = query.shared(judge, good, depth) if common else 0.0
        if verifier.completeness is not None:
            accept = verifier.completeness if good else 1 - verifier.soundness
            score = 1.0 if query.uniform() < rate_given(accept, common, shared) else -1.0
        else:
            middle = verifier.separation / 2 if good else -verifier.separation / 2
            noise = query.normal()
            if common:
                noise = math.sqrt(1 - common) * noise + math.sqrt(common) * shared
            score = noise + middle
        pool = judge.pool or self.first_pool
        verdict = self._call(pool, call, verifier.prompt_tokens, verifier.output_tokens)
        verdict.score, verdict.right = score, good
        if judge.pool is None:
            verdict.done, verdict.ended_s = not query.over, verdict.arrival_s
            verdict.succeed(verdict)
        else:
            self._run.begin(verdict)
        return verdict

    def revise(self, call: Call, round: int, prompt_tokens: int = 0) -> Call:
        """Let the model look at its answer again, for the `round`-th time (from 0).

        A wrong answer becomes right, or a right one wrong, at the profile's rates for that round; the
        revision is `tokens_ratio` times as long as a fresh sample; `prompt_tokens` new ones ask for it.
        """
        query, samples = call.query, self.samples(call.pool)
        law = samples.profile.revision
        fresh = self.foresee(query, call.pool)
        answer = call.answer
        u, v = query.uniform(), query.uniform()
        if answer == RIGHT:
            if u < law.corruption[min(round, len(law.corruption) - 1)]:
                answer = samples.wrong(query.id, v)
        elif u < law.repair[min(round, len(law.repair) - 1)]:
            answer = RIGHT
        tokens = max(round_up(law.tokens_ratio * fresh.tokens), 1)
        revised = self._call(call.pool, call, prompt_tokens, tokens)
        revised.outcome = Outcome(tokens, answer, fresh.confidence, tokens)
        self._run.begin(revised)
        return revised

    def cancel(self, calls: Iterable[Call]) -> None:
        """Give up those calls that have not ended."""
        for call in list(calls):
            self._run.cancel(call)

    def wait(self, seconds: float) -> simpy.Event:
        """An event after so many seconds, as of a tool; at once when the query's time is up."""
        clock, query = self._run.clock, self.query
        if query.over or query.deadline_s == math.inf:
            return clock.at(clock.now if query.over else clock.now + max(seconds, 0.0))
        return clock.at(min(clock.now + max(seconds, 0.0), max(query.deadline_s, clock.now)))

    @property
    def now(self) -> float:
        """The time [s]."""
        return float(self._run.clock.now)

    def foresee(self, query: Query, pool: str = "") -> Outcome:
        """The next sample of the pool's model to this query, without asking for it.

        For strategies that have the text of one answer written by many calls. They may use its length as they
        write it, and its answer at the end.
        """
        pool = pool or self.first_pool
        samples, number = self.samples(pool), query.sampled.get(pool, 0)
        query.sampled[pool] = number + 1
        return samples.outcome(query.id, number)

    def samples(self, pool: str = "") -> Samples:
        """All samples of the pool's model, and its profile.

        Raises:
            ValueError: it has no outcome profile.
        """
        pool = pool or self.first_pool
        try:
            return self._run.draws.samples[pool]
        except KeyError:
            raise ValueError(f"pools.{pool}: its model has no outcome profile; give outcomes") from None

    def _call(self, pool: str, after: Call | None, prompt_tokens: int, tokens: int) -> Call:
        query = self.query
        if after is None:
            call = Call(self._run, query, pool, query.prompt, query.length, tokens)
        else:
            call = Call(self._run, query, pool, after.text, after.prompt_tokens + after.tokens, tokens)
        if prompt_tokens:
            call.prompt = (*call.prompt, (-call.serial, prompt_tokens))
            call.prompt_tokens += prompt_tokens
        return call


def round_up(tokens: float) -> int:
    """Whole tokens, at least as many."""
    return math.ceil(tokens)


def first(calls: Iterable[Call]) -> First:
    """An event that triggers with the first call that is done, or with None if none will be."""
    waited = list(calls)
    return First(waited[0].env, waited)


def every(calls: Iterable[Call]) -> Every:
    """An event that triggers when all calls have ended; see `Call.done`."""
    waited = list(calls)
    return Every(waited[0].env, waited)
