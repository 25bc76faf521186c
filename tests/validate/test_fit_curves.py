"""Fitting the shipped curves: known figures are found again, errors are honest, what is written is read."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from foretell.models.curve_forms import Curve, LinkCurve, Work
from foretell.models.silicon_source import has_silicon
from foretell.validate import fit_curves
from foretell.validate.curve_points import Points, points_of
from foretell.validate.fit_curves import (
    errors,
    errors_of,
    fit_curve,
    fit_link,
    fit_pooled,
    held_out,
    left_out,
    log_errors,
    to_toml,
)

TRUE = Curve(5e-6, 0.7, 0.85, 2.0, (2e5,), (64.0,), 0.0)


def points(curve: Curve = TRUE, noise: float = 0.0, seed: int = 0) -> Points:
    """A family of matrices over 40 shapes × 12 loads on a machine of 1e15 FLOP/s and 4e12 B/s."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    n, k = (2.0 ** rng.uniform(5, 14, 40)[:, None] for _ in range(2))
    m = 2.0 ** np.arange(0.0, 24.0, 2.0)[None, :]
    compute, memory = 2 * m * n * k / 1e15, 2 * (n * k + m * k + m * n) / 4e12
    spread = [np.broadcast_to(x, compute.shape).ravel() for x in (m * n, n)]
    work = Work(compute.ravel(), memory.ravel(), (spread[0],), (spread[1],))
    shape = np.repeat(np.arange(40), 12)
    told = curve.seconds(work) * np.exp(noise * rng.standard_normal(shape.size))
    return Points(work, told, shape, "synthetic 1.0", shape.size)


def figures(curve: Curve) -> list[float]:
    return [
        curve.launch_s,
        curve.compute,
        curve.memory,
        curve.sharpness,
        *curve.compute_halves,
        *curve.memory_halves,
    ]


def test_known_figures_are_found_again() -> None:
    np.testing.assert_allclose(figures(fit_curve(points())), figures(TRUE), rtol=0.01)
    # with 10 % of noise, and one kernel in twenty chosen badly
    noisy = points(noise=0.1)
    noisy.seconds[::20] *= 3.0
    np.testing.assert_allclose(figures(fit_curve(noisy))[:4], figures(TRUE)[:4], rtol=0.25)


def test_the_held_out_error_is_the_noise() -> None:
    found = held_out(points(noise=0.1))
    assert found.rms == pytest.approx(0.1, rel=0.15)
    assert found.median == pytest.approx(0.0674, rel=0.2)
    assert held_out(points()).rms < 0.01


def test_no_fit_beats_the_peaks() -> None:
    """Even where what was measured does: a small matrix that stayed in a cache."""
    fast = points()
    curve = fit_curve(Points(fast.work, 0.3 * fast.seconds, fast.shape, fast.table, fast.count))
    assert curve.compute <= 1.0 and curve.memory <= 1.0
    least = np.maximum(fast.work.compute_s, fast.work.memory_s)
    assert (curve.seconds(fast.work) >= least).all()


def test_a_chip_left_out_tells_how_far_chips_differ() -> None:
    slow = Curve(5e-6, 0.35, 0.85, 2.0, (2e5,), (64.0,), 0.0)
    alike = {"h100-sxm": points(), "h200": points(seed=1), "l40s": points(seed=2)}
    unlike = alike | {"l40s": points(slow, seed=2)}
    same, other = left_out(alike), left_out(unlike)
    assert same is not None and other is not None
    assert same.rms < 0.01 < 0.2 < other.rms < np.log(2.0)
    assert left_out({"h100-sxm": points(), "h200": points(seed=1)}) is None, "one chip alone tells nothing"
    # the pooled curve lies between, however many boards a chip has
    pooled = fit_pooled(unlike)
    assert 0.4 < pooled.compute < 0.65


def test_a_collective_is_found_again() -> None:
    true = LinkCurve(5e-6, 0.8, 2e-5, 0.0)
    crossing = 2.0 ** np.arange(10.0, 29.0) / 450e9
    found = fit_link(crossing, true.seconds(crossing))
    assert (found.latency_s, found.bandwidth, found.half_s) == pytest.approx((5e-6, 0.8, 2e-5), rel=0.02)


def test_what_is_written_is_read_again() -> None:
    record: dict[str, Any] = {
        "source": {"package": "x", "version": "1"},
        "accelerators": {
            "h100-sxm": {
                "kernels": {"gemm": {"fp8": {"launch_s": 1.234e-6, "h": [0.0, 12345.0], "error": 0.1}}},
                "links": {"all_reduce": {"8": {"latency_s": 1e-5, "error": 0.2}}},
            }
        },
    }
    read = tomllib.loads(to_toml(record))
    assert read["source"] == record["source"]
    own = read["accelerators"]["h100-sxm"]
    assert own["kernels"]["gemm"]["fp8"] == {"launch_s": 1.23e-6, "h": [0, 12300], "error": 0.1}
    assert own["links"]["all_reduce"]["8"]["latency_s"] == 1e-5


def test_errors_by_curve_are_all_errors_of_the_shipped_ones() -> None:
    text = (files("foretell.models") / "data" / "curves.toml").read_text(encoding="utf-8")
    shipped = tomllib.loads(text)
    found = errors_of(shipped)
    kernel = shipped["accelerators"]["h200"]["kernels"]["gemm"]["fp8"]
    assert found["kernels"]["gemm, fp8"]["h200"] == {"median": kernel["median"], "rms": kernel["error"]}
    link = shipped["pooled"]["pcie"]["all_reduce"]["8"]
    assert found["collectives"]["all_reduce, ranks 8"]["pcie"] == {
        "median": link["median"],
        "rms": link["error"],
    }
    assert "others" in found["kernels"]["gemm, fp8"]
    told = sum(len(each) for part in ("kernels", "collectives") for each in found[part].values())
    assert told == text.count("error = ")


def test_errors_are_printed_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files("foretell.models") / "data" / "curves.toml"
    before = path.read_text(encoding="utf-8")
    monkeypatch.setattr(fit_curves, "fit_all", lambda: tomllib.loads(before))
    fit_curves.main(["--json"])
    assert json.loads(capsys.readouterr().out) == errors_of(tomllib.loads(before))
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
def test_the_shipped_curves_are_what_the_tables_give(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two families of A100, whose tables are the smallest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    text = (files("foretell.models") / "data" / "curves.toml").read_text(encoding="utf-8")
    shipped = tomllib.loads(text)["accelerators"]["a100-80gb-sxm"]["kernels"]
    seen = set()
    for family, name, found in points_of("a100-80gb-sxm"):
        if (family, name) not in {("gemm", "int4_wo"), ("experts", "bfloat16")}:
            continue
        curve, record = fit_curve(found), shipped[family][name]
        assert record["points"] == found.count
        assert [curve.launch_s, curve.compute, curve.memory] == pytest.approx(
            [record["launch_s"], record["compute"], record["memory"]], rel=0.02
        )
        # on shapes that the fit did not see it is worse, but not by much
        size = errors(log_errors(curve, found)).rms
        assert 0.7 * record["error"] < size < record["error"] + 0.02
        seen.add(family)
    assert seen == {"gemm", "experts"}
