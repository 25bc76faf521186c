"""What programs pass around: queries, calls, and judges."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NewType

import simpy

from foretell.models.verifiers import Verifier
from foretell.sim.programs.draws import Draws, Outcome
from foretell.sim.request import Segments

if TYPE_CHECKING:
    from foretell.sim.programs.llm import Runtime

PoolName = NewType("PoolName", str)
"""Parameters of programs with this type name a pool; "" is the first one."""
MAIN = PoolName("")
"""The first pool of the scenario."""


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
        engine: its place in its pool; -1 where it reached none.
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
        self.engine = -1
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
        "judges",
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
        self.judges: dict[Judge, int] = {}  # by when they were first asked
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

    def shared(self, judge: Judge, right: bool, depth: int) -> float:
        """What a judge's noise on all right, or all wrong, steps of a depth have in common (0: answers)."""
        number = self.judges.setdefault(judge, len(self.judges))
        return self.draws.shared(self.id, number, int(right), depth)

    def chance(self, pool: str) -> float:
        """Chance that one sample of the pool's model is right: for environments and oracles only."""
        return float(self.draws.samples[pool].chance[self.id])

    def log_median(self, pool: str) -> float:
        """Log of the median length of right samples of the pool's model; likewise."""
        return float(self.draws.samples[pool].log_median[self.id])


Steps = Generator[simpy.Event, Any, int | None]
"""What a program is made of: it yields events, and returns an answer."""
