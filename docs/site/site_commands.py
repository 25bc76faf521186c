"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
from site_python import cell


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with its path, groups before what is in them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        here = (*path, name)
        yield here, command
        if isinstance(command, click.Group):
            yield from commands(command, here)


def pages() -> dict[str, str]:
    """Markdown pages by name: one for each command of `foretell`, and an index of all."""
    from foretell.sim.cli import main

    texts: dict[str, str] = {}
    rows = []
    for path, command in commands(main, ("foretell",)):
        page = f"commands/{path[1]}"
        level = "#" if len(path) == 2 else "##"
        texts[page] = texts.get(page, "") + f"{level} {' '.join(path)}\n\n{_described(path, command)}\n"
        anchor = "" if len(path) == 2 else f"#{'-'.join(path)}"
        rows.append(
            f"| [`{' '.join(path)}`]({path[1]}.md{anchor}) | {cell(command.get_short_help_str(200))} |"
        )
    names = "\n".join(dict.fromkeys(page.partition("/")[2] for page in texts))
    texts["commands/index"] = (
        "# Commands\n\n"
        "Exit codes: 0, all is well; 1, an objective is missed or a comparison differs; 2, bad input, in one "
        "line that names the field; 130, interrupted.\n\n"
        f"| command | what it does |\n|---|---|\n{chr(10).join(rows)}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    return texts


def _described(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join([" ".join(path), *command.collect_usage_pieces(context)])
    parts = [f"```text\n{usage}\n```", _prose(inspect.cleandoc(command.help or ""))]
    rows = [row for parameter in command.get_params(context) for row in _row(parameter, context)]
    if rows:
        parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    if isinstance(parameter, click.Option) and not parameter.hidden:
        record = parameter.get_help_record(context)
        assert record is not None
        yield f"| `{record[0].replace('|', chr(92) + '|')}` | {cell(record[1])} |"


def _prose(text: str) -> str:
    """Help as Markdown: paragraphs that click is told to leave as they are become code."""
    done = []
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.startswith("\b\n"):
            done.append(f"```text\n{paragraph[2:]}\n```")
        elif paragraph.strip():
            done.append(cell(paragraph))
    return "\n\n".join(done)
