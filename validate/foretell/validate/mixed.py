"""Scales of a cost's terms fitted to measured runs: one for all, and factors by key drawn to 1.

With A and B the seconds of every term at scale 1 in a run's time to first token and per output token,

    minimise  Σ_runs ρ(ln(B·c) − ln tpot) + ρ(ln(A·c) − ln ttft) + Σ_p ρ(0.6 (z_p − m_p) / σ_p)

over z, where ln c_term = Σ z_p over the parameters p of the term that hold for the run: the global one, with
prior ln-mean m and error σ, and one for each of the run's keys, with mean 0. ρ is the soft L1 loss. It is
the mode of a mixed-effects model with crossed random effects (partial pooling: A. Gelman, J. Hill, "Data
Analysis Using Regression and Multilevel/Hierarchical Models", 2007, ch. 12–13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foretell.models.residual import CLIENT, Residual
from foretell.models.tabulated import OPERATORS, OVERHEADS, TERMS

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

NAMES = (*TERMS, *CLIENT)
PRIOR: Mapping[str, tuple[float, float]] = {
    "gemm": (1.0, 0.15),
    "gemm_compute": (1.0, 0.15),
    "experts": (1.0, 0.2),
    "experts_compute": (1.0, 0.3),
    "prefill_attention": (1.0, 0.15),
    "decode_attention": (1.0, 0.15),
    "elementwise": (1.0, 0.3),
    "launches": (0.4, 0.5),
    "communication": (1.0, 0.3),
    "head": (1.0, 0.3),
    "layers": (8.0, 0.5),
    "prefill_layers": (3.0, 1.0),
    "step": (0.5, 0.7),
    "sequences": (5.0, 0.7),
    "client": (10.0, 0.7),
    "client_1k": (3.0, 1.0),
    "client_stream": (100.0, 0.7),
}
"""(median, standard error of the logarithm) before any run: measured operators are right up to what the
errors of their tables leave; overheads are orders of magnitude that profiles of vLLM show."""
_OPERATORS = tuple(name for name in OPERATORS if name != "head")
_OVERHEADS = (*OVERHEADS, "client")
LEVELS: Mapping[str, Mapping[str, float]] = {
    "model": {
        "experts": 0.4,
        "experts_compute": 0.2,
        "communication": 0.15,
        "elementwise": 0.3,
        "launches": 0.2,
        "layers": 0.3,
        "prefill_layers": 0.3,
        "client": 0.5,
        "client_1k": 0.5,
    },
    "model on generation": {"experts": 0.15, "experts_compute": 0.4},
    "generation": dict.fromkeys(_OPERATORS, 0.15) | dict.fromkeys((*_OVERHEADS, "client_1k"), 0.3),
    "accelerator": dict.fromkeys(_OPERATORS, 0.1) | dict.fromkeys(_OVERHEADS, 0.2) | {"client_1k": 0.3},
    "release": {
        "experts": 0.2,
        "experts_compute": 0.2,
        "layers": 0.3,
        "prefill_layers": 0.3,
        "step": 0.3,
        "client": 0.2,
        "client_1k": 0.5,
    },
    "pair": {"experts": 0.1, "layers": 0.15, "prefill_layers": 0.3, "client": 0.5, "client_1k": 0.3},
}
"""Spread of the factors by kind of key (the part before ":") and term, as logarithms."""
_LOSS_SCALE = 0.05
_RUN_ERROR = 0.6
"""Near the mode a run tells as much as one observation with this standard error of its logarithm: the runs of
a group share their errors, so that hundreds of them must not outvote the priors."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What is fitted: n runs.

    Attributes:
        ttft_terms, tpot_terms: (n, len(NAMES)) seconds at scale 1.
        ttft_s, tpot_s: (n,) measured.
        keys: of every run, from `residual_keys`.

    """

    ttft_terms: Array
    tpot_terms: Array
    ttft_s: Array
    tpot_s: Array
    keys: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Mixed:
    """The parameters of the runs.

    Attributes:
        runs: as given.
        names: (p,) the key of each parameter, "" of global ones.
        term: (p,) which of NAMES it scales.
        mean, error: (p,) of its prior, as logarithms.
        holds: (n, p) 1 where it holds for a run.

    """

    runs: Runs
    names: tuple[str, ...]
    term: Index
    mean: Array
    error: Array
    holds: Array = field(repr=False)

    def fit(self, rows: Index, start: Array | None = None, weights: Array | None = None) -> Array:
        """Logarithms (p,) fitted to these rows; `weights` (len(rows),) are 1 if not given."""
        from scipy.optimize import least_squares

        runs = self.runs
        a, b, holds = runs.ttft_terms[rows], runs.tpot_terms[rows], self.holds[rows]
        log_ttft, log_tpot = np.log(runs.ttft_s[rows]), np.log(runs.tpot_s[rows])
        heavy = np.ones(len(rows)) if weights is None else np.sqrt(weights)
        pull = _RUN_ERROR / self.error

        def residuals(z: Array) -> Array:
            c = self._coefficients(z, holds)
            tpot, ttft = (b * c).sum(axis=1), (a * c).sum(axis=1)
            return np.concatenate(
                [
                    heavy * (np.log(tpot) - log_tpot),
                    heavy * (np.log(ttft) - log_ttft),
                    pull * (z - self.mean),
                ]
            )

        def jacobian(z: Array) -> Array:
            c = self._coefficients(z, holds)
            by_tpot, by_ttft = b * c, a * c
            by_tpot /= by_tpot.sum(axis=1, keepdims=True)
            by_ttft /= by_ttft.sum(axis=1, keepdims=True)
            return np.vstack(
                [
                    heavy[:, None] * by_tpot[:, self.term] * holds,
                    heavy[:, None] * by_ttft[:, self.term] * holds,
                    np.diag(pull),
                ]
            )

        first = self.mean if start is None else start
        found = least_squares(residuals, first, jacobian, loss="soft_l1", f_scale=_LOSS_SCALE, max_nfev=60)
        return np.asarray(found.x, dtype=float)

    def predict(self, z: Array, rows: Index) -> tuple[Array, Array]:
        """(ttft_s, tpot_s) of rows whose schedules are taken as they are."""
        c = self._coefficients(z, self.holds[rows])
        return (self.runs.ttft_terms[rows] * c).sum(axis=1), (self.runs.tpot_terms[rows] * c).sum(axis=1)

    def residual(self, z: Array) -> Residual:
        """The parameters by name."""
        scales: dict[str, float] = {}
        effects: dict[str, dict[str, float]] = {}
        for key, term, value in zip(self.names, self.term, np.exp(z).tolist(), strict=True):
            if key:
                effects.setdefault(key, {})[NAMES[term]] = value
            else:
                scales[NAMES[term]] = value
        return Residual(scales, effects)

    def _coefficients(self, z: Array, holds: Array) -> Array:
        by_term = np.zeros((z.size, len(NAMES)))
        by_term[np.arange(z.size), self.term] = z
        return np.asarray(np.exp(holds @ by_term), dtype=float)


def mixed(runs: Runs, levels: Mapping[str, Mapping[str, float]] = LEVELS) -> Mixed:
    """Lay out the parameters: a global one for every term, one for every key and term of its level.

    A key's parameter is left out where its term takes no time in any of its runs.
    """
    n = len(runs.keys)
    names, terms = [""] * len(NAMES), list(range(len(NAMES)))
    mean = [float(np.log(PRIOR[name][0])) for name in NAMES]
    error = [PRIOR[name][1] for name in NAMES]
    holds = [np.ones(n)] * len(NAMES)
    for key in sorted({key for keys in runs.keys for key in keys}):
        mine = np.array([key in keys for keys in runs.keys])
        for name, spread in levels.get(key.partition(":")[0], {}).items():
            k = NAMES.index(name)
            if not (runs.ttft_terms[mine, k].any() or runs.tpot_terms[mine, k].any()):
                continue
            names.append(key)
            terms.append(k)
            mean.append(0.0)
            error.append(spread)
            holds.append(mine.astype(float))
    return Mixed(runs, tuple(names), np.array(terms), np.array(mean), np.array(error), np.array(holds).T)


def untuned() -> Residual:
    """The priors themselves: what stood before any run was looked at."""
    return Residual({name: median for name, (median, _) in PRIOR.items()})
