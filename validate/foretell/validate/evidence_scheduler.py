"""The differential test against vLLM's own scheduler as a section of the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foretell.validate.evidence import Check, Grid, Section, check, count, percent

Summary = Mapping[str, Any]
SCENARIOS, STEPS, OLDER, VERSIONS, TIMES = 2000, 1_000_000, 500, 3, 200
"""What was asked: scenarios and steps on the newest version, scenarios on others, versions, times as fast."""


def scheduler(found: Summary | Sequence[Summary]) -> Section:
    """Every version that was tested, of `scheduler.summary`."""
    versions = sorted([found] if isinstance(found, Mapping) else found, key=_parts, reverse=True)
    steps = sum(int(one["steps"]) for one in versions)
    equal = sum(int(one["steps_equal"]) for one in versions)
    scenarios = sum(int(one["scenarios"]) for one in versions)
    names = ", ".join(str(one["vllm_version"]) for one in versions)
    return Section(
        key="scheduler",
        title="Step by step against vLLM's own scheduler",
        answer=f"{count(scenarios)} generated scenarios on vLLM {names}: {count(equal)} of {count(steps)} "
        f"steps equal, "
        f"{count(sum(int(one['scenarios_equal']) for one in versions))} scenarios equal throughout",
        claim="foretell's engine decides as vLLM does: in every step the same requests, in the same order, "
        "with as "
        "many tokens, blocks, preemptions and cache hits.",
        how=(
            "vLLM's real Scheduler and KVCacheManager, in an interpreter of their own, and foretell's "
            "engines get "
            "the same trace, settings and virtual step times. hypothesis draws the scenarios; the table of "
            "what "
            "they reach says how many of them met each feature.",
            "A mismatch is shrunk to the smallest scenario that shows it and counts from its first unequal "
            "step to "
            "the end. A vLLM that fails counts as unequal.",
            "Controls: each setting is made wrong on our side alone. Where that changes what our engine "
            "does, the "
            "comparison has to notice.",
        ),
        would_fail=("one unequal step", "a setting made wrong that binds and is not noticed"),
        command="foretell validate scheduler --json --scale --scenarios 2000 --vllm-python PATH "
        "> scheduler.json",
        source="Nothing recorded: vLLM (Apache-2.0) runs beside foretell; scenarios are made from the seed.",
        checks=(
            *(one for n, summary in enumerate(versions) for one in _checks(summary, newest=n == 0)),
            check("versions of vLLM", len(versions), VERSIONS, unit="versions"),
        ),
        misses=tuple(line for summary in versions for line in _misses(summary)),
        grids=(
            _engines(versions),
            *(grid for one in versions for grid in (_features(one), _controls(one), _scale(one))),
        ),
        absent=[
            f"vLLM {one['vllm_version']} has no setting {name}: not drawn"
            for one in versions
            for name in one.get("settings_unknown_to_it") or ()
        ],
    )


def corpus(found: Sequence[Summary]) -> Section:
    """Recorded decisions, of `scheduler_corpus.corpus_summary`: what stands where no vLLM is at hand."""
    steps = sum(int(one["steps"]) for one in found)
    equal = sum(int(one["steps_equal"]) for one in found)
    made = ", ".join(f"{one['vllm_version']} ({one['date']})" for one in found)
    return Section(
        key="corpus",
        title="Step by step against recorded decisions of vLLM's scheduler",
        answer=f"{count(sum(int(one['scenarios']) for one in found))} scenarios that vLLM {made} went "
        f"through: {count(equal)} of {count(steps)} steps equal",
        claim="foretell's engine decides as vLLM did, told without any vLLM installed.",
        how=(
            "Scenarios of the differential test were kept with what vLLM's own Scheduler and "
            "KVCacheManager did in each step: few and small, but reaching every feature. They come with "
            "foretell and run through both of its engines here.",
        ),
        would_fail=("one unequal step",),
        command="foretell validate report --html page.html",
        source="Recorded by foretell from vLLM (Apache-2.0); "
        "`python -m foretell.validate.scheduler_corpus` makes it anew.",
        checks=tuple(
            check(
                f"vLLM {one['vllm_version']}, recorded: steps equal",
                100 * one["steps_equal"] / one["steps"] if one["steps"] else None,
                100.0,
            )
            for one in found
        ),
        misses=tuple(line for one in found for line in _misses(one)),
        grids=(_engines(found), *(_features(one) for one in found)),
    )


def _parts(summary: Summary) -> tuple[int, ...]:
    return tuple(int(part) for part in str(summary["vllm_version"]).split(".") if part.isdigit())


def _checks(summary: Summary, newest: bool) -> list[Check]:
    name = f"vLLM {summary['vllm_version']}"
    steps = int(summary["steps"])
    found = [
        check(f"{name}: steps equal", 100 * summary["steps_equal"] / steps if steps else None, 100.0),
        check(f"{name}: scenarios", summary["scenarios"], SCENARIOS if newest else OLDER, unit="scenarios"),
    ]
    if newest:
        found.append(check(f"{name}: steps", steps, STEPS, unit="steps"))
    controls = summary.get("controls") or {}
    binding = sum(int(one["binding"]) for one in controls.values())
    caught = sum(int(one["caught"]) for one in controls.values())
    found.append(check(f"{name}: wrong settings noticed", 100 * caught / binding if binding else None, 100.0))
    times = [float(one["times"]) for one in summary.get("scale") or () if one.get("times") is not None]
    if newest or times:
        found.append(
            check(f"{name}: times as fast as it", min(times) if times else None, TIMES, unit="times")
        )
    return found


def _misses(summary: Summary) -> list[str]:
    name = f"vLLM {summary['vllm_version']}"
    unequal = int(summary["scenarios"]) - int(summary["scenarios_equal"])
    found = [f"{name}: {count(unequal)} of {count(summary['scenarios'])} scenarios are not equal throughout"]
    lines = found if unequal else []
    lines += [f"{name}: {_text(one)}" for one in summary.get("mismatches") or ()]
    lines += [f"{name} failed in a scenario: {error}" for error in summary.get("errors") or ()]
    missed = {
        setting: one
        for setting, one in (summary.get("controls") or {}).items()
        if one["caught"] < one["binding"]
    }
    lines += [
        f"{name}: {setting} made wrong was noticed in {one['caught']} of the {one['binding']} scenarios "
        f"where it binds"
        for setting, one in missed.items()
    ]
    never = [setting for setting, one in (summary.get("controls") or {}).items() if not one["binding"]]
    if never:
        lines.append(f"{name}: made wrong, but never binding, so that nothing is shown: {', '.join(never)}")
    lines += [
        f"{name}: decisions at scale are not identical ({_text(one)})"
        for one in summary.get("scale") or ()
        if not one.get("identical", True)
    ]
    return lines


def _text(value: Summary) -> str:
    """A row as text: what is short, and what is told in lines."""
    parts = [f"{key} {part}" for key, part in value.items() if isinstance(part, str | int | float)]
    parts += [str(line).strip() for line in value.get("told") or ()]
    return ", ".join(parts)[:400]


def _engines(versions: Sequence[Summary]) -> Grid:
    rows = [
        (
            f"vLLM {one['vllm_version']}, {'foretell' if name == 'default' else name} engine",
            count(part["scenarios"]),
            count(part["steps"]),
            count(part["steps_equal"]),
            percent(100 * part["steps_equal"] / part["steps"] if part["steps"] else None, 4),
        )
        for one in versions
        for name, part in (one.get("engines") or {}).items()
    ]
    return Grid(
        "By version and engine; “default” is what users get",
        ("", "scenarios", "steps", "equal", "share"),
        rows,
    )


def _features(summary: Summary) -> Grid:
    total = max(int(summary["scenarios"]), 1)
    rows = [(name, count(n), percent(100 * n / total)) for name, n in (summary.get("features") or {}).items()]
    return Grid(
        f"What the scenarios on vLLM {summary['vllm_version']} reach (seed "
        f"{summary.get('seed', 'not said')})",
        ("feature", "scenarios", "share"),
        rows,
    )


def _controls(summary: Summary) -> Grid:
    rows = [
        (setting, count(one["tried"]), count(one["binding"]), count(one["caught"]))
        for setting, one in (summary.get("controls") or {}).items()
    ]
    return Grid(
        f"Negative controls on vLLM {summary['vllm_version']}: one thing made wrong on our side",
        ("what is wrong", "tried in", "binds in", "noticed in"),
        rows,
    )


def _scale(summary: Summary) -> Grid:
    found = summary.get("scale") or ()
    keys = tuple(dict.fromkeys(key for one in found for key in one))
    rows = [tuple(_cell(one.get(key)) for key in keys) for one in found]
    heads = tuple(key.replace("_", " ") for key in keys)
    return Grid(f"Side by side with vLLM {summary['vllm_version']}, each on one core", heads, rows)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
