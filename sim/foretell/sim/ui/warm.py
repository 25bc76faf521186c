"""What a worker has ready before the first question: imports here, caches by `warm_up`."""

from __future__ import annotations

import contextlib

import foretell.sim.closed_form
import foretell.sim.schema  # noqa: F401


def warm_up() -> None:
    """Answer the first examples once."""
    from foretell.sim.ui.answers import answer
    from foretell.sim.ui.questions import Handed, asked
    from foretell.sim.ui.starts import STARTS

    with contextlib.suppress(ValueError):
        answer(asked(dict(STARTS[0].scenario), Handed()), Handed(), intervals=False)
