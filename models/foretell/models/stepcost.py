"""What one engine step costs: the load it carries, and the simplest costs.

A *step cost* is a callable of the figures of a `StepLoad`, in that order: ``seconds = cost(*load)``.
The simulator, the queueing models and the planner all call the same one, so that they can only
disagree about dynamics. It holds for scalars and, element by element, for numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Figure = float | npt.NDArray[Any]
"""A scalar or an array of them."""


class StepLoad(NamedTuple):
    """The additive figures of one engine step.

    An entry of a batch *decodes* when it schedules one token and has computed every token but the
    last it knows, its prompt included; every other entry is a *prefill* entry (a prompt, a chunk of
    one, or the recomputation of a preempted request). n is the number of tokens that an entry
    schedules, c the number it has computed before.

    Attributes:
        prefill_tokens: Σ n over prefill entries.
        prefill_pairs: Σ n·(c + (n + 1)/2) over prefill entries, the causal query–key pairs.
        prefill_context: Σ (c + n) over prefill entries, the KV tokens they read.
        prefill_seqs: the number of prefill entries.
        decode_seqs: the number of decoding entries, one token each.
        decode_context: Σ (c + 1) over decoding entries, the KV tokens they read.
        sampled: the number of entries that sample a token.

    """

    prefill_tokens: Figure = 0
    prefill_pairs: Figure = 0
    prefill_context: Figure = 0
    prefill_seqs: Figure = 0
    decode_seqs: Figure = 0
    decode_context: Figure = 0
    sampled: Figure = 0


class StepCost(Protocol):
    """The time of a step, with its breakdown. Times are in seconds, finite and positive."""

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
        """Seconds that a step with this load takes."""

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by bound (compute, memory, communication, launch, host); they sum to the step's."""

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive steps in which the same sequences decode and nothing else happens.

        The context grows by `decode_seqs` with every step. Values are those of calling the cost, bit
        for bit; the iterator exists because the engine can take them without building loads.
        """


@dataclass(frozen=True, slots=True)
class AffineCost:
    """A step time affine in the load: what a regression on a server's own step log gives.

    dt = base_s + per_token_s·tokens + per_seq_s·entries + per_context_token_s·decode_context
    + per_attention_pair_s·prefill_pairs, summed in this order in float64, where tokens and entries
    count the whole batch.

    Args:
        base_s, per_token_s, per_seq_s, per_context_token_s, per_attention_pair_s: coefficients [s].

    Raises:
        ValueError: a coefficient is negative or not finite, or all are zero.

    Source: linear fits of vLLM's steps reach R² .93–.99 within a run on CPUs; on GPUs the form
    misses the kink where a step turns from memory- to compute-bound.

    """

    base_s: float
    per_token_s: float = 0.0
    per_seq_s: float = 0.0
    per_context_token_s: float = 0.0
    per_attention_pair_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("base_s", "per_token_s", "per_seq_s", "per_context_token_s", "per_attention_pair_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"step cost {name}: {value!r} is not a finite number of seconds >= 0")
        if self.base_s + self.per_token_s + self.per_seq_s <= 0:
            raise ValueError("step cost: base_s, per_token_s and per_seq_s are all 0; a step must take time")

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
        return (
            self.base_s
            + self.per_token_s * (prefill_tokens + decode_seqs)
            + self.per_seq_s * (prefill_seqs + decode_seqs)
            + self.per_context_token_s * decode_context
            + self.per_attention_pair_s * prefill_pairs
        )

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by term: fixed and per-entry are the host's, tokens and pairs compute, context memory."""
        at = StepLoad(*load)
        zero = 0 * np.asarray(self(*load))
        return {
            "compute": self.per_token_s * (at.prefill_tokens + at.decode_seqs)
            + self.per_attention_pair_s * at.prefill_pairs
            + zero,
            "memory": self.per_context_token_s * at.decode_context + zero,
            "communication": zero,
            "launch": zero,
            "host": self.base_s + self.per_seq_s * (at.prefill_seqs + at.decode_seqs) + zero,
        }

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive decode-only steps."""
        fixed = self.base_s + self.per_token_s * decode_seqs + self.per_seq_s * decode_seqs
        slope = self.per_context_token_s
        while True:
            yield fixed + slope * decode_context
            decode_context += decode_seqs


def constant_cost(step_s: float) -> AffineCost:
    """A step that takes `step_s` seconds whatever it carries."""
    return AffineCost(step_s)
