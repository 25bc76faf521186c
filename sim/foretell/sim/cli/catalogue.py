"""`foretell list` and `foretell show`: what is bundled, with its sources."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from foretell.sim.cli import programs


def _hardware() -> dict[str, str]:
    from foretell.models.hardware import list_hardware, load_hardware

    found = {}
    for name in list_hardware():
        part = load_hardware(name).accelerator
        peak = (
            part.peak_flops.get("bf16") or part.peak_flops.get("fp16") or next(iter(part.peak_flops.values()))
        )
        found[name] = (
            f"{part.memory_bytes / 2**30:.0f} GiB, {part.memory_Bps / 1e12:.3g} TB/s, "
            f"{peak / 1e12:.4g} TFLOPS dense"
        )
    return found


def _models() -> dict[str, str]:
    from foretell.models.architecture import list_architectures, load_architecture

    found = {}
    for name in list_architectures():
        model = load_architecture(name)
        total, active = model.parameters(), model.active_parameters()
        moe = f", {active / 1e9:.3g} B active" if model.is_moe else ""
        found[name] = f"{total / 1e9:.4g} B parameters{moe}, {model.weight_dtype}"
    return found


def _presets() -> dict[str, str]:
    from foretell.sim.presets import list_presets, load_preset

    return {name: load_preset(name).get("description", "") for name in list_presets()}


def _routers() -> dict[str, str]:
    from foretell.sim.routers import ROUTERS

    return {name: (router.__doc__ or "").strip().split("\n")[0] for name, router in ROUTERS.items()}


def _lengths() -> dict[str, str]:
    from foretell.traces import presets

    return {name: record["about"] for name, record in presets().items()}


def _formats() -> dict[str, str]:
    from foretell.traces import FORMATS

    return {name: (reader.__doc__ or "").strip().split("\n")[0] for name, reader in FORMATS.items()}


def _clients() -> dict[str, str]:
    from foretell.sim.client import bundled_clients, load_client

    return {name: load_client(name).source for name in bundled_clients()}


def _records(kind: str) -> Callable[[], dict[str, str]]:
    def listed() -> dict[str, str]:
        from foretell.models.catalogue import list_records

        return dict.fromkeys(list_records(kind), "")

    return listed


KINDS: Mapping[str, Callable[[], dict[str, str]]] = {
    "hardware": _hardware,
    "models": _models,
    "presets": _presets,
    "routers": _routers,
    "lengths": _lengths,
    "formats": _formats,
    "strategies": programs.strategies,
    "tasks": programs.tasks,
    "outcomes": programs.outcomes,
    "clients": _clients,
    "nodes": _records("nodes"),
    "links": _records("links"),
}
"""What can be listed: kind → its names, with a line on each."""


@click.command("list")
@click.argument("kind", required=False)
def list_command(kind: str | None) -> None:
    """List what is bundled of a KIND; without one, list the kinds."""
    if kind is None:
        click.echo("\n".join(KINDS))
        return
    if kind not in KINDS:
        raise click.UsageError(_unknown("kind", kind, list(KINDS)))
    names = KINDS[kind]()
    width = max(map(len, names), default=0)
    for name, about in names.items():
        click.echo(f"{name:<{width}}  {about}".rstrip())


@click.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Show NAME, of whatever kind: its figures, what follows from them, and where they come from."""
    shows: dict[str, Callable[[str], Iterator[str]]] = {
        "hardware": _show_hardware,
        "models": _show_model,
        "presets": _show_preset,
        "lengths": _show_lengths,
        "clients": _show_client,
        "nodes": _show_node,
        "links": _show_link,
        "strategies": programs.show_strategy,
        "tasks": programs.show_task,
        "outcomes": programs.show_outcomes,
    }
    path = ("/" in name and name not in _names("outcomes")) or name.endswith((".json", ".toml"))
    if path:
        click.echo("\n".join(_show_path(name)))
        return
    known = {kind: _names(kind) for kind in KINDS}
    for kind, names in known.items():
        if name in names:
            lines = shows[kind](name) if kind in shows else iter([f"{name}: {KINDS[kind]()[name]}"])
            click.echo("\n".join(lines))
            return
    raise click.UsageError(_unknown("name", name, [each for names in known.values() for each in names]))


def _names(kind: str) -> list[str]:
    """Names alone: cheaper than what `list` says of each."""
    from foretell.models.catalogue import list_records

    folder = {"hardware": "hardware", "models": "architectures"}.get(kind)
    return list(list_records(folder)) if folder else list(KINDS[kind]())


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    near = [each for each in known if len(name) > 2 and name.lower() in each and each not in near][:3] + near
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"known: {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}"


def _show_path(path: str) -> Iterator[str]:
    """Show a user's own record: a model if it is JSON, else an accelerator, else a model."""
    if path.endswith(".toml"):
        try:
            yield from list(_show_hardware(path))
        except ValueError as error:
            if "field" not in str(error):
                raise
        else:
            return
    yield from _show_model(path)


def _show_hardware(name: str) -> Iterator[str]:
    from foretell.models.hardware import load_hardware

    hardware = load_hardware(name)
    part, node = hardware.accelerator, hardware.node
    yield f"{part.name} ({part.vendor})"
    yield f"  memory               {part.memory_bytes / 2**30:.1f} GiB ({part.memory_bytes / 1e9:.1f} GB)"
    yield f"  memory bandwidth     {part.memory_Bps / 1e12:.3g} TB/s"
    for precision, flops in part.peak_flops.items():
        balance = flops / part.memory_Bps
        yield f"  peak {precision:<15} {flops / 1e12:,.4g} TFLOPS dense ({balance:,.0f} FLOP a byte)"
    most, idle = _or_unknown(part.tdp_W, "W at most"), _or_unknown(part.idle_W, "W idle")
    yield f"  power                {most}, {idle}"
    yield f"  price                {_or_unknown(part.price_usd_per_h, 'USD/h')}"
    yield f"  node                 {node.name}: {node.accelerators} accelerators"
    for place, link in (("inside", node.intra), ("between", node.inter)):
        yield f"    {place:<18} {link.name}, {link.bandwidth_Bps / 1e9:.4g} GB/s each way"
    yield from _sources(part.sources)


def _show_model(name: str) -> Iterator[str]:
    from foretell.models.architecture import load_architecture

    model = load_architecture(name)
    total, active = model.parameters(), model.active_parameters()
    yield model.name
    yield f"  parameters           {total:,} ({total / 1e9:.4g} B)"
    if model.published_parameters:
        share = total / model.published_parameters - 1
        yield f"  published            {model.published_parameters / 1e9:.4g} B ({share:+.2%})"
    if active != total:
        yield f"  active per token     {active:,} ({active / 1e9:.4g} B)"
    kv = model.kv_elements_per_token()
    yield f"  KV per token         {kv:,} elements: {2 * kv:,} bytes in bf16, {kv:,} in fp8"
    yield f"  weights as shipped   {model.weight_dtype}"
    yield f"  hidden size          {model.hidden_size:,}; vocabulary {model.vocab_size:,}"
    yield f"  context              {model.max_position_embeddings or 'unknown'} tokens"
    for group in model.layers:
        yield f"  layers               {group.count} × {_layer(group)}"
    for note in (*model.notes, *(f"unknown field of the configuration: {f}" for f in model.unknown_fields)):
        yield f"  note                 {note}"
    yield from _sources(model.sources)


def _layer(group: Any) -> str:
    attention, mlp = group.attention, group.mlp
    kind = "linear attention" if attention.linear else "MLA" if attention.mla else "attention"
    heads = f"{kind} {attention.num_heads}/{attention.num_kv_heads} heads of {attention.head_dim}"
    window = f", window {attention.sliding_window:,}" if attention.sliding_window else ""
    if not mlp.num_experts:
        return f"{heads}{window}; MLP {mlp.intermediate_size:,}"
    shared = f" + shared {mlp.shared_intermediate_size:,}" if mlp.shared_intermediate_size else ""
    return f"{heads}{window}; {mlp.top_k} of {mlp.num_experts} experts of {mlp.intermediate_size:,}{shared}"


def _show_client(name: str) -> Iterator[str]:
    from foretell.sim.client import client_toml, load_client

    yield client_toml(load_client(name)).partition("\n")[2].rstrip()


def _show_preset(name: str) -> Iterator[str]:
    from foretell.sim.presets import load_preset

    record = load_preset(name)
    yield f"{record['name']}: {record.get('description', '')}"
    for key, value in record["settings"].items():
        yield f"  {key:<28} {value}"
    if "unsupported" in record:
        yield f"  {'not there':<28} {', '.join(record['unsupported'])}"
    for device in record["devices"]:
        conditions = {key: device[key] for key in ("name_has", "name_has_not", "memory_GiB") if key in device}
        words = ", ".join(f"{key} {value}" for key, value in conditions.items()) or "any other accelerator"
        rest = ", ".join(f"{k} {v}" for k, v in device.items() if k not in conditions)
        yield f"  {words}: {rest}"
    yield from _sources(record.get("sources", {}))


def _show_lengths(name: str) -> Iterator[str]:
    from foretell.traces import preset, presets

    record = presets()[name]
    prompt, output = preset(name).means()
    yield f"{name}: {record['about']}"
    yield f"  prompt               {record['prompt']} (mean {prompt:,.0f} tokens)"
    yield f"  output               {record['output']} (mean {output:,.0f} tokens)"
    for key in ("note", "source"):
        if key in record:
            yield f"  {key:<20} {record[key]}"


def _show_node(name: str) -> Iterator[str]:
    from foretell.models.hardware import load_node

    node = load_node(name)
    yield f"{node.name}: {node.accelerators} accelerators"
    yield from _show_link(node.intra.name)
    yield from _show_link(node.inter.name)
    yield from _sources(node.sources)


def _show_link(name: str) -> Iterator[str]:
    from foretell.models.hardware import load_link

    link = load_link(name)
    yield f"{link.name}: {link.bandwidth_Bps / 1e9:.4g} GB/s each way, {link.latency_s * 1e6:.3g} µs"
    yield from _sources(link.sources)


def _sources(sources: Mapping[str, str]) -> Iterator[str]:
    if sources:
        yield "  sources"
        for field, source in sources.items():
            yield f"    {field:<18} {source}"


def _or_unknown(value: float | None, unit: str) -> str:
    return f"{value:g} {unit}" if value is not None else f"unknown {unit}"
