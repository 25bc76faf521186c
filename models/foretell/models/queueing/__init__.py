"""Queueing models: closed forms and small Markov chains, without a clock and without randomness.

Textbook models (`multiserver`, `singleserver`, `bulk`, `mmpp`, `networks`) say in every docstring what
equation they are, where it is valid, and its source; `continuous` is ours: continuous batching.
"""

from foretell.models.queueing.bulk import BatchTime, BulkQueue, bulk_queue
from foretell.models.queueing.continuous import ContinuousBatching, continuous_batching
from foretell.models.queueing.lengths import Lengths
from foretell.models.queueing.mean_field import Fleet, power_of_d
from foretell.models.queueing.mmpp import mmpp_m1, mmpp_scv
from foretell.models.queueing.multiserver import (
    erlang_b,
    erlang_c,
    ggc,
    kingman_bound_s,
    mgc,
    mmc,
    mmc_wait_percentile,
    mmc_wait_tail,
)
from foretell.models.queueing.networks import Station, departure_scv, fork_join, fork_join_bounds, tandem
from foretell.models.queueing.saturation import EngineLimits, Saturated, saturated
from foretell.models.queueing.singleserver import (
    Clipped,
    best_limit,
    clipped_mg1,
    mg1,
    mg1_wait_variance,
    mxg1,
)
from foretell.models.queueing.steady import Steady

__all__ = [
    "BatchTime",
    "BulkQueue",
    "Clipped",
    "ContinuousBatching",
    "EngineLimits",
    "Fleet",
    "Lengths",
    "Saturated",
    "Station",
    "Steady",
    "best_limit",
    "bulk_queue",
    "clipped_mg1",
    "continuous_batching",
    "departure_scv",
    "erlang_b",
    "erlang_c",
    "fork_join",
    "fork_join_bounds",
    "ggc",
    "kingman_bound_s",
    "mg1",
    "mg1_wait_variance",
    "mgc",
    "mmc",
    "mmc_wait_percentile",
    "mmc_wait_tail",
    "mmpp_m1",
    "mmpp_scv",
    "mxg1",
    "power_of_d",
    "saturated",
    "tandem",
]
