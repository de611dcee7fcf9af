"""`musproj doctor`: is this installation in order, and if not, what mends it."""

import shutil
import textwrap
from typing import TYPE_CHECKING

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Document, Form, Lines, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from musproj.ports.findings import Finding

app = new_app()

SHORTEST_TEXT = 40
"""Columns beside the names, however narrow the terminal."""
MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


@app.command("doctor", epilog=examples("musproj doctor"))
@command
def doctor(call: Call) -> int:
    """Check this installation; exit 11 if something is wrong.

    Looks at Python, extras, settings, clock, disk, the integrity of the database, processors and workers. Of a bucket
    it tries what uploads rely on below doctor/, and leaves nothing there; of Redis it looks at how it is set up.
    """
    from musproj.cli.checks import examine
    from musproj.cli.exit_codes import ExitCode
    from musproj.cli.logs import configure_logging
    from musproj.settings import examine as examine_settings

    settings, wrong = examine_settings(call.flags)
    configure_logging(settings.log)
    findings = list(examine(settings, wrong))
    problems = [finding.name for finding in findings if finding.status == "problem"]
    call.out.result("doctor", lambda: _document(findings), ids=problems, shape=lambda form: shown(form, findings))
    return ExitCode.INTEGRITY if problems else ExitCode.OK


def _document(findings: "Sequence[Finding]") -> Document:
    checks = [
        {
            "name": found.name,
            "status": found.status,
            "detail": found.detail,
            **({"fix": found.fix} if found.fix else {}),
        }
        for found in findings
    ]
    return {"checks": checks, "ok": all(found.status != "problem" for found in findings)}


def shown(form: Form, findings: "Sequence[Finding]") -> Lines | Table:
    """Return what was found; for people as wide as their terminal, whole."""
    if not form.for_people:
        rows = [(found.status, found.name, found.detail, found.fix or "") for found in findings]
        return Table(("", "check", "found", "what mends it"), rows)
    names = max(len(found.name) for found in findings)
    width = max(shutil.get_terminal_size().columns, names + SHORTEST_TEXT)
    return Lines([line for found in findings for line in _lines_of(found, names, width)])


def _lines_of(found: "Finding", names: int, width: int) -> list[str]:
    """Return what was found beside its name and below it what mends it, whole: a fix that is cut off mends nothing."""
    below = " " * (names + 4)
    first = f"{MARKS[found.status]} {found.name:<{names}}  "
    lines = textwrap.wrap(found.detail, width, initial_indent=first, subsequent_indent=below, break_on_hyphens=False)
    fix = textwrap.wrap(
        found.fix or "", width, initial_indent=f"{below}→ ", subsequent_indent=f"{below}  ",
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return [*(lines or [first.rstrip()]), *fix]
