"""A step cost with some of its time made longer or shorter, as by other hardware or a wrong guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from foretell.models import StepCost
from foretell.sim.bounds import BOUNDS


@dataclass(frozen=True, slots=True)
class ScaledCost:
    """A `StepCost` whose time bound by one thing is multiplied by a factor, by the cost's own breakdown.

    Twice the memory bandwidth is half the time bound by memory. What binds an operator is taken to stay the
    same, which holds for changes of some per cent: nearer than that to its ridge is hardly an operator.

    Attributes:
        cost: of which.
        factors: by bound; those left out are 1.

    Raises:
        ValueError: an unknown bound, or a factor that is not > 0.

    """

    cost: StepCost
    factors: Mapping[str, float] = field(hash=False)

    def __post_init__(self) -> None:
        for bound, factor in self.factors.items():
            if bound not in BOUNDS or not factor > 0:
                raise ValueError(
                    f"factors: {bound} {factor!r} is not one of {', '.join(BOUNDS)} with a factor > 0"
                )

    def __call__(
        self,
        prefill_tokens: Any,
        prefill_pairs: Any,
        prefill_context: Any,
        prefill_seqs: Any,
        decode_seqs: Any,
        decode_context: Any,
        sampled: Any,
    ) -> Any:
        """Seconds of a step."""
        load = (
            prefill_tokens,
            prefill_pairs,
            prefill_context,
            prefill_seqs,
            decode_seqs,
            decode_context,
            sampled,
        )
        alike = {self.factors.get(bound, 1.0) for bound in BOUNDS}
        if len(alike) == 1:
            return self.cost(*load) * alike.pop()
        # Only what changes is split up: the rest keeps the cost's own sum.
        parts = self.cost.breakdown(*load)
        return self.cost(*load) + sum((factor - 1) * parts[bound] for bound, factor in self.factors.items())

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by bound."""
        parts = self.cost.breakdown(*load)
        return {bound: seconds * self.factors.get(bound, 1.0) for bound, seconds in parts.items()}

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive decode-only steps."""
        while True:
            yield float(self(0, 0, 0, 0, decode_seqs, decode_context, decode_seqs))
            decode_context += decode_seqs
