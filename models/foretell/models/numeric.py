"""max and min that stay plain Python on scalars, for paths that a simulator calls millions of times."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_array(value: Any) -> bool:
    """Whether `value` is a numpy array (numpy scalars are not)."""
    return isinstance(value, np.ndarray)


def greatest(first: Any, second: Any) -> Any:
    """The greater one, element by element."""
    if is_array(first) or is_array(second):
        return np.maximum(first, second)
    return first if first >= second else second


def least(first: Any, second: Any) -> Any:
    """The smaller one, element by element."""
    if is_array(first) or is_array(second):
        return np.minimum(first, second)
    return first if first <= second else second
