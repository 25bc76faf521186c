"""The power model's bounds."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.energy import IDLE_FRACTION, PowerModel, power_model
from foretell.models.hardware import load_hardware

SHARES = st.floats(0, 10)


def test_a_compute_bound_step_by_hand() -> None:
    model = PowerModel(100.0, 700.0, 0.6, 0.4, 0.3)
    compute = {"compute": 2.0, "memory": 0.0, "communication": 0.0, "launch": 0.0, "host": 0.0}
    assert model.power_W(compute) == pytest.approx(100 + 600 * 0.9)
    assert model.energy_J(compute, 8) == pytest.approx(8 * 2 * 640)
    idle = {"compute": 0.0, "memory": 0.0, "communication": 0.0, "launch": 0.0, "host": 1.0}
    assert model.power_W(idle) == 100


@given(compute=SHARES, memory=SHARES, communication=SHARES, launch=SHARES, host=st.floats(1e-3, 10))
def test_power_stays_between_idle_and_maximum(
    compute: float, memory: float, communication: float, launch: float, host: float
) -> None:
    parts = {
        "compute": compute,
        "memory": memory,
        "communication": communication,
        "launch": launch,
        "host": host,
    }
    assert 90 - 1e-9 <= PowerModel(90.0, 700.0).power_W(parts) <= 700 + 1e-9


def test_an_unpublished_idle_power_is_assumed_and_said() -> None:
    part = dataclasses.replace(load_hardware("h100-sxm").accelerator, idle_W=None, tdp_W=700.0)
    model = power_model(part)
    assert model.idle_W == pytest.approx(IDLE_FRACTION * 700)
    assert any("assumed" in note for note in model.notes)
    with pytest.raises(ValueError, match="tdp_W"):
        power_model(dataclasses.replace(part, tdp_W=None))


def test_bad_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="idle_W"):
        PowerModel(800.0, 700.0)
    with pytest.raises(ValueError, match="busy"):
        PowerModel(100.0, 700.0, 0.9, 0.4, 0.3)
