"""Records of a run on disk: written aside and moved into place whole, so that nothing partial is left."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from foretell.sim.engine import Batch
    from foretell.sim.simulation import OnReplicaStep, Run

_CHUNK = 10_000
CALL_COLUMNS = (
    "request_id",
    "arrival_s",
    "prompt_tokens",
    "output_tokens",
    "ttft_s",
    "e2e_s",
    "finish_s",
    "n_preemptions",
    "cached_tokens",
    "replica",
    "status",
)
BATCH_COLUMNS = ("step", "request_id", "num_scheduled_tokens", "num_computed_before")
REPLAY_FILES = ("settings.json", "requests.csv", "batch.csv.gz")
"""What a replay may leave in its folder."""
STATUS = ("finished", "cancelled", "rejected")


@contextlib.contextmanager
def output_folder(target: Path, ours: Sequence[str] = ()) -> Iterator[Path]:
    """Give a folder to write in, and move its files into `target` once all is well.

    `target` is made when it is not there. Files in it that are written again, and those of `ours` that
    are not (a run before left them), are replaced or removed; others are left alone.

    Raises:
        ValueError: `target` cannot be written (as the context is entered), or is a file.

    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  (resolve() would follow a link)
    if target.exists() and not target.is_dir():
        raise ValueError(f"output {target}: is a file; name a folder")
    made = _first_missing(target)
    aside = target / f".foretell-{secrets.token_hex(8)}"  # named before it is made: interrupts come any time
    try:
        target.mkdir(parents=True, exist_ok=True)
        aside.mkdir(mode=0o700)
        yield aside
        written = sorted(file.name for file in aside.iterdir())
        for name in written:
            (aside / name).replace(target / name)
        for name in set(ours) - set(written):
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        _remove_empty(target, made)
        raise ValueError(f"output {target}: cannot be written ({error.strerror or error})") from None
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        _remove_empty(target, made)
        raise
    aside.rmdir()


def write_text(target: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ValueError: it cannot be written.

    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        raise ValueError(f"output {target}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_page(text: str, path: str | os.PathLike[str] | None) -> str:
    """Return a page, written to a file too where one is given.

    Raises:
        ValueError: it cannot be written.

    """
    if path is not None:
        write_text(Path(path), text)
    return text


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_calls(path: Path, run: Run) -> None:
    """Write one row a call; times are the shortest decimals that read back to the same float64."""
    ids = run.ids()
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(CALL_COLUMNS)
        for start in range(0, len(run.arrival_s), _CHUNK):
            part = slice(start, start + _CHUNK)
            writer.writerows(zip(ids[part], *_call_values(run, part), strict=True))


def _call_values(run: Run, part: slice) -> list[list[Any]]:
    arrival, first, finish = run.arrival_s[part], run.first_token_s[part], run.finish_s[part]
    return [
        arrival.tolist(),
        run.prompt_tokens[part].tolist(),
        run.output_tokens[part].tolist(),
        _blank_nan(first - arrival),
        _blank_nan(finish - arrival),
        _blank_nan(finish),
        run.n_preemptions[part].tolist(),
        run.cached_tokens[part].tolist(),
        run.replica[part].tolist(),
        [STATUS[code] for code in run.status[part].tolist()],
    ]


def _blank_nan(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[Any]:
    missing = np.isnan(values)
    plain: list[Any] = values.tolist()
    if missing.any():
        for at in np.flatnonzero(missing).tolist():
            plain[at] = ""
    return plain


def calls_frame(run: Run) -> Any:
    """Return the calls as a pandas DataFrame with the columns of requests.csv."""
    import pandas as pd

    frame = pd.DataFrame({"request_id": list(run.ids()), "arrival_s": run.arrival_s})
    frame["prompt_tokens"], frame["output_tokens"] = run.prompt_tokens, run.output_tokens
    frame["ttft_s"] = run.first_token_s - run.arrival_s
    frame["e2e_s"] = run.finish_s - run.arrival_s
    frame["finish_s"] = run.finish_s
    frame["n_preemptions"], frame["cached_tokens"] = run.n_preemptions, run.cached_tokens
    frame["replica"] = run.replica
    frame["status"] = [STATUS[code] for code in run.status.tolist()]
    return frame


def has_parquet() -> bool:
    """Whether pyarrow is installed."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


@contextlib.contextmanager
def batch_recorder(path: Path) -> Iterator[OnReplicaStep]:
    """Give an `on_step` for one engine that writes every step's entries, in scheduling order, to a .csv.gz.

    The file carries no time stamp: equal runs give equal bytes.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as zipped,
        io.TextIOWrapper(zipped, encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(BATCH_COLUMNS)

        def record(replica: int, step: int, start_s: float, end_s: float, batch: Batch) -> None:
            writer.writerows([(step, request.id, n, c) for request, n, c in batch])

        yield record


def _first_missing(target: Path) -> Path | None:
    """Return the topmost folder that making `target` would make."""
    missing = None
    for folder in (target, *target.parents):
        if folder.exists():
            break
        missing = folder
    return missing


def _remove_empty(target: Path, made: Path | None) -> None:
    """Remove the folders that were made for the output, if nothing is in them."""
    if made is None:
        return
    for folder in (target, *target.parents):
        with contextlib.suppress(OSError):
            folder.rmdir()
        if folder == made:
            break
