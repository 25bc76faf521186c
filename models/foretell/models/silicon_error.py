"""How unsure measured operators make a step: what it borrows from other formats, shapes, accelerators."""

from __future__ import annotations

import math

from foretell.models.architecture import Architecture
from foretell.models.hardware import Hardware
from foretell.models.layers import step_operators
from foretell.models.operators import Attend
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.silicon import Silicon

_SEQS, _CONTEXT = 8.0, 1024.0
USUAL = 0.1
"""Log-error of operators interpolated among their own measurements: the errors of scales hold it."""


def borrowed_error(
    silicon: Silicon, architecture: Architecture, hardware: Hardware, plan: Parallelism, precision: Precision
) -> float:
    """Log-error of a decoding step beyond the usual one, 0 where its operators were measured.

    Every operator's error weighs as its time does in a step of 8 sequences of 1,024 tokens. Errors are taken
    to point one way, as they do where all matrices borrow from one other format.

    Raises:
        ValueError: nothing measured is near enough to lend.

    """
    part = hardware.accelerator
    total = weighted = 0.0
    for op in step_operators(architecture, plan, precision, part.peak_flops):
        load: tuple[float, ...] = (_SEQS,)
        if isinstance(op, Attend):
            if op.phase != "decode":
                continue
            load = (_SEQS, _SEQS * _CONTEXT, _SEQS * _CONTEXT, _SEQS)
        elif op.driver == "prefill_context":
            continue
        told = silicon.estimate(op, load, part)
        seconds = op.layers * float(told.seconds)
        total += seconds
        weighted += seconds * float(told.log_error)
    error = weighted / total if total else 0.0
    return math.sqrt(max(error**2 - USUAL**2, 0.0))
