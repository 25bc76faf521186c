"""What was asked and what it came to: scenario, settings, vLLM's command, sources, how to repeat it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from foretell.sim.report.page import table
from foretell.sim.report.pieces import code
from foretell.sim.report.words import prose

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.deployment import EnginePart
    from foretell.sim.forecasting import Forecast
    from foretell.sim.scenario import Pool, Scenario

    Told: TypeAlias = "Forecast | ClosedForm"

FILE = "scenario.yaml"
"""What the commands on a page call the scenario's file."""


def settings_section(result: Told) -> str:
    """How to repeat it, the scenario, vLLM's lines, every setting, sources: HTML."""
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecast_json import tool_version

    closed = isinstance(result, ClosedForm)
    command = (
        f"foretell forecast {FILE}" + (" --method closed_form" if closed else "") + " --html report.html"
    )
    scenario = result.scenario
    runs = "" if closed else f"; {scenario.replications} replications"
    return (
        f"<p>foretell {escape(tool_version())}; seed {scenario.seed}{runs}. The same scenario gives the same "
        f"page again: save it as <code>{FILE}</code> and run</p>{code(command, 'Command')}"
        f"{_details('The scenario, as YAML', code(as_yaml(scenario), 'Scenario'), opened=True)}"
        f"{_serve(result)}{_details('Every setting of the engines', _resolved(result))}"
        f"{_details('Sources, with dates', _sources(result))}"
    )


def as_yaml(scenario: Scenario) -> str:
    """A scenario as a file."""
    import yaml

    return str(yaml.safe_dump(scenario.to_dict(), sort_keys=False, allow_unicode=True, width=96))


def _details(summary: str, body: str, *, opened: bool = False) -> str:
    mark = " open" if opened else ""
    return f"<details{mark}><summary>{escape(summary)}</summary>{body}</details>" if body else ""


def _serve(result: Told) -> str:
    """The vLLM command of every pool."""
    from foretell.sim.vllm_command import serve_commands

    if all(pool.step_cost for pool in result.scenario.pools.values()):
        return ""
    parts = []
    for one in serve_commands(result.scenario, result.deployment):
        where = f" on {one.accelerators} × {one.hardware}" if one.hardware else ""
        parts.append(
            f"<p>{escape(one.pool)}: {one.replicas} ×{escape(where)}</p>{code(one.line, 'vllm serve')}"
        )
        parts += [f"<p><small>{prose(note)}</small></p>" for note in one.notes]
    return _details("The same with vLLM", "".join(parts), opened=True)


def _resolved(result: Told) -> str:
    """Settings by group of like engines, and whether somebody gave them or the preset did."""
    from foretell.sim.presets import EngineSettings

    parts = []
    for pool, given, part in _groups(result):
        usual = dataclasses.asdict(EngineSettings())
        own = {k for k, v in dataclasses.asdict(given.engine).items() if v != usual[k]} if given else set()
        rows = "".join(
            f"<tr><th scope=row><code>{name}</code></th><td>{escape(_plain(value))}</td>"
            f"<td>{'given' if name in own else 'preset or derived'}</td></tr>"
            for name, value in dataclasses.asdict(part.config).items()
        )
        where = f" on {part.accelerators} × {part.hardware.name}" if part.hardware is not None else ""
        preset = f"; preset {given.engine.preset}" if given is not None else ""
        caption = f"{pool}: {part.count} engine{'s' * (part.count != 1)}{where}{preset}"
        parts.append(table(["setting", "value", "from"], rows, caption, "text"))
    return "".join(parts)


def _groups(result: Told) -> Iterator[tuple[str, Any, EnginePart]]:
    """Pool, group as asked and part, in the order of the deployment's parts."""
    from foretell.sim.strategies import Disaggregated

    scenario, parts = result.scenario, result.deployment.parts
    plan = scenario.parsed_strategy
    names = [plan.prefill, plan.decode] if isinstance(plan, Disaggregated) else list(scenario.pools)
    asked: list[tuple[str, Any]] = [(name, group) for name in names for group in scenario.pools[name].groups]
    if len(asked) != len(parts):
        asked = [("engines", None)] * len(parts)
    for (name, group), part in zip(asked, parts, strict=True):
        yield name, group, part


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sources(result: Told) -> str:
    """Where figures of hardware, models, operators, presets and clients come from."""
    rows = []
    for kind, name, field, source in _all_sources(result):
        rows.append(
            f"<tr><th scope=row>{escape(f'{kind} {name}'.strip())}</th><td>{escape(field)}</td>"
            f"<td>{escape(source)}</td></tr>"
        )
    return (
        table(["of", "figure", "source"], "".join(rows), "Sources, with their dates", "text") if rows else ""
    )


def _all_sources(result: Told) -> Iterator[tuple[str, str, str, str]]:
    seen: set[tuple[str, str]] = set()
    for part in result.deployment.parts:
        if part.hardware is None:
            continue
        node = part.hardware.node
        records = (
            ("hardware", part.hardware.accelerator.name, part.hardware.accelerator.sources),
            ("node", node.name, node.sources),
            ("link", node.intra.name, node.intra.sources),
            ("link", node.inter.name, node.inter.sources),
        )
        for kind, name, sources in records:
            if (kind, name) not in seen:
                seen.add((kind, name))
                yield from ((kind, name, field, source) for field, source in sources.items())
    for pool in result.scenario.pools.values():
        yield from _of_pool(pool, seen)
    client = result.scenario.client
    if client is not None and client.source:
        machine = f", {client.machine}" if getattr(client, "machine", "") else ""
        yield "client", "", "times", f"{client.source} ({client.date}{machine})"


def _of_pool(pool: Pool, seen: set[tuple[str, str]]) -> Iterator[tuple[str, str, str, str]]:
    from foretell.models.architecture import load_architecture
    from foretell.sim.presets import load_preset

    named: list[tuple[str, str, Mapping[str, str]]] = []
    if pool.model is not None:
        named.append(("model", pool.model, load_architecture(pool.model).sources))
    named += [
        ("preset", g.preset, load_preset(g.preset).get("sources", {}))
        for g in (group.engine or pool.engine for group in pool.groups)
    ]
    if pool.calibration is not None:
        from foretell.sim.profile import read_profile

        profile = read_profile(pool.calibration)
        named.append(("calibration", pool.calibration, {"made": str(profile.created)}))
    for kind, name, sources in named:
        if (kind, name) not in seen:
            seen.add((kind, name))
            yield from ((kind, name, field, source) for field, source in sources.items())
