"""Where tables are found, how they are cleaned and kept, and collectives from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models.silicon import load_silicon
from foretell.models.silicon_gemm import gemm_curves
from foretell.models.silicon_source import SYSTEMS, Source, data_folder, has_silicon, table_files, version_key
from foretell.models.silicon_tables import cache_folder, grid_keys, parse, read_grid

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data_folder.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'foretell\[silicon\]'"):
        load_silicon("h200")


def test_what_nobody_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'tpu-v6e'; there are of a100-80gb-sxm, b200"):
        load_silicon("tpu-v6e")
    with pytest.raises(ValueError, match="no back end 'tgi'; there are vllm, sglang, trtllm"):
        load_silicon("h200", backend="tgi")


def test_versions_sort_as_numbers() -> None:
    assert version_key("0.9.2") < version_key("0.10.1") < version_key("1.0.0")


@needs_silicon
@pytest.mark.parametrize(
    ("version", "first"), [(None, "0.24.0"), ("0.20.1", "0.19.0"), ("0.23.9", "0.22.0"), ("0.11.0", "0.19.0")]
)
def test_the_nearest_version_not_newer_comes_first(version: str | None, first: str) -> None:
    files = table_files(Source("b200_sxm", "vllm", version), "moe", "moe_perf")
    assert files[0].parent.name == first
    assert files[0].parent.parent.name == "vllm" and files[-1].parent.parent.name == "trtllm"


@needs_silicon
def test_every_accelerator_has_the_families_that_a_dense_model_needs() -> None:
    for system in SYSTEMS.values():
        for family, table in (("gemm", "gemm_perf"), ("attention", "context_attention_perf")):
            assert table_files(Source(system), family, table, others=False), (system, table)


@needs_silicon
def test_tables_are_cleaned() -> None:
    path = table_files(Source("h100_sxm"), "moe", "moe_perf")[0]
    for grid in parse(path).values():
        assert (np.diff(grid.seconds, axis=1)[np.isfinite(np.diff(grid.seconds, axis=1))] >= 0).all()
        assert len(np.unique(grid.shapes, axis=0)) == len(grid.shapes)


@needs_silicon
@pytest.mark.parametrize("harm", ["none", "half a file", "no right to write", "not a folder"])
def test_the_cache_gives_what_the_table_has(cache: Path, harm: str) -> None:
    path = table_files(Source("h100_sxm"), "comm", "custom_allreduce_perf")[0]
    fresh = parse(path)
    folder = cache_folder()
    if harm == "not a folder":
        folder.parent.mkdir(parents=True)
        folder.write_text("in the way")
    elif harm == "no right to write":
        cache.chmod(0o500)
    else:
        grid_keys(path)
        copies = list(folder.rglob("*.npz"))
        assert len(copies) == 1 and not list(folder.rglob("*.part"))
        if harm == "half a file":
            copies[0].write_bytes(copies[0].read_bytes()[:700])
        from foretell.models.silicon_tables import _grids

        _grids.cache_clear()
    assert set(grid_keys(path)) == set(fresh)
    for key, grid in fresh.items():
        np.testing.assert_array_equal(read_grid(path, key).seconds, grid.seconds)
    cache.chmod(0o700)


@needs_silicon
def test_a_table_that_measures_the_host_is_not_used() -> None:
    """vLLM's fp8_block table is flat near 55 µs on H200 (170 on B200), however small the product."""
    path = table_files(Source("h200_sxm"), "gemm", "gemm_perf")[0]
    assert np.nanmin(read_grid(path, ("fp8_block",)).seconds) > 50e-6
    curves = gemm_curves(Source("h200_sxm"), "fp8_block")
    assert curves is not None
    # 4096 × 4096 fp8 on one row: 3.5 µs of roofline, far from 50
    from foretell.models.utilisation import LAUNCH_S, at

    log_u, _, _ = at(curves, (), (4096.0, 4096.0, np.array([1.0])))
    assert (3.5e-6 + LAUNCH_S) / np.exp(log_u[0]) < 30e-6


@needs_silicon
def test_all_reduce_follows_the_tables() -> None:
    import pandas as pd

    silicon = load_silicon("h200")
    path = table_files(silicon.source, "comm", "custom_allreduce_perf", others=False)[0]
    rows: Any = pd.read_parquet(path)
    mine = rows[
        (rows.num_gpus == 8) & rows.kernel_source.str.contains("graph") & (rows.message_size == 65536)
    ]
    assert silicon.all_reduce_s(65536.0, 8) == pytest.approx(mine.latency.min() * 1e-3, rel=0.02)
    sizes = np.geomspace(100, 1e9, 50)
    for ranks in (2, 3, 4, 8):
        times = silicon.all_reduce_s(sizes, ranks)
        # above the custom kernel's limit NCCL may take over at once, with a lower time; and between two sizes
        # that took as long, a utilisation that grows evenly sags a little
        for side in (sizes <= 8 * 2**20, sizes > 8 * 2**20):
            assert (np.diff(times[side]) >= -0.03 * times[side][:-1]).all()
        assert (times >= sizes / 450e9).all()
    assert silicon.all_reduce_s(1e6, 1) == 0.0


@needs_silicon
def test_fused_all_reduce_is_faster_on_blackwell_only() -> None:
    sizes = np.array([1e4, 1e5, 1e6])
    blackwell, hopper = load_silicon("b200"), load_silicon("h200")
    assert (blackwell.all_reduce_s(sizes, 8) <= blackwell.all_reduce_s(sizes, 8, fused=False)).all()
    assert blackwell.all_reduce_s(1e4, 8) < 0.9 * blackwell.all_reduce_s(1e4, 8, fused=False)
    np.testing.assert_array_equal(hopper.all_reduce_s(sizes, 8), hopper.all_reduce_s(sizes, 8, fused=False))


@needs_silicon
def test_other_collectives() -> None:
    silicon = load_silicon("b200")
    gathered = silicon.all_gather_s(np.array([1e6, 1e8]), 8)
    # 7/8 of the bytes cross a link of 900 GB/s
    assert (gathered >= np.array([1e6, 1e8]) * 7 / 8 / 900e9).all() and gathered[1] < 4 * 1e8 / 900e9
    assert silicon.all_to_all_s(1e8, 4) > silicon.all_to_all_s(1e6, 4) > 0
    low = silicon.dispatch_s(64.0, 7168, 8, 256, 8, mode="ll")
    high = silicon.dispatch_s(64.0, 7168, 8, 256, 8, mode="ht")
    assert 50e-6 < low < high
    assert silicon.dispatch_s(64.0, 7168, 8, 256, 1) == 0.0
    with pytest.raises(ValueError, match="mode 'fast' is neither"):
        silicon.dispatch_s(64.0, 7168, 8, 256, 8, mode="fast")
    with pytest.raises(ValueError, match="no measured dispatch of experts' tokens on l40s"):
        load_silicon("l40s").dispatch_s(64.0, 7168, 8, 256, 8)


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_silicon():
        pytest.skip("the extra silicon is not installed")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Path("~/.cache/foretell/silicon").expanduser() in cache_folder().parents
