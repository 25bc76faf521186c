"""No prediction beats the hardware's peak, over the whole table of measured servers."""

from __future__ import annotations

import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.silicon_source import has_silicon
from foretell.validate.backends import backend_cost
from foretell.validate.silicon_rows import MeasuredRow, measured_rows
from peaks import TINY, Layout, loads, never_beaten, peaks

pytestmark = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")


def layouts(row: MeasuredRow) -> list[Layout]:
    """What runs on what, and how: one layout, or those of two pools."""
    run = row.run
    plans = [pool.parallelism for pool in (row.prefill, row.decode) if pool] or [run.parallelism]
    return [(run.model, run.accelerator, plan, run.precision) for plan in plans]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["silicon", "curves"])
def test_no_prediction_of_the_whole_table_beats_the_peaks(source: str) -> None:
    distinct = {repr(layout): layout for row in measured_rows().rows for layout in layouts(row)}
    assert len(distinct) > 150
    for layout in distinct.values():
        never_beaten(layout, source)


@pytest.mark.slow
def test_no_pool_of_another_engine_beats_the_peaks() -> None:
    """Links aside: tokens go to the ranks of their experts, which the floor of links does not know."""
    grid = loads()
    distinct = {
        repr((row.run.backend, layout)): (row.run, layout)
        for row in measured_rows().rows
        for layout in layouts(row)
        if row.prefill
    }
    assert len(distinct) > 30
    for run, layout in distinct.values():
        model, accelerator, plan, _ = layout
        cost = backend_cost(run, plan, load_architecture(model), load_hardware(accelerator))
        least = peaks(layout, *grid)
        assert (cost.scaled(TINY)(*grid) >= least * (1 - 1e-9)).all(), layout
        assert (cost(*grid) >= least * (1 - 1e-9)).all(), layout
