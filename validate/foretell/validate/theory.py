"""`foretell validate theory`: queueing models against simulation, run anew or from what was recorded."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretell.validate.theory_batching import Point, Truths, compared, simulate_case
from foretell.validate.theory_cases import CASES, Case
from foretell.validate.theory_ciw import available, ciw_models
from foretell.validate.theory_replications import FULL_SWEEP, QUICK_SWEEP, Row, Sweep, sweep
from foretell.validate.theory_textbook import MODELS
from foretell.validate.theory_truth import FIGURES, FULL, LOADS, QUICK, Truth

RECORDED = Path(__file__).with_name("data") / "theory.json"
"""What a full run simulated."""
QUICK_LOADS = (0.3, 0.8, 0.95)
CIW_FULL, CIW_QUICK = Sweep((0.3, 0.5, 0.7, 0.9), 10, 2000, 15.0), Sweep((0.5, 0.7), 6, 1500, 15.0)
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Theory:
    """What theory and simulation say of the same queues.

    Attributes:
        made: date, effort, seed and CPU seconds of the simulations.
        rows: textbook models.
        truths: what was simulated of continuous batching, by case.
        points: the same beside the closed form as it is now.
        absent: what was not played, and why.

    """

    made: Mapping[str, Any]
    rows: tuple[Row, ...]
    truths: Mapping[str, Truths]
    points: tuple[Point, ...]
    absent: tuple[str, ...]


def run(*, full: bool, seed: int = 0, only: str = "", tell: Told = lambda text: None) -> Theory:
    """Simulate everything whose name contains `only`: half a minute of CPU, or with `full` some twenty."""
    began = time.process_time()
    textbook, effort, loads = (FULL_SWEEP, FULL, LOADS) if full else (QUICK_SWEEP, QUICK, QUICK_LOADS)
    rows = list(_named(only, textbook, seed, tell))
    absent = []
    if available():
        models = [model for model in ciw_models() if only in model.name]
        tell(f"{len(models)} queues by ciw")
        rows += sweep(models, CIW_FULL if full else CIW_QUICK, seed)
    else:
        absent.append("ciw is not installed (pip install ciw): its queues are left out")
    truths = {}
    for case in CASES:
        if only in case.name and (full or only or case.quick):
            tell(case.name)
            truths[case.name] = simulate_case(case, effort, loads, seed)
    made = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "effort": "full" if full else "quick",
        "seed": seed,
        **({"only": only} if only else {}),
        "cpu_s": round(time.process_time() - began, 1),
    }
    return Theory(made, tuple(rows), truths, tuple(_points(truths)), tuple(absent))


def recorded(path: Path = RECORDED, only: str = "") -> Theory:
    """What a full run simulated, beside the closed form as it is now: a few seconds.

    Only what has `only` in its name is taken.

    Raises:
        ValueError: the file is not what `saved` writes.

    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(map(_row, found["textbook"]))
        truths = {name: _truths(one) for name, one in found["batching"].items() if only in name}
        made, absent = dict(found["made"]), tuple(found["absent"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a record of `foretell validate theory --save` ({error})") from None
    return Theory(
        made, tuple(row for row in rows if only in row.model), truths, tuple(_points(truths)), absent
    )


def saved(theory: Theory) -> str:
    """The simulations as the text of a file: figures and their standard errors to five digits."""
    rows = [
        [
            *(row.model, row.kind, row.by, row.figure, row.load),
            *map(_short, (row.theory, row.mean, row.error)),
            row.replications,
            None if row.known != row.known else row.known,
        ]
        for row in theory.rows
    ]
    parts = {
        "made": json.dumps(theory.made),
        "absent": json.dumps(theory.absent),
        "textbook": _lines("[]", (json.dumps(row, ensure_ascii=False) for row in rows)),
        "batching": _lines(
            "{}",
            (
                f"{json.dumps(name, ensure_ascii=False)}: {_listed(one)}"
                for name, one in theory.truths.items()
            ),
        ),
    }
    return "{\n" + ",\n".join(f'"{key}": {text}' for key, text in parts.items()) + "\n}\n"


def _named(only: str, textbook: Sweep, seed: int, tell: Told) -> Iterable[Row]:
    models = [model for model in MODELS if only in model.name]

    def progress(done: int, total: int) -> None:
        tell(f"textbook queues: {done} of {total}")

    return sweep(models, textbook, seed, progress)


def _points(truths: Mapping[str, Truths]) -> Iterable[Point]:
    by_name: dict[str, Case] = {case.name: case for case in CASES}
    for name, one in truths.items():
        if name not in by_name:
            raise ValueError(f"case {name!r} is not known any more; record the simulations again")
        yield from compared(by_name[name], one)


def _listed(one: Truths) -> str:
    loads = {f"{load:g}": _figures(truth, FIGURES) for load, truth in one.loads.items()}
    return json.dumps({"capacity": _figures(one.capacity, ("capacity",)), **loads})


def _figures(truth: Truth, names: Sequence[str]) -> list[Any]:
    mean, error = ([_short(values[name]) for name in names] for values in (truth.mean, truth.error))
    return [_short(truth.rate_per_s, 8), truth.seeds, mean, error]


def _row(cells: Sequence[Any]) -> Row:
    values = dict(zip((field.name for field in fields(Row)), cells, strict=True))
    return Row(**{**values, "known": math.nan if values["known"] is None else values["known"]})


def _truths(found: Mapping[str, Any]) -> Truths:
    def read(one: Sequence[Any], names: Sequence[str]) -> Truth:
        rate, seeds, mean, error = one
        return Truth(rate, dict(zip(names, mean, strict=True)), dict(zip(names, error, strict=True)), seeds)

    loads = {float(load): read(one, FIGURES) for load, one in found.items() if load != "capacity"}
    return Truths(read(found["capacity"], ("capacity",)), loads)


def _short(value: float, digits: int = 5) -> float:
    return float(f"{value:.{digits}g}")


def _lines(ends: str, rows: Iterable[str]) -> str:
    return ends[0] + "\n" + ",\n".join(rows) + "\n" + ends[1]
