"""The power curve: by hand, its bounds, and what it rises with."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.energy import IDLE_FRACTION, PowerModel, peak_work, power_model
from foretell.models.hardware import load_hardware
from foretell.models.operators import Attend
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.stepcost import StepLoad

SHARES = st.floats(0, 10)
LLAMA, H100 = load_architecture("llama-3.1-8b"), load_hardware("h100-sxm")


def step(compute: float = 0.0, memory: float = 0.0, host: float = 0.0) -> dict[str, float]:
    return {"compute": compute, "memory": memory, "communication": 0.0, "launch": 0.0, "host": host}


def test_a_step_by_hand() -> None:
    model = PowerModel(100.0, 700.0, busy=0.5, compute=2.0, memory=1.0)
    assert model.power_W(step(compute=2.0), (1.0, 0.5)) == pytest.approx(
        100 + 600 * (1 - math.exp(-(0.5 + 2.0 * 0.5 + 1.0 * 0.25)))
    )
    # without the work at the peaks, half of what bounds
    assert model.power_W(step(memory=3.0, host=1.0)) == pytest.approx(
        100 + 600 * (1 - math.exp(-(0.5 * 0.75 + 1.0 * 0.375)))
    )
    assert model.power_W(step(host=1.0)) == 100
    assert model.energy_J(step(host=2.0), 8) == pytest.approx(8 * 2 * 100)


def test_both_at_once_draw_more_than_either() -> None:
    model, parts = power_model(H100.accelerator), step(memory=1.0)
    both, compute, memory, none = (
        model.power_W(parts, work) for work in ((0.2, 0.8), (0.2, 0.0), (0.0, 0.8), (0.0, 0.0))
    )
    assert both > compute > memory > none > model.idle_W


@given(
    compute=SHARES, memory=SHARES, communication=SHARES, launch=SHARES, host=st.floats(1e-3, 10),
    work=st.none() | st.tuples(st.floats(0, 100), st.floats(0, 100)),
)  # fmt: skip
def test_power_stays_between_idle_and_maximum(
    compute: float,
    memory: float,
    communication: float,
    launch: float,
    host: float,
    work: tuple[float, float] | None,
) -> None:
    parts = {
        "compute": compute,
        "memory": memory,
        "communication": communication,
        "launch": launch,
        "host": host,
    }
    assert 90 - 1e-9 <= PowerModel(90.0, 700.0).power_W(parts, work) <= 700 + 1e-9


def test_work_at_the_peaks_by_hand() -> None:
    """A decoding step multiplies with all matrices but the embedding, and reads them and the KV cache."""
    batch, context = 16, 16 * 1000
    load = StepLoad(decode_seqs=batch, decode_context=context, sampled=batch)
    work = peak_work(LLAMA, H100, Parallelism(), Precision())
    compute, memory = work(*load)
    matrices = LLAMA.parameters() - LLAMA.embedding_parameters()
    attention = 32 * 4 * 32 * 128 * context
    assert compute == pytest.approx((2 * matrices * batch + attention) / 9.895e14, rel=0.001)
    assert memory == pytest.approx((2 * matrices + 2**17 * context) / 3.35e12, rel=0.02)
    # a prompt of 512 tokens, of which one meets the head
    prompt = StepLoad(512, 512 * 256.5, 512, 1, 0, 0, 1)
    head = LLAMA.head_parameters()
    flops = 2 * (matrices - head) * 512 + 2 * head + 32 * 4 * 32 * 128 * 512 * 256.5
    assert work(*prompt)[0] == pytest.approx(flops / 9.895e14, rel=0.001)
    # a pipeline's ranks share it; arrays are taken element by element
    staged = peak_work(LLAMA, H100, Parallelism(1, 4), Precision())
    assert staged(*load)[0] == pytest.approx(compute / 4)
    many = work(*(np.array([figure, 0]) for figure in load))
    assert many[0][0] == pytest.approx(compute)
    assert many[0][1] == 0
    assert any(isinstance(op, Attend) for op in work.operators)


def test_what_was_measured_is_surer() -> None:
    known, other = power_model(H100.accelerator), power_model(load_hardware("l40s").accelerator)
    assert known.error < other.error
    assert (known.busy, known.compute) == (other.busy, other.compute)
    assert "not here" in other.notes[0]
    assert "not here" not in known.notes[0]


def test_an_unpublished_idle_power_is_assumed_and_said() -> None:
    part = dataclasses.replace(H100.accelerator, idle_W=None, tdp_W=700.0)
    model = power_model(part)
    assert model.idle_W == pytest.approx(IDLE_FRACTION * 700)
    assert any("assumed" in note for note in model.notes)
    with pytest.raises(ValueError, match="tdp_W"):
        power_model(dataclasses.replace(part, tdp_W=None))


def test_bad_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="idle_W"):
        PowerModel(800.0, 700.0)
    with pytest.raises(ValueError, match="power compute: -1"):
        PowerModel(100.0, 700.0, compute=-1.0)
