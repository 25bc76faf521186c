"""`foretell calibrate`: from a user's own measurements to a profile that forecasts take step times from."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foretell.sim.cli.options import COUNT, WHOLE, engine_options

if TYPE_CHECKING:
    from foretell.sim.calibrating import Calibration
    from foretell.sim.scenario import Scenario

_FILE = click.Path(path_type=Path)


@click.command("calibrate")
@click.argument("steplog", type=_FILE, nargs=-1)
@click.option("--bench", type=_FILE, multiple=True, help="A result of `vllm bench serve`. Repeatable.")
@click.option("--metrics", type=_FILE, metavar="FILE", help="The text of vLLM's /metrics.")
@click.option("--metrics-before", type=_FILE, metavar="FILE", help="The same, at the start.")
@click.option("--scenario", type=_FILE, metavar="FILE", help="What ran: model, hardware, engine, workload.")
@click.option("--model", help="Bundled model, or a path to a config.json.")
@click.option("--hardware", help="Bundled accelerator, or a path to a .toml.")
@click.option("--tensor-parallel-size", "-tp", type=COUNT)
@click.option("--pipeline-parallel-size", "-pp", type=COUNT)
@click.option("--data-parallel-size", "-dp", type=COUNT)
@click.option("--enable-expert-parallel", is_flag=True, default=None)
@click.option("--dtype", help="auto, bfloat16, float16 or float32.")
@click.option("--quantization", "-q", help="fp8, modelopt_fp4, mxfp4, awq, gptq, int8, ...")
@click.option("--kv-cache-dtype", help="auto or fp8.")
@click.option("--preset", help="Engine preset (`foretell list presets`).")
@engine_options
@click.option(
    "--form",
    type=click.Choice(["affine", "terms"]),
    help="Five coefficients, or scales of a model's terms. [default: terms with a model]",
)
@click.option("--seed", type=WHOLE, default=0, help="Of workloads that are drawn. [default: 0]")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE", help="The profile to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def calibrate_command(
    steplog: tuple[Path, ...],
    bench: tuple[Path, ...],
    metrics: Path | None,
    metrics_before: Path | None,
    scenario: Path | None,
    form: str | None,
    seed: int,
    output: Path,
    as_json: bool,
    **flags: Any,
) -> int:
    """Fit step times to measurements: step logs, benchmark results, or a scrape of a server's metrics.

    A STEPLOG is a CSV or JSON-lines file with the columns prefill_tokens, prefill_pairs, prefill_context,
    prefill_seqs, decode_seqs, decode_context, sampled and dt_s, or the folder of a recorded run.
    """
    from foretell.sim.forecast_json import tool_version
    from foretell.sim.profile import write_profile

    kinds = [bool(steplog), bool(bench), metrics is not None]
    if sum(kinds) != 1:
        raise click.UsageError("give step logs, or --bench, or --metrics: one of the three")
    if metrics_before is not None and metrics is None:
        raise click.UsageError("--metrics-before needs --metrics")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ValueError(f"output {output}: cannot be written (no such folder, or a folder of this name)")
    about = (datetime.date.today().isoformat(), tool_version())
    asked = _scenario(scenario, flags)
    if steplog:
        result = _of_steps(steplog, asked, form, about)
    else:
        result = _of_points(bench, metrics, metrics_before, asked, scenario is not None, form, seed, about)
    write_profile(output, result.profile)
    if as_json:
        import json

        click.echo(json.dumps(summary(result), indent=2, allow_nan=False))
    else:
        from foretell.sim.cli.calibration_tables import show_calibration

        show_calibration(result, output)
    return 0


def summary(result: Calibration) -> dict[str, Any]:
    """Plain values of a calibration."""
    import dataclasses

    profile, interval = result.profile, result.profile.interval()
    return {
        "kind": profile.kind,
        "coefficients": {
            name: {
                "value": value,
                "low": interval[name][0],
                "high": interval[name][1],
                "identified": profile.identified[name],
            }
            for name, value in profile.coefficients.items()
        },
        "client_s": profile.client_s,
        "log_error": profile.log_error,
        "run_log_error": profile.run_log_error,
        "in_sample": dataclasses.asdict(result.in_sample),
        "held_out": [dataclasses.asdict(each) for each in result.held_out],
        "fitted_on": dict(profile.fitted_on),
        "warnings": list(profile.warnings),
    }


def _scenario(file: Path | None, flags: dict[str, Any]) -> Scenario | None:
    """What ran, from a file and flags; None if nothing is said of it."""
    from foretell.sim.cli.flags import override_pool
    from foretell.sim.scenario import Scenario
    from foretell.sim.schema import load_values

    given = {name: value for name, value in flags.items() if value is not None}
    if file is None and not given:
        return None
    if file is None and not {"model", "hardware"} <= set(given):
        missing = "model" if "model" not in given else "hardware"
        raise click.UsageError(f"--{missing} is missing; give --scenario, or --model and --hardware")
    unused = {"lengths": {"prompt": 1, "output": 1}, "concurrency": 1, "num_requests": 1}
    values = {"workload": unused} if file is None else load_values(file)
    override_pool(values, given)
    try:
        return Scenario.from_dict(values)
    except ValueError as error:
        raise ValueError(str(error) if file is None else f"{file}: {error}") from None


def _of_steps(
    logs: tuple[Path, ...], asked: Scenario | None, form: str | None, about: tuple[str, str]
) -> Calibration:
    from foretell.sim.calibrating import calibrate_steps
    from foretell.sim.costforms import form_of
    from foretell.sim.steplog import read_step_logs

    chosen, subject = form_of(None if asked is None else asked.pool, form)
    return calibrate_steps(
        read_step_logs(list(logs)), chosen, fitted_on=subject, created=about[0], version=about[1]
    )


def _of_points(
    bench: tuple[Path, ...],
    metrics: Path | None,
    before: Path | None,
    asked: Scenario | None,
    own_workload: bool,
    form: str | None,
    seed: int,
    about: tuple[str, str],
) -> Calibration:
    from foretell.sim.calibrating_points import calibrate_points
    from foretell.sim.costforms import form_of
    from foretell.sim.deployment import deploy
    from foretell.sim.observations import read_bench, read_metrics

    if asked is None:
        raise click.UsageError("what ran is not known: give --scenario, or --model and --hardware")
    if metrics is not None and not own_workload:
        raise click.UsageError("--metrics does not say what the load was: give --scenario with a workload")
    points = [read_metrics(metrics, before)] if metrics is not None else [read_bench(file) for file in bench]
    chosen, subject = form_of(asked.pool, form)
    deployment = deploy(asked.pool)
    if len(deployment.parts) != 1:
        raise ValueError("replicas: a calibration needs like replicas; give a number instead of groups")
    return calibrate_points(
        points,
        chosen,
        deployment.parts[0].config,
        workload=asked.workload if own_workload else None,
        replicas=len(deployment.engines),
        router=asked.pool.router,
        fitted_on=subject,
        seed=seed,
        created=about[0],
        version=about[1],
    )
