"""Tables and progress bars: the only module that knows rich, and imported only where a terminal is looked at."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

Report = Callable[[float, str], None]
"""Takes a fraction, 0 to 1, and what is being done."""


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, no_color: bool) -> None:
    """Print rows under headings on stdout; ids keep their full length, the last column folds."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    last = len(heads) - 1
    for number, head in enumerate(heads):
        table.add_column(Text(head), no_wrap=number < last, overflow="fold" if number in (0, last) else "ellipsis")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(no_color=no_color or None, highlight=False, soft_wrap=False).print(table)


@contextmanager
def progress(label: str, *, wanted: bool = True, no_color: bool = False) -> Generator[Report]:
    """Show a bar on stderr while the block runs; silent where nobody looks."""
    if not (wanted and sys.stderr.isatty()):
        yield _silent
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, no_color=no_color or None, highlight=False)
    if console.is_dumb_terminal:
        yield _silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(label), total=1.0, stage="")
        yield lambda fraction, stage: bar.update(task, completed=fraction, stage=escape(stage))


def _silent(_fraction: float, _stage: str) -> None:
    """Show nothing."""
