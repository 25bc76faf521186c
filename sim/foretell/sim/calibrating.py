"""Fit a cost's coefficients to observations, and say how well it predicts what it did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.calibration import Fit, fit_coefficients
from foretell.sim.costforms import CostForm
from foretell.sim.profile import Profile, reference_terms
from foretell.sim.steplog import StepLog

Floats = npt.NDArray[np.float64]
_STRETCHES = 20
"""Parts of a run whose errors are taken as correlated, where there are too few runs to compare."""
_ENOUGH_RUNS = 5


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How a fit on some predicts the others.

    Attributes:
        name: of what was predicted.
        rows: steps, or latencies.
        mape: mean of |predicted/measured − 1| over them.
        total_error: predicted/measured − 1 of their summed time.

    """

    name: str
    rows: int
    mape: float
    total_error: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A profile and what was measured on the way.

    Attributes:
        profile: to be saved.
        fit: of all observations.
        in_sample: of all by the fit on all.
        held_out: of each half by the fit on the other.

    """

    profile: Profile
    fit: Fit
    in_sample: HeldOut
    held_out: tuple[HeldOut, ...]


def calibrate_steps(
    log: StepLog,
    form: CostForm,
    *,
    fitted_on: Mapping[str, str | int] | None = None,
    created: str = "",
    version: str = "",
    draws: int = 100,
) -> Calibration:
    """Fit a form to steps.

    The posterior takes runs, or with fewer than five of them twentieths of runs, as what is alike within.
    How far a run is from the average is judged by leaving one out.

    Args:
        log: the steps.
        form: what to fit.
        fitted_on, created, version: for the profile, with what the log is.
        draws: from the posterior.

    Raises:
        ValueError: fewer steps than coefficients.

    """
    if len(log) < len(form.names):
        raise ValueError(
            f"step log: {len(log)} steps for {len(form.names)} coefficients; give at least as many"
        )
    fit = fit_steps(log, form, draws)
    held_out, errors = tuple(_halves(log, form)), []
    runs = range(len(log.names))
    if len(log.names) > 1:
        for run in runs:
            others = fit_steps(log.only([other for other in runs if other != run]), form, 1)
            errors.append(np.log(1 + _predicted(others, log.only([run]), form, "").total_error))
    warnings = list(fit.warnings)
    if not errors:
        warnings.append("one run: how runs differ from each other is not known; intervals leave it out")
    about: dict[str, str | int] = {"observations": "steps", "rows": len(log), "runs": len(log.names)}
    profile = profile_of(
        fit,
        form,
        run_log_error=float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0,
        fitted_on=about | dict(fitted_on or {}),
        warnings=warnings,
        created=created,
        version=version,
    )
    return Calibration(profile, fit, _predicted(fit, log, form, "all steps"), held_out)


def fit_steps(log: StepLog, form: CostForm, draws: int = 200) -> Fit:
    """Fit a form to steps, within its bounds and by its priors."""
    return fit_coefficients(
        form.features(log.load),
        log.seconds,
        form.names,
        prior=form.prior,
        prior_log_error=form.prior_log_error,
        lower=form.bounds(log.load),
        groups=_alike(log),
        draws=draws,
    )


def profile_of(
    fit: Fit,
    form: CostForm,
    *,
    run_log_error: float,
    fitted_on: Mapping[str, str | int],
    warnings: Sequence[str],
    created: str,
    version: str,
    client_s: float = 0.0,
) -> Profile:
    """Put a fit into a profile; coefficients beyond the form's, the client's, are not the cost's."""
    k = len(form.names)
    reference = reference_terms(form.terms) if form.kind == "terms" else {}
    return Profile(
        kind=form.kind,
        coefficients=dict(zip(form.names, fit.coefficients[:k].tolist(), strict=True)),
        draws=tuple(tuple(draw) for draw in fit.draws[:, :k].tolist()),
        log_error=fit.log_error,
        run_log_error=run_log_error,
        identified=dict(zip(form.names, fit.identified[:k], strict=True)),
        fitted_on=fitted_on,
        reference=reference,
        client_s=client_s,
        warnings=tuple(warnings),
        created=created,
        version=version,
    )


def _halves(log: StepLog, form: CostForm) -> Iterator[HeldOut]:
    """Fit on every other run and predict the rest, both ways round; of a single run, on either half."""
    if len(log.names) > 1:
        halves = [log.only([r for r in range(len(log.names)) if r % 2 == side]) for side in (0, 1)]
    else:
        early = np.arange(len(log)) < len(log) // 2
        halves = [log.where(early), log.where(~early)]
    if min(len(half) for half in halves) < len(form.names):
        return
    for seen, other in (halves, halves[::-1]):
        fit = fit_steps(seen, form, 1)
        for run in np.unique(other.run):
            name = log.names[run] if len(log.names) > 1 else f"{log.names[0]}, other half"
            yield _predicted(fit, other.only([int(run)]), form, name)


def _predicted(fit: Fit, log: StepLog, form: CostForm, name: str) -> HeldOut:
    predicted = fit.predict(form.features(log.load))
    off = np.abs(predicted / log.seconds - 1)
    return HeldOut(name, len(log), float(off.mean()), float(predicted.sum() / log.seconds.sum() - 1))


def _alike(log: StepLog) -> npt.NDArray[np.int64]:
    runs, start, count = np.unique(log.run, return_index=True, return_counts=True)
    if len(runs) >= _ENOUGH_RUNS:
        return log.run
    which = np.searchsorted(runs, log.run)
    place = np.arange(len(log)) - start[which]
    return np.asarray(which * _STRETCHES + place * _STRETCHES // count[which])
