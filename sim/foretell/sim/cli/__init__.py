"""The command line. Commands are loaded when they are called: `foretell --help` imports none of them."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

_COMMANDS: Mapping[str, tuple[str, str]] = {  # name → (module, one line of help)
    "forecast": (
        "forecast",
        "Forecast a deployment: latency, throughput, cost, and whether it meets objectives.",
    ),
    "replay": ("replay", "Replay a trace on one engine with exactly the settings given; write every time."),
    "list": ("catalogue", "List what is bundled: hardware, models, presets, routers, ..."),
    "show": ("catalogue", "Show one of them: its figures, what follows from them, and their sources."),
}
_CANCELLED = 128 + signal.SIGINT


class _Commands(click.Group):
    """A group that loads its commands late and says what went wrong in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"{__name__}.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
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

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command; exit with 0, 1 (an objective is missed), 2 (bad input) or 130 (interrupted)."""
        if not extra.pop("standalone_mode", True):
            return super().main(args, *rest, standalone_mode=False, **extra)
        try:
            code = super().main(args, *rest, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            _fail(error.format_message())
        except (click.Abort, KeyboardInterrupt):
            sys.exit(_CANCELLED)
        except BrokenPipeError:
            # The reader has gone; without this, Python's own flush at exit would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_CANCELLED - signal.SIGINT + signal.SIGPIPE)
        except MemoryError:
            _fail("not enough memory; a shorter trace needs less")
        except ValueError as error:
            _fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
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
