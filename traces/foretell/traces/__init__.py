"""Workloads: who asks what, when. One canonical table, readers of real traces, and generators."""

from foretell.traces.arrivals import Arrivals, ClosedLoop, Constant, Diurnal, Gamma, Mmpp, Poisson
from foretell.traces.describe import summary
from foretell.traces.generate import Prefixes, Sessions, generate
from foretell.traces.plain import write_csv
from foretell.traces.readers import FORMATS, read_trace
from foretell.traces.spec import preset, presets, trace_from_spec
from foretell.traces.table import Chain, Trace, concat
from foretell.traces.transform import (
    at_rate,
    between,
    from_zero,
    head,
    merge,
    scaled_lengths,
    scaled_rate,
)

__all__ = [
    "FORMATS",
    "Arrivals",
    "Chain",
    "ClosedLoop",
    "Constant",
    "Diurnal",
    "Gamma",
    "Mmpp",
    "Poisson",
    "Prefixes",
    "Sessions",
    "Trace",
    "at_rate",
    "between",
    "concat",
    "from_zero",
    "generate",
    "head",
    "merge",
    "preset",
    "presets",
    "read_trace",
    "scaled_lengths",
    "scaled_rate",
    "summary",
    "trace_from_spec",
    "write_csv",
]
