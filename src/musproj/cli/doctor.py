"""`musproj doctor`: is this installation in order, and if not, what mends it."""

from typing import TYPE_CHECKING

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Document, Form, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from musproj.ports.findings import Finding

app = new_app()

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
    call.out.result("doctor", lambda: _document(findings), ids=problems, shape=lambda form: _table(form, findings))
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


def _table(form: Form, findings: "Sequence[Finding]") -> Table:
    rows = [
        (MARKS[found.status] if form.for_people else found.status, found.name, found.detail, found.fix or "")
        for found in findings
    ]
    return Table(("", "check", "found", "what mends it"), rows)
