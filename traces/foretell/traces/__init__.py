"""Workloads: who asks what, when."""

from foretell.traces.readers import read_trace
from foretell.traces.table import Chain, Trace

__all__ = ["Chain", "Trace", "read_trace"]
