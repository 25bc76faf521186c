"""Where the measured operators of the extra `silicon` are: systems, back ends, versions, and Parquet columns.

The tables are those of PyPI aiconfigurator-core (NVIDIA, Apache-2.0), in folders
data/<system>/<family>/<backend>/<version>/.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foretell.models.hardware import Hardware, load_hardware

PACKAGE = "aiconfigurator-core"
BACKENDS = ("vllm", "sglang", "trtllm")
SYSTEMS: Mapping[str, str] = {
    "a100-80gb-sxm": "a100_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "h100-sxm": "h100_sxm",
    "h200": "h200_sxm",
    "l40s": "l40s",
    "rtx-pro-6000-server": "rtx_pro_6000_server",
}
"""Accelerators whose operators were measured, and what the package calls them."""
BLACKWELL = ("b200_sxm", "b300_sxm", "gb200", "gb300")


@dataclass(frozen=True, slots=True)
class Source:
    """Tables of one system, as one back end at one version runs its kernels.

    Attributes:
        system: a value of SYSTEMS.
        backend: whose kernels come first, one of BACKENDS.
        version: the back end's version; None takes the newest measured.

    """

    system: str
    backend: str = "vllm"
    version: str | None = None


def has_silicon() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("aiconfigurator_core") is not None


@cache
def data_folder() -> Path:
    """Folder of the package's tables.

    Raises:
        ValueError: the extra is not installed.

    """
    spec = importlib.util.find_spec("aiconfigurator_core")
    if spec is None or spec.origin is None:
        raise ValueError(
            "silicon: the measured operators are not installed; pip install 'foretell[silicon]' brings them"
        )
    return Path(spec.origin).parent / "systems" / "data"


def package_version() -> str:
    """Version of the installed tables."""
    return importlib.metadata.version(PACKAGE)


def system_of(accelerator: str) -> str:
    """The package's name for an accelerator.

    Raises:
        ValueError: nobody measured it; the message lists those that were.

    """
    if accelerator not in SYSTEMS:
        raise ValueError(
            f"silicon: no measured operators of {accelerator!r}; there are of {', '.join(SYSTEMS)}"
        )
    return SYSTEMS[accelerator]


@cache
def hardware_of(system: str) -> Hardware:
    """Spec of the accelerator that a system's tables were measured on."""
    return load_hardware(next(name for name, known in SYSTEMS.items() if known == system))


def version_key(version: str) -> tuple[int, ...]:
    """Sorts versions as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


@cache
def table_files(source: Source, family: str, table: str, others: bool = True) -> tuple[Path, ...]:
    """Files of a table, best first: of the back end, then (`others`) of the other ones.

    Within a back end: the newest version that is not newer than asked for, older ones, then newer ones.
    """
    folder = data_folder() / source.system / family
    backends = [source.backend, *(name for name in BACKENDS if name != source.backend and others)]
    found: list[Path] = []
    for backend in backends:
        versions = [path.parent.name for path in folder.glob(f"{backend}/*/{table}.parquet")]
        wanted = source.version if backend == source.backend else None
        found += [folder / backend / name / f"{table}.parquet" for name in _nearest(versions, wanted)]
    return tuple(found)


def _nearest(versions: Sequence[str], wanted: str | None) -> list[str]:
    newest = sorted(versions, key=version_key, reverse=True)
    if wanted is None:
        return newest
    limit = version_key(wanted)
    older = [name for name in newest if version_key(name) <= limit]
    return older + [name for name in reversed(newest) if name not in older]


def read_columns(
    path: Path, texts: Sequence[str], numbers: Sequence[str], absent: Mapping[str, float]
) -> dict[str, Any]:
    """Columns of a Parquet file: `texts` as (codes, names), `numbers` as float arrays.

    Raises:
        ValueError: the file lacks one of them that `absent` gives no value for.

    """
    import numpy as np
    import pyarrow.parquet as pq

    try:
        there = [name for name in numbers if name not in absent or name in pq.read_schema(path).names]
        frame = pq.read_table(path, columns=[*texts, *there], read_dictionary=list(texts))
        columns: dict[str, Any] = {}
        for name in texts:
            column: Any = frame.column(name).combine_chunks()
            columns[name] = (np.asarray(column.indices), column.dictionary.to_pylist())
        for name in numbers:
            if name in there:
                columns[name] = frame.column(name).to_numpy().astype(np.float64)
            else:
                columns[name] = np.full(frame.num_rows, absent[name])
    except (KeyError, OSError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: not a table that foretell can read: {str(error).splitlines()[0]}"
        ) from None
    return columns
