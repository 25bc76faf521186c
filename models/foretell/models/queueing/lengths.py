"""Lengths of requests as a queueing model needs them: a joint sample, and the moments that follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
STRATA = 64


@dataclass(frozen=True, slots=True)
class Lengths:
    """A sample of (prompt, output) tokens with equal weights: the law of the requests.

    Attributes:
        prompt: tokens to be computed before the first of the answer, shape (k,), > 0.
        output: tokens of the answer, shape (k,), >= 1.
        cached: tokens of the context that need no computing (prefix-cache hits), one number or shape (k,).
        decode_steps: mean steps after the first token, E[G − 1].
        context: mean context of a decoding entry, over steps: E[Σ_j (P + j)]/E[G − 1].
        pairs_per_token: query–key pairs per prompt token, E[P²/2 + P·cached]/E[P].
        held_scv: squared coefficient of variation of that context, over entries and steps.
        alike: E[min(G₁, G₂)]/E[G] of two independent answers, 1 if all have the same length.
        variability: squared coefficient of variation of the decode steps.
        work_scv: the same of the tokens held, summed over these steps.
        equal: chance that two answers have the same number of tokens.

    """

    prompt: Array
    output: Array
    cached: Array | float = 0.0
    mean_prompt: float = field(init=False)
    decode_steps: float = field(init=False)
    context: float = field(init=False)
    pairs_per_token: float = field(init=False)
    held_scv: float = field(init=False)
    alike: float = field(init=False)
    variability: float = field(init=False)
    work_scv: float = field(init=False)
    equal: float = field(init=False)

    def __post_init__(self) -> None:
        prompt, output = (np.asarray(x, dtype=np.float64) for x in (self.prompt, self.output))
        if prompt.ndim != 1 or prompt.shape != output.shape or not prompt.size:
            raise ValueError(
                f"output: shape {output.shape} is not that of prompt {prompt.shape}, one row each"
            )
        if not ((prompt > 0).all() and (output >= 1).all()):
            raise ValueError("prompt: every request needs a prompt > 0 and an output >= 1 token")
        # In order of the answers and, among like ones, of the prompts: a lattice then meets both evenly.
        like = np.argsort(np.argsort(output, kind="stable")) * STRATA // len(output)
        order = np.lexsort((prompt, like))
        prompt, output = prompt[order], output[order]
        cached = np.broadcast_to(np.asarray(self.cached, dtype=np.float64), prompt.shape)[order]
        steps = output - 1
        total = max(float(steps.sum()), 1e-9)
        held = prompt + cached
        ordered = np.sort(steps)
        k = len(ordered)
        ends = np.flatnonzero(np.append(np.diff(ordered) > 0, True))
        equal = float((np.diff(ends, prepend=-1) ** 2.0).sum()) / k**2
        least = float((ordered * (2 * (k - np.arange(k)) - 1)).sum()) / k**2
        mean = total / k
        context = float((steps * (held + (steps + 1) / 2)).sum()) / total
        work = steps * (held + (steps + 1) / 2)
        second = held**2 + held * (steps + 1) + (steps + 1) * (2 * steps + 1) / 6
        spread = float((steps * second).sum()) / total / context**2 - 1 if context > 0 else 0.0
        for name, value in (
            ("prompt", prompt),
            ("output", output),
            ("cached", cached),
            ("mean_prompt", float(prompt.mean())),
            ("decode_steps", mean),
            ("context", context),
            ("held_scv", max(spread, 0.0)),
            ("pairs_per_token", float((prompt * (prompt / 2 + cached)).sum() / prompt.sum())),
            ("alike", least / mean),
            ("variability", float(steps.var()) / mean**2),
            ("work_scv", float(work.var()) / max(float(work.mean()), 1e-9) ** 2),
            ("equal", equal),
        ):
            object.__setattr__(self, name, value)

    @property
    def mean_context(self) -> float:
        """Tokens of a request while it is answered, mean: what KV caches are sized for, E[P + G/2]."""
        return float((self.prompt + self.output / 2).mean())

    def drawn(self, u: Array, v: Array) -> npt.NDArray[np.int64]:
        """Rows for points of the unit square: `u` chooses like answers, `v` the prompt among them."""
        edges = -(-np.arange(STRATA + 1) * len(self.prompt) // STRATA)
        stratum = np.minimum((u * STRATA).astype(np.int64), STRATA - 1)
        low, high = edges[stratum], edges[stratum + 1]
        few = high == low  # a sample smaller than the strata
        rows = np.where(few, u * len(self.prompt), low + v * (high - low)).astype(np.int64)
        return np.minimum(rows, len(self.prompt) - 1)

    def held_tokens(self, prefill_steps: float, block_size: int) -> float:
        """Mean KV tokens of a running request over its steps, whole blocks counted."""
        steps = self.output - 1
        held = self.prompt + self.cached
        tokens = float((steps * (held + (steps + 1) / 2) + prefill_steps * held).mean())
        return tokens / (self.decode_steps + prefill_steps) + (block_size - 1) / 2

    def persistence(self, steps: Array, scale: float = 1.0) -> Array:
        """Variance of the occupancy's average over so many steps, as a share of its variance.

        (2/g²)·∫₀^g (g − t)·ρ(t)·dt with ρ(t) the tail of a residual answer, ρ(t) = E[(G − t)⁺]/E[G], the
        autocorrelation of M/G/∞; `scale` > 1 stretches it, for an engine that slows down when it fills.
        """
        grid = np.quantile(self.output - 1, (np.arange(64) + 0.5) / 64)
        total = max(float(grid.sum()), 1e-9)
        at = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 40)]) * max(float(grid[-1]), 1.0)
        rho = np.maximum(grid[:, None] - at, 0.0).sum(0) / total
        first = np.concatenate([[0.0], np.cumsum((rho[1:] + rho[:-1]) / 2 * np.diff(at))])
        second = np.concatenate([[0.0], np.cumsum((first[1:] + first[:-1]) / 2 * np.diff(at))])
        g = np.maximum(steps, 1.0) / scale
        inside = np.interp(g, at, second) + np.maximum(g - at[-1], 0.0) * first[-1]
        share: Array = np.clip(2 * inside / g**2, 0.0, 1.0)
        return share
