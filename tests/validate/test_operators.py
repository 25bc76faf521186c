"""The interpolation of measured operators, against the errors that the other tool publishes."""

from __future__ import annotations

import pytest

from foretell.models.silicon_source import has_silicon
from foretell.validate.operators import operator_errors

pytestmark = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")


@pytest.fixture(scope="module", autouse=True)
def errors(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield operator_errors(["h200"]).set_index(["family", "test"])


@pytest.mark.systems(103)
def test_errors_are_below_the_published_ones(errors) -> None:  # type: ignore[no-untyped-def]
    published = errors[errors.published.notna()]
    assert len(published) == 3
    assert (published.median_error <= published.published).all()


def test_every_family_is_told_within_its_interval(errors) -> None:  # type: ignore[no-untyped-def]
    points = errors.xs("point", level="test")
    assert len(points) >= 9
    assert points.median_error.max() < 0.06
    assert points.coverage_90.min() > 0.6
    # another shape is harder than another load
    shapes = errors.xs("shape", level="test")
    assert (shapes.p90_error >= 0.5 * points.p90_error[shapes.index]).all()


@pytest.mark.slow
def test_the_draw_is_the_seeds() -> None:
    first = operator_errors(["h200"], sample=50, seed=3)
    assert first.equals(operator_errors(["h200"], sample=50, seed=3))
    assert first.points.max() == 50
    assert not first.equals(operator_errors(["h200"], sample=50, seed=4))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sample 0 is not a number of points"):
        operator_errors(["h200"], sample=0)
    with pytest.raises(ValueError, match="no measured operators of 'mi300x'"):
        operator_errors(["mi300x"])
