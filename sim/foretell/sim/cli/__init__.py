"""The command line. Commands are loaded when they are called: `foretell --help` imports none of them."""

from __future__ import annotations

import difflib
import functools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

_COMMANDS: Mapping[str, tuple[str, str]] = {  # name → (module, one line of help)
    "forecast": (
        "forecast",
        "Forecast a deployment: latency, throughput, cost, and whether it meets objectives.",
    ),
    "compare": (
        "compare",
        "Compare strategies, models and hardware on one task and load, and name the best.",
    ),
    "sweep": (
        "sweep",
        "Sweep a grid or a sample of a scenario's fields into one table; resume what was interrupted.",
    ),
    "plan": (
        "plan",
        "Plan capacity: the cheapest deployment that meets objectives, and how to start it.",
    ),
    "sensitivity": (
        "sensitivity",
        "Tell which inputs of a deployment matter, and what it is worth to know them better.",
    ),
    "replay": ("replay", "Replay a trace on one engine with exactly the settings given; write every time."),
    "calibrate": (
        "calibrate",
        "Fit step times to your own step log, benchmark results or metrics; save them.",
    ),
    "fit-profile": (
        "fit_profile",
        "Fit an outcome profile to your own evaluation: accuracy, lengths, votes.",
    ),
    "validate": (
        "foretell.validate.cli",  # above this part, hence by its whole name
        "Forecast what was measured, and say how far off that is.",
    ),
    "ui": ("ui", "Open the what-if page: move sliders, see latency, accuracy and cost move."),
    "list": ("catalogue", "List what is bundled: hardware, models, presets, routers, ..."),
    "show": ("catalogue", "Show one of them: its figures, what follows from them, and their sources."),
}


class _Commands(click.Group):
    """A group that loads its commands late and says what went wrong in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        place = _COMMANDS[cmd_name][0]
        module = import_module(place if "." in place else f"{__name__}.{place}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in _COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(_COMMANDS)}"
            raise click.UsageError(f"unknown command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command; click would end a broken pipe with 1, which here means a missed objective."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise _ReaderGoneError from None
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; exit with 0, 1 (an objective is missed), 2 (bad input) or 130 (interrupted)."""
        run = functools.partial(super().main, args, prog_name, complete_var, False, **extra)
        if not standalone_mode:
            return run()
        signal.signal(signal.SIGTERM, _terminate)
        try:
            code: Any = run()
        except click.ClickException as error:
            _fail(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        except _ReaderGoneError:
            # Python would flush what nobody reads once more at exit, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except MemoryError:
            _fail("not enough memory; a shorter trace needs less")
        except ValueError as error:
            _fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)


class _ReaderGoneError(Exception):
    """Nobody reads our output any more."""


def _terminate(signum: int, frame: object) -> NoReturn:
    """End as Ctrl-C does, so that nothing partial is left behind."""
    sys.exit(128 + signum)


def _fail(message: str) -> NoReturn:
    click.echo(f"foretell: error: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from foretell.sim.forecast_json import tool_version

        click.echo(f"foretell {tool_version()}")
        ctx.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Predict the latency, throughput, cost and energy of an LLM deployment before deploying it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
