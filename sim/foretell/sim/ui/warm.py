"""What a worker has ready before the first question: imports here, caches by `warm_ups`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import foretell.sim.closed_form
import foretell.sim.schema  # noqa: F401


def warm_ups() -> Iterator[None]:
    """Answer an example at each step."""
    from foretell.sim.ui.answers import answer
    from foretell.sim.ui.questions import Handed, asked
    from foretell.sim.ui.starts import STARTS

    for start in STARTS:
        with contextlib.suppress(ValueError):
            yield
            answer(asked(dict(start.scenario), Handed()), Handed(), intervals=False)
