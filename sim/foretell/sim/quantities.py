"""Quantities as people type them: "500 ms", "95 %", "0.05 usd"."""

from __future__ import annotations

import math
import re

_UNITS: dict[str, dict[str, float]] = {
    "time": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0},
    "share": {"": 1.0, "%": 0.01},
    "rate": {"": 1.0, "/s": 1.0, "req/s": 1.0, "rps": 1.0, "tok/s": 1.0, "tokens/s": 1.0},
    "money": {"": 1.0, "usd": 1.0, "$": 1.0},
    "energy": {"": 1.0, "j": 1.0, "kj": 1e3},
    "rent": {"": 1.0, "usd/h": 1.0, "$/h": 1.0},
    "power": {"": 1.0, "w": 1.0, "kw": 1e3, "mw": 1e6},
    "count": {"": 1.0},
}
_EXAMPLES = {
    "time": "500ms, 1.5s or 2min",
    "share": "0.95 or 95%",
    "rate": "5 or 5/s",
    "money": "0.05 or 0.05usd",
    "energy": "3 or 3J",
    "rent": "40 or 40usd/h",
    "power": "700W or 12kW",
    "count": "5",
}
_NUMBER = re.compile(
    r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf|nan)\s*([^\d\s]*)\s*$", re.IGNORECASE
)


def parse_quantity(text: str, kind: str, where: str, *, bare_unit: str | None = None) -> float:
    """Parse a number with its unit into SI.

    Args:
        text: what was typed, as in "500ms" or "95 %".
        kind: "time" [s], "share" [-], "rate" [1/s], "money" [USD], "energy" [J],
            "rent" [USD/h], "power" [W] or "count" [-].
        where: the name of the field, for the message.
        bare_unit: the unit of a number that has none; times need one by default.

    Raises:
        ValueError: not a number, negative, not finite, or of another unit.

    """
    units = _UNITS[kind]
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{where}: {text!r} is not a {kind}; write it as {_EXAMPLES[kind]}")
    number, unit = float(match[1]), match[2].lower()
    if not unit and bare_unit is not None:
        unit = bare_unit
    if unit not in units:
        problem = "has no unit" if not unit else f"has the unit {match[2]!r}"
        raise ValueError(f"{where}: {text.strip()!r} {problem}; write it as {_EXAMPLES[kind]}")
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{where}: {text.strip()!r} is not a finite {kind} >= 0")
    if kind == "share" and number * units[unit] > 1:
        raise ValueError(f"{where}: {text.strip()!r} is more than all; write it as {_EXAMPLES[kind]}")
    return number * units[unit]


_TIMES = (
    ("µs", 1e-6, 1e-3),
    ("ms", 1e-3, 1.0),
    ("s", 1.0, 300.0),
    ("min", 60.0, 7200.0),
    ("h", 3600.0, math.inf),
)
"""Unit, its seconds, and the size from which on the next one suits better."""


def show_seconds(seconds: float) -> str:
    """Show a time with three significant digits, in the unit that suits it."""
    unit, factor = _time_unit(seconds)
    return f"{show_number(seconds / factor)} {unit}" if math.isfinite(seconds) else "–"


def show_seconds_between(low: float, high: float) -> str:
    """Show a range of times, in the unit that suits its upper end."""
    unit, factor = _time_unit(high)
    return f"{show_number(low / factor)}–{show_number(high / factor)} {unit}"


def _time_unit(seconds: float) -> tuple[str, float]:
    for unit, factor, below in _TIMES:
        if abs(seconds) < below:
            return unit, factor
    return "s", 1.0


def show_number(value: float) -> str:
    """Three significant digits, without an exponent where people can do without."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e9:
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.3g}"
