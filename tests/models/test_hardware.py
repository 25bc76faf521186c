"""The hardware catalogue: sources, units, dense peaks, and what a user may get wrong."""

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from foretell.models.catalogue import list_records, read_record
from foretell.models.hardware import list_hardware, load_hardware, load_link, load_node

YEAR = re.compile(r"\b20\d\d\b")
WANTED = {
    *(
        "a100-40gb-sxm",
        "a100-80gb-sxm",
        "h100-sxm",
        "h100-pcie",
        "h200",
        "b200",
        "gb200",
        "l40s",
        "l4",
        "a10g",
    ),
    *("rtx-4090", "rtx-pro-6000", "rtx-pro-6000-server", "mi300x", "mi325x", "mi355x"),
    *("tpu-v5e", "tpu-v6e", "gaudi3", "cpu-2core"),
}
OWN = """
name = "mine"
vendor = "me"
memory_bytes = 80e9
memory_Bps = 2e12
link = "nvlink4"
node = "hgx-h100"
peak_flops = { bf16 = 5e14 }
"""


def test_the_catalogue_has_what_was_asked_for() -> None:
    assert set(list_hardware()) >= WANTED


@pytest.mark.parametrize("kind", ["hardware", "links", "nodes"])
def test_every_number_has_a_source_with_a_year(kind: str) -> None:
    for name in list_records(kind):
        record = read_record(kind, name)
        assert record["name"] == name
        numbers = {key for key, value in record.items() if isinstance(value, int | float | dict)} - {
            "sources"
        }
        assert numbers == set(record["sources"]), name
        for key, source in record["sources"].items():
            assert YEAR.search(source), (name, key)


@pytest.mark.parametrize("name", list_hardware())
def test_a_record_loads_whole(name: str) -> None:
    hardware = load_hardware(name)
    part = hardware.accelerator
    assert hardware.name == name
    assert part.link == hardware.node.intra.name
    assert hardware.node.intra.bandwidth_Bps <= part.memory_Bps
    assert 1e10 < part.memory_Bps < 2e13
    assert 1 < part.memory_bytes / 2**30 < 1024
    assert 0 < hardware.launch_s < hardware.host_s < 1e-2


@pytest.mark.parametrize("name", list_hardware())
def test_halving_the_precision_doubles_the_dense_peak(name: str) -> None:
    """A figure quoted with sparsity shows as a ratio of 4 or 1."""
    peak = load_hardware(name).accelerator.peak_flops
    wide = peak["bf16"]
    assert peak.get("fp16", wide) == wide
    if name != "gaudi3":  # its matrix engines are as fast in BF16 as in FP8
        assert peak.get("fp8", 2 * wide) == pytest.approx(2 * wide, rel=0.02)
    if name not in ("b300", "gb300"):  # made for FP4: more of it, and hardly any INT8
        assert peak.get("fp4", 4 * wide) == pytest.approx(4 * wide, rel=0.02)
        # GeForce cards halve floating point with 32-bit accumulation, integers not
        full = 4 if name == "rtx-4090" else 2
        assert peak.get("int8", full * wide) == pytest.approx(full * wide, rel=0.02)
    if "tf32" in peak:
        assert peak["tf32"] == pytest.approx(wide / 2, rel=0.02)


def test_figures_of_the_datasheets() -> None:
    h100, h200, l40s = (load_hardware(name).accelerator for name in ("h100-sxm", "h200", "l40s"))
    assert h100.peak_flops["bf16"] == 989.5e12  # 1,979 TFLOPS with sparsity
    assert h100.memory_Bps == 3.35e12
    assert h100.memory_bytes == 81559 * 2**20
    assert h200.memory_bytes == 143771 * 2**20
    assert l40s.peak_flops["fp8"] == 733e12  # 1,466 with sparsity
    # NVLink 4: 18 links x 25 GB/s a direction
    assert load_link("nvlink4").bandwidth_Bps == 18 * 25e9
    # MI300X: 304 CUs x 4096 FLOP a clock x 2.1 GHz
    assert load_hardware("mi300x").accelerator.peak_flops["fp8"] == pytest.approx(
        304 * 4096 * 2.1e9, rel=1e-3
    )
    assert load_node("gb200-nvl72").accelerators == 72


def test_a_node_may_be_named() -> None:
    assert load_hardware("h100-sxm", node="desktop").node.intra.name == "pcie4-x16"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("h100", "unknown hardware 'h100'; did you mean h100-pcie or h100-sxm?"),
        ("h20", "unknown hardware 'h20'; did you mean h200"),
        ("zzz", "known: a100-40gb-sxm"),
        ("", "is not a name"),
        ("no/such.toml", "no/such.toml: No such file"),
    ],
)
def test_unknown_hardware_suggests_the_nearest(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        load_hardware(name)
    assert "\n" not in str(caught.value)


def test_a_users_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    hardware = load_hardware(str(path))
    assert hardware.accelerator.peak_flops == {"bf16": 5e14}
    assert hardware.accelerator.tdp_W is None
    assert hardware.node.accelerators == 8


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("memory_Bps = 2e12", "memory_Bps = -1", "memory_Bps: -1 is not a finite number > 0"),
        ("memory_Bps = 2e12", "memory_Bps = nan", "memory_Bps: nan is not a finite number > 0"),
        ("memory_Bps = 2e12", 'memory_Bps = "fast"', "memory_Bps: 'fast' is not"),
        ("memory_Bps = 2e12", "", "field 'memory_Bps' is missing"),
        (
            "memory_Bps = 2e12",
            "memory_Bps = 2e12\nmemory_bps = 1",
            "unknown field 'memory_bps'; did you mean memory_Bps",
        ),
        ("memory_Bps = 2e12", "memory_Bps = 2e12\nidle_W = 9\ntdp_W = 5", "idle_W 9 exceeds tdp_W 5"),
        ("memory_Bps = 2e12", "memory_Bps = 2e12\nprice_usd_per_h = -1", "price_usd_per_h: -1 is not"),
        ("memory_Bps = 2e12", "memory_Bps = 2e12\nhost_s = inf", "host_s: inf is not"),
        ("{ bf16 = 5e14 }", "{ bf17 = 5e14 }", "peak_flops.bf17: not one of"),
        ("{ bf16 = 5e14 }", "{}", "peak_flops is empty"),
        ("{ bf16 = 5e14 }", "5e14", "peak_flops: expected a table"),
        ('link = "nvlink4"', "link = ", "not valid TOML"),
        ('node = "hgx-h100"', 'node = "hgx-h101"', "unknown node 'hgx-h101'; did you mean hgx-h100"),
        ('node = "hgx-h100"', "node = 5", "node: 5 is not a name"),
    ],
)
def test_a_wrong_record_is_refused_in_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        load_hardware(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "figures", [{"bandwidth_Bps": 0.0}, {"latency_s": float("nan")}, {"base_latency_s": -1.0}]
)
def test_links_refuse_impossible_figures(figures: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(figures))):
        replace(load_link("nvlink4"), **figures)


def test_nodes_refuse_impossible_counts() -> None:
    with pytest.raises(ValueError, match="accelerators: 0 is not an integer >= 1"):
        replace(load_node("hgx-h100"), accelerators=0)


def test_data_ships_with_the_package() -> None:
    assert (files("foretell.models") / "data" / "hardware" / "h100-sxm.toml").is_file()
