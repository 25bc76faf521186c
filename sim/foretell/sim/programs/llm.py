"""What a program sees: its query, the models it may call, and its calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType

import simpy

from foretell.models.verifiers import Verifier
from foretell.sim.programs.clock import Clock, Every, First
from foretell.sim.programs.draws import RIGHT, Draws, Outcome
from foretell.sim.request import Segments

if TYPE_CHECKING:
    from foretell.sim.programs.servers import Server

__all__ = ["LLM", "MAIN", "RIGHT", "Call", "Judge", "PoolName", "Program", "Query", "Steps", "every", "first"]

PoolName = NewType("PoolName", str)
"""Parameters of programs with this type name a pool; "" is the first one."""
MAIN = PoolName("")
"""The first pool of the scenario."""
PROBE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges, and how well.

    Attributes:
        pool: where its calls go; None: it costs nothing and takes no time.
        verifier: how well it tells right from wrong, and what it writes.

    """

    pool: PoolName | None = None
    verifier: Verifier = field(default_factory=Verifier)


class Call(simpy.Event):
    """One call of a program: an event that triggers when it has ended, done or not.

    Attributes:
        pool: where it went.
        prompt_tokens: of its whole prompt.
        asked_tokens: how many it would write.
        tokens: how many it wrote, once it has ended.
        done: whether it wrote them all; False if it was cancelled, rejected, or its query's time was up.
        position: tokens of the trace at its end, those of the calls that it resumed included.
        ended: whether the trace came to its own end there.
        answer: what it says: an int, `RIGHT` or a wrong one; None: no answer.
        confidence: how sure it is of it; higher is surer, comparable within a query.
        score: a verifier's, ±1 for verdicts.
        arrival_s, first_token_s, ended_s: times; NaN where they did not happen.

    """

    def __init__(
        self, run: Runtime, query: Query, pool: str, prompt: Segments, prompt_tokens: int, tokens: int
    ) -> None:
        super().__init__(run.clock)
        self.query = query
        self.pool = pool
        self.prompt = prompt
        self.prompt_tokens = prompt_tokens
        self.asked_tokens = tokens
        self.tokens = 0
        self.done = False
        self.start = 0  # tokens of the trace before this call
        self.outcome: Outcome | None = None
        self.cut = False
        self.answer: int | None = None
        self.confidence = 0.0
        self.score = math.nan
        self.right: bool | None = None
        self.serial = run.next_serial()
        self.arrival_s = run.clock.now
        self.first_token_s = math.nan
        self.ended_s = math.nan
        self.request: Any = None  # the server's

    @property
    def position(self) -> int:
        """Tokens of the trace so far."""
        return self.start + self.tokens

    @property
    def ended(self) -> bool:
        """Whether the trace came to its own end."""
        return self.done and not self.cut

    @property
    def text(self) -> Segments:
        """The tokens of its prompt and of what it wrote, as the prompt of a call after it."""
        return (*self.prompt, (self.serial, self.tokens)) if self.tokens else self.prompt


class Query:
    """One query of the workload.

    Attributes:
        id: its number.
        arrival_s: when it came.
        deadline_s: when it must be answered; infinite for never.
        over: whether that has passed: nothing is computed for it any more.
        prompt: its prompt, as segments.
        length: tokens of that.
        name: what routers know it by.

    """

    __slots__ = (
        "answer",
        "arrival_s",
        "calls",
        "deadline_s",
        "drawn",
        "draws",
        "finish_s",
        "id",
        "length",
        "name",
        "open",
        "over",
        "prompt",
        "prompt_tokens",
        "sampled",
        "tokens",
        "waits",
    )

    def __init__(self, id: int, arrival_s: float, deadline_s: float, prompt: Segments, draws: Draws) -> None:
        self.id = id
        self.arrival_s = arrival_s
        self.deadline_s = deadline_s
        self.over = False
        self.prompt = prompt
        self.length = sum(tokens for _, tokens in prompt)
        self.name = f"q{id}"
        self.draws = draws
        self.sampled: dict[str, int] = {}  # samples taken, by pool
        self.drawn = 0
        self.open: dict[int, Call] = {}
        self.waits: list[simpy.Event] = []
        self.calls = self.tokens = self.prompt_tokens = 0
        self.answer: int | None = None
        self.finish_s = math.nan

    def uniform(self) -> float:
        """A draw from (0, 1) of this query's own stream."""
        self.drawn += 1
        return self.draws.uniform(self.id, self.drawn - 1)

    def normal(self) -> float:
        """A standard normal draw of this query's own stream."""
        self.drawn += 1
        return self.draws.normal(self.id, self.drawn - 1)

    def chance(self, pool: str) -> float:
        """Chance that one sample of the pool's model is right: for environments and oracles only."""
        return float(self.draws.samples[pool].chance[self.id])

    def log_median(self, pool: str) -> float:
        """Log of the median length of right samples of the pool's model; likewise."""
        return float(self.draws.samples[pool].log_median[self.id])


Steps = Generator[simpy.Event, Any, int | None]
Program = Callable[[Query, "LLM"], Steps]


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
        number = query.sampled.get(pool, 0)
        query.sampled[pool] = number + 1
        outcome = self._samples(pool).outcome(query.id, number)
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
                samples = self._samples(call.pool)
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

    def judge(self, call: Call, judge: Judge, right: bool | None = None) -> Call:
        """Let a verifier read what a call wrote; `score` is its score, or ±1 as its verdict.

        Args:
            call: what is judged.
            judge: who judges.
            right: whether what is judged is right, where that is not whether the call's answer is.

        """
        verifier, query = judge.verifier, call.query
        good = (call.answer == RIGHT) if right is None else right
        if verifier.completeness is not None:
            accept = verifier.completeness if good else 1 - verifier.soundness
            score = 1.0 if query.uniform() < accept else -1.0
        else:
            middle = verifier.separation / 2 if good else -verifier.separation / 2
            score = query.normal() + middle
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
        query, samples = call.query, self._samples(call.pool)
        law = samples.profile.revision
        number = query.sampled.get(call.pool, 0)
        query.sampled[call.pool] = number + 1
        fresh = samples.outcome(query.id, number)
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

    def _samples(self, pool: str) -> Any:
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
