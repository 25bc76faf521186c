from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretell.models.calibration import Fit, fit_coefficients

Floats = npt.NDArray[np.float64]
TRUE = np.array([8e-3, 9e-5, 3e-4, 1e-7, 2e-8])
NAMES = ("base", "token", "seq", "context", "pair")


def steps(rng: np.random.Generator, n: int) -> Floats:
    """Features of steps as a server makes them: decodes in all, a chunk of prompt in some."""
    prompt = np.where(rng.random(n) < 0.4, rng.integers(16, 2048, n), 0)
    decodes = rng.integers(1, 64, n)
    context = decodes * rng.integers(50, 1500, n)
    pairs = prompt * rng.integers(100, 2000, n) / 2
    return np.column_stack([np.ones(n), prompt + decodes, decodes + 2 * (prompt > 0), context, pairs])


def synthetic(seed: int, n: int = 400, true: Floats = TRUE, noise: float = 0.12) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    features = steps(rng, n)
    return features, features @ true * np.exp(noise * rng.standard_normal(n))


def coverage(fits: list[tuple[Fit, Floats]]) -> Floats:
    """Share of fits whose 90 % interval holds the true value, by coefficient."""
    inside = []
    for fit, true in fits:
        low, high = fit.interval(0.9).T
        inside.append((low <= true) & (true <= high))
    return np.asarray(np.mean(inside, axis=0))


def test_without_noise_the_coefficients_come_out() -> None:
    features, seconds = synthetic(0, noise=0.0)
    fit = fit_coefficients(features, seconds, NAMES)
    assert fit.coefficients == pytest.approx(TRUE, rel=1e-6)
    assert all(fit.identified)
    assert not fit.warnings
    assert fit.predict(features) == pytest.approx(seconds)


def test_one_coefficient_is_the_geometric_mean() -> None:
    """Least squares in the logarithm of c·1 against 1, 2 and 4 s: c = 2 s, by hand."""
    fit = fit_coefficients(np.ones((3, 1)), [1.0, 2.0, 4.0], ["c"], loss="linear")
    assert fit.coefficients[0] == pytest.approx(2.0)
    assert fit.log_error == pytest.approx(np.log(2.0))  # sqrt((ln²½ + 0 + ln²2)/(3 - 1))


def test_a_normal_prior_and_normal_data_meet_by_their_precisions() -> None:
    """Prior median 1 with error 0.2, one row e^0.3 with error 0.1: (0·25 + 0.3·100)/125 in the logarithm."""
    fit = fit_coefficients(
        [[1.0]], [np.exp(0.3)], ["c"], prior=[1.0], prior_log_error=0.2, noise_log_error=0.1, loss="linear",
        draws=4000,
    )  # fmt: skip
    assert np.log(fit.coefficients[0]) == pytest.approx(0.24, abs=1e-6)


def test_intervals_hold_known_coefficients_at_their_rate() -> None:
    fits = [(fit_coefficients(*synthetic(seed), NAMES), TRUE) for seed in range(150)]
    # Binomial: 150 draws at .9 stay within .83 to .97 with more than 99.5 %; five coefficients together.
    each = coverage(fits)
    assert (each >= 0.83).all()
    assert 0.86 <= each.mean() <= 0.95
    middle = np.median([fit.coefficients for fit, _ in fits], axis=0)
    assert middle == pytest.approx(TRUE, rel=0.05)
    assert np.mean([fit.log_error for fit, _ in fits]) == pytest.approx(0.12, rel=0.05)


def test_intervals_of_correlated_groups_are_wider_and_hold() -> None:
    """Every run has an error of its own, 10 %, beside that of its steps."""
    wide, narrow = [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        features, seconds = synthetic(seed, n=600, noise=0.05)
        runs = rng.integers(0, 12, 600)
        seconds = seconds * np.exp(0.1 * rng.standard_normal(12))[runs]
        wide.append((fit_coefficients(features, seconds, NAMES, groups=runs), TRUE))
        narrow.append((fit_coefficients(features, seconds, NAMES), TRUE))
    assert coverage(wide).min() >= 0.83
    assert coverage(narrow).min() < 0.75  # what groups are for


def test_intervals_with_priors_and_few_rows_hold() -> None:
    fits = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        true = np.exp(0.3 * rng.standard_normal(6))
        features = rng.random((4, 6))
        seconds = features @ true * np.exp(0.05 * rng.standard_normal(4))
        fit = fit_coefficients(
            features, seconds, list("abcdef"), prior=np.ones(6), prior_log_error=0.3, noise_log_error=0.05
        )
        fits.append((fit, true))
    assert 0.86 <= coverage(fits).mean() <= 0.96


def test_outliers_pull_less_than_squares_would() -> None:
    features, seconds = synthetic(3)
    seconds[::40] *= 8
    robust = fit_coefficients(features, seconds, NAMES)
    squares = fit_coefficients(features, seconds, NAMES, loss="linear")
    error = [
        np.abs(np.log((features @ fit.coefficients) / (features @ TRUE))).mean() for fit in (robust, squares)
    ]
    assert error[0] < error[1] / 2


def test_alike_columns_are_told() -> None:
    features, seconds = synthetic(1)
    doubled = np.column_stack([features, features[:, 1]])
    fit = fit_coefficients(doubled, seconds, [*NAMES, "copy"])
    assert fit.identified == (True, False, True, True, True, False)
    assert "token: cannot be told apart from copy" in fit.warnings[0]
    low, high = fit.interval()[5]
    assert low == 0
    assert high > 0.8 * TRUE[1]  # all of it may belong to either
    assert fit.coefficients[1] + fit.coefficients[5] == pytest.approx(TRUE[1], rel=0.1)


def test_a_column_that_nothing_shows_is_told() -> None:
    features, seconds = synthetic(1)
    features[:, 4] = 0
    fit = fit_coefficients(features, seconds, NAMES)
    assert not fit.identified[4]
    assert fit.warnings[-1].startswith("pair: nothing in the data depends on it")
    given = fit_coefficients(features, seconds, NAMES, prior=TRUE, prior_log_error=0.4)
    assert given.coefficients[4] == pytest.approx(TRUE[4])
    assert np.log(given.draws[:, 4]).std() == pytest.approx(0.4, rel=0.2)


def test_a_bound_that_the_data_are_below_is_told() -> None:
    features, seconds = synthetic(1)
    lower = np.array([0, 2 * TRUE[1], 0, 0, 0])
    fit = fit_coefficients(features, seconds, NAMES, lower=lower)
    assert fit.coefficients[1] == pytest.approx(lower[1])
    assert not fit.identified[1]
    assert "token: the data ask for less than its bound" in fit.warnings[0]


def test_alike_columns_are_told_without_noise_too() -> None:
    features, seconds = synthetic(1, noise=0.0)
    fit = fit_coefficients(np.column_stack([features, features[:, 1]]), seconds, [*NAMES, "copy"])
    assert fit.identified == (True, False, True, True, True, False)


@settings(max_examples=60, deadline=None)
@example(seed=224, n=2, k=4, with_prior=False, bounded=True)  # whose covariance once had a negative variance
@example(seed=1867385808, n=2, k=6, with_prior=False, bounded=True)  # likewise
@example(seed=668, n=2, k=3, with_prior=True, bounded=True)  # whose error once overflowed
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    k=st.integers(1, 6),
    with_prior=st.booleans(),
    bounded=st.booleans(),
)
def test_every_draw_keeps_the_bounds(seed: int, n: int, k: int, with_prior: bool, bounded: bool) -> None:
    """Whatever the data: also fewer rows than coefficients, empty columns, and seconds that make no sense."""
    rng = np.random.default_rng(seed)
    features = rng.random((n, k)) * 10.0 ** rng.integers(-6, 6, k) * (rng.random((n, k)) < 0.7)
    features[:, 0] += 1e-3
    seconds = np.exp(rng.normal(0, 2, n))
    lower = rng.random(k) * (rng.random(k) < 0.5) if bounded else np.zeros(k)
    options: dict[str, Any] = {"prior": np.ones(k), "prior_log_error": 0.5} if with_prior else {}
    fit = fit_coefficients(features, seconds, [f"c{i}" for i in range(k)], lower=lower, draws=20, **options)
    for values in (fit.coefficients, fit.draws):
        assert np.isfinite(values).all()
        assert (values >= lower).all()
    assert len(fit.warnings) == fit.identified.count(False)


def test_the_units_of_a_column_do_not_matter() -> None:
    features, seconds = synthetic(2)
    units = np.array([1.0, 1e3, 1e-6, 1e9, 1e12])
    fit, other = (fit_coefficients(f, seconds, NAMES) for f in (features, features / units))
    assert other.coefficients / units == pytest.approx(fit.coefficients, rel=1e-5)
    assert other.interval() / units[:, None] == pytest.approx(fit.interval(), rel=1e-3)


def test_it_is_quick() -> None:
    rng = np.random.default_rng(0)
    features = np.column_stack([steps(rng, 10_000), rng.random((10_000, 7))])
    seconds = features @ np.full(12, 1e-3) * np.exp(0.1 * rng.standard_normal(10_000))
    start = time.process_time()
    fit_coefficients(features, seconds, [f"c{i}" for i in range(12)])
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": [[1.0, -1.0], [1.0, 0.0]]}, "features: every value must be finite and >= 0"),
        ({"seconds": [1.0, 0.0]}, "seconds: every value must be finite and > 0"),
        ({"seconds": [1.0]}, r"features: shape \(2, 2\) does not go with seconds of shape \(1,\)"),
        ({"names": ["a"]}, "names: 1 given for 2 columns"),
        ({"lower": -1.0}, "lower: every bound"),
        ({"prior": [1.0, 1.0]}, "prior_log_error: missing"),
        ({"prior": [0.0, 1.0], "prior_log_error": 0.1}, "prior: medians"),
        ({"weights": [0.0, 0.0]}, "weights: 2 finite values"),
        ({"groups": [1]}, "groups: 1 labels for 2 rows"),
        ({"noise_log_error": 0.0}, "noise_log_error: 0.0 is not"),
        ({"features": [[0.0, 0.0], [1.0, 1.0]]}, "features: a row is all 0"),
    ],
)
def test_bad_input_is_told_in_one_line(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"features": [[1.0, 2.0], [1.0, 0.0]], "seconds": [1.0, 2.0], "names": ["a", "b"]}
    with pytest.raises(ValueError, match=message):
        fit_coefficients(**(given | change))
