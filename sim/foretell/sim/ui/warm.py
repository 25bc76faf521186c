"""What a worker has ready before the first question: imports here, caches by `warm_up`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import foretell.sim.closed_form
import foretell.sim.schema  # noqa: F401


def warm_up(asked_for: Callable[[], bool]) -> None:
    """Answer the examples once, until somebody asks."""
    from foretell.sim.ui.answers import answer
    from foretell.sim.ui.questions import Handed, asked
    from foretell.sim.ui.starts import STARTS

    for start in STARTS:
        if asked_for():
            return
        with contextlib.suppress(ValueError):
            answer(asked(dict(start.scenario), Handed()), Handed(), intervals=False)
