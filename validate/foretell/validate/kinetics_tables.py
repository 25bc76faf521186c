"""`foretell validate kinetics` in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foretell.validate.kinetics_summary import Result

if TYPE_CHECKING:
    from rich.console import Console


def show_kinetics(result: Result, console: Console | None = None) -> None:
    """Print the paper's figures beside ours."""
    from rich.console import Console
    from rich.table import Table

    out = console or Console()
    table = Table("figure", title="Kinetics: the paper's figures and ours", title_justify="left")
    for head in ("paper", "ours", "90 %"):
        table.add_column(head, justify="right")
    table.add_column("ours by")
    for check in result.checks:
        within = "" if check.interval is None else "{:.3g}–{:.3g}".format(*check.interval)
        ours = "never" if check.ours is None else f"{check.ours:.3g}"
        table.add_row(check.name, f"{check.paper:.3g}", ours, within, check.by)
    out.print(table)
    for by, yes in result.eight_on_frontier.items():
        out.print(f"8B on the eFLOPs frontier ({by}; never in the paper): {'yes' if yes else 'never'}")
    if result.fits is None:
        out.print("The paper's curves are not at hand: --data names a folder with kinetics/.")
        return
    fits = result.fits
    table = Table("model", title="Laws fitted to the paper's curves", title_justify="left")
    for head in ("g50", "s", "dense off by [points]", "top-k off by, left out [points]"):
        table.add_column(head, justify="right")
    for size, law in fits.truncation.items():
        left = fits.left_out.get(size)
        table.add_row(
            size,
            f"{law.half_tokens:,.0f}",
            f"{law.spread:.3f}",
            f"{100 * law.rmse:.1f}",
            "" if left is None else f"{100 * left:.1f}",
        )
    out.print(table)
    out.print(f"KV budget: A(B) = A∞·(1 − exp(−(B/{fits.budget.scale:.0f})^{fits.budget.shape:.2f}))")
