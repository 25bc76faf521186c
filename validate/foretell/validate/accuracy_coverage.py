"""pass@k of samples that the fit did not see, and of numbers of samples beyond those it saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.coverage import beta_pass_at_k, fit_difficulty, unbiased_pass_at_k
from foretell.models.outcomes import Difficulty, FloatArray
from foretell.models.profiles import load_outcomes

if TYPE_CHECKING:
    import pandas as pd

IntArray = npt.NDArray[np.int64]
COUNTS = Path("epoch-logs") / "per_problem_counts.csv"
CURVE = Path("kinetics") / "lcb_v5_qwen3_pass_at_k_digitized.csv"
_LEAST_PROBLEMS = 40
PASS_64 = {"aime24": (0.744, 0.933), "aime25": (0.655, 0.867)}
"""pass@1 and pass@64 of Qwen3-8B after distillation: Qwen3 Technical Report (arXiv:2505.09388), table 21,
read 2026-11-21. No profile was fitted to them."""
_SEEN = 16  # samples a problem from which the rest of a curve is told


def read_counts(folder: Path) -> dict[str, pd.DataFrame]:
    """Runs with at least four samples of each of forty problems, by log: task, model, n, correct.

    Raises:
        ValueError: the file is missing.

    """
    import pandas as pd

    path = folder / COUNTS
    if not path.is_file():
        raise ValueError(f"--data: {folder} has no {COUNTS}")
    counts = pd.read_csv(path)
    counts = counts[counts["n"] >= 4]
    runs = {str(log): run for log, run in counts.groupby("log")}
    return {log: run for log, run in runs.items() if len(run) >= _LEAST_PROBLEMS}


def held_out_coverage(runs: dict[str, pd.DataFrame], splits: int = 4, seed: int = 0) -> pd.DataFrame:
    """Fit each run on a random half of every problem's samples, and predict pass@k of the other half.

    Returns:
        A row a run, split and k: task, log, split, k, measured (unbiased, held-out half), predicted, error
        (predicted less measured) and halves (what the fitted half itself measured less the held-out half:
        what chance alone does), which is missing where k exceeds the fitted half.

    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = [
        {"task": str(run["task"].iloc[0]), "log": log, "split": split, **row}
        for log, run in sorted(runs.items())
        for split in range(splits)
        for row in _split(run["n"].to_numpy(np.int64), run["correct"].to_numpy(np.int64), rng)
    ]
    return pd.DataFrame(rows)


def _split(n: IntArray, c: IntArray, rng: np.random.Generator) -> Iterator[dict[str, float]]:
    fitted = n // 2
    seen = rng.hypergeometric(c, n - c, fitted)
    law = fit_difficulty(fitted, seen)
    for k in range(1, int((n - fitted).min()) + 1):
        measured = float(unbiased_pass_at_k(n - fitted, c - seen, k).mean())
        predicted = float(beta_pass_at_k(k, law))
        ours = float(unbiased_pass_at_k(fitted, seen, k).mean()) if k <= fitted.min() else np.nan
        yield {
            "k": k,
            "measured": measured,
            "predicted": predicted,
            "error": predicted - measured,
            "halves": ours - measured,
        }


def coverage_errors(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """By k, in points: mean error over runs with its 95 % interval; median, p90 and worst of the errors."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for k, of in table.groupby("k"):
        by_run = of.groupby("log")["error"].mean().to_numpy()
        drawn = rng.choice(by_run, (2000, len(by_run))).mean(axis=1)
        off = of["error"].abs()
        rows.append(
            {
                "k": int(str(k)),
                "runs": len(by_run),
                "mean": 100 * by_run.mean(),
                "low": 100 * float(np.quantile(drawn, 0.025)),
                "high": 100 * float(np.quantile(drawn, 0.975)),
                "median": 100 * off.median(),
                "p90": 100 * off.quantile(0.9),
                "worst": 100 * off.max(),
                "halves_median": 100 * of["halves"].abs().median(),
                "halves_p90": 100 * of["halves"].abs().quantile(0.9),
            }
        )
    return pd.DataFrame(rows)


def curve_errors(folder: Path) -> pd.DataFrame:
    """Kinetics' pass@1 to pass@512 on LiveCodeBench v5, from the bundled profiles and from pass@1 to @16.

    The profiles were fitted to these very curves; what is told from the first five points is not.

    Returns:
        A row a model and k: measured, profile, told (NaN up to 16 samples) [shares]; profile_off, told_off
        [points, without sign].

    Raises:
        ValueError: the file is missing.

    """
    import pandas as pd

    path = folder / CURVE
    if not path.is_file():
        raise ValueError(f"--data: {folder} has no {CURVE}")
    table = pd.read_csv(path).set_index("model")
    ks = np.array([int(name.removeprefix("pass@")) for name in table.columns])
    rows = []
    for model, line in table.iterrows():
        measured = line.to_numpy(dtype=np.float64)
        profile = load_outcomes("livecodebench", f"qwen3-{str(model).lower()}").difficulty
        told = fit_curve(ks[ks <= _SEEN], measured[ks <= _SEEN])
        for k, share in zip(ks, measured, strict=True):
            shipped, far = float(beta_pass_at_k(k, profile)), float(beta_pass_at_k(k, told))
            rows.append(
                {
                    "model": f"qwen3-{str(model).lower()}",
                    "k": int(k),
                    "measured": share,
                    "profile": shipped,
                    "told": far if k > _SEEN else np.nan,
                    "profile_off": 100 * abs(shipped - share),
                    "told_off": 100 * abs(far - share) if k > _SEEN else np.nan,
                }
            )
    return pd.DataFrame(rows)


def published_coverage() -> pd.DataFrame:
    """pass@64 of 30 AIME problems from pass@1 and the shape of difficulty that the bundled profile has.

    Returns:
        A row a task: pass_at_1, measured, predicted, error, noise (one standard error of 30 problems).

    """
    import pandas as pd

    rows = []
    for task, (single, measured) in PASS_64.items():
        shipped = load_outcomes(task, "qwen3-8b")
        law, whole = shipped.difficulty, shipped.difficulty.a + shipped.difficulty.b
        mean = single / (1 - law.zero)
        told = float(beta_pass_at_k(64, Difficulty(mean * whole, (1 - mean) * whole, law.zero)))
        noise = float(np.sqrt(told * (1 - told) / (shipped.problems or 1)))
        row = {"task": task, "pass_at_1": single, "measured": measured, "predicted": told}
        rows.append(row | {"error": told - measured, "noise": noise})
    return pd.DataFrame(rows)


def fit_curve(k: FloatArray, coverage: FloatArray) -> Difficulty:
    """Least squares of the zero-inflated Beta law on a curve of pass@k, which has no counts."""
    from scipy.optimize import least_squares

    def law(free: FloatArray) -> Difficulty:
        return Difficulty(float(np.exp(free[0])), float(np.exp(free[1])), float(free[2]))

    def misfit(free: FloatArray) -> FloatArray:
        return beta_pass_at_k(k, law(free)) - coverage

    bounds = ((-6.0, -6.0, 0.0), (4.0, 4.0, 1 - coverage.max()))
    starts = [(-1.0, -1.0, share * (1 - coverage.max())) for share in (0.1, 0.8)]
    found = min((least_squares(misfit, start, bounds=bounds) for start in starts), key=lambda one: one.cost)
    return law(found.x)
