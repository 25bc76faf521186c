"""Step costs as people type them: "affine:0.005,5e-5,1e-4,1e-7,1e-8" or "constant:0.01"."""

from __future__ import annotations

from foretell.models import AffineCost

_AFFINE = "affine:BASE,PER_TOKEN,PER_SEQ,PER_CONTEXT_TOKEN,PER_ATTENTION_PAIR"


def parse_step_cost(text: str) -> AffineCost:
    """Parse a step cost; coefficients are in seconds, and those left out at the end are 0.

    Raises:
        ValueError: unknown kind, too many or malformed coefficients, or what `AffineCost` refuses.

    """
    kind, colon, rest = text.partition(":")
    most = {"affine": 5, "constant": 1}.get(kind.strip())
    if most is None or not colon:
        raise ValueError(f"step cost {text!r}: write {_AFFINE} or constant:SECONDS")
    parts = rest.split(",")
    if len(parts) > most:
        raise ValueError(f"step cost {text!r}: {len(parts)} coefficients, {kind} takes at most {most}")
    coefficients = []
    for part in parts:
        try:
            coefficients.append(float(part))
        except ValueError:
            raise ValueError(f"step cost {text!r}: {part.strip()!r} is not a number of seconds") from None
    return AffineCost(*coefficients)
