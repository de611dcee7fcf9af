"""`musproj serve`: the API and a worker in one command."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields

if TYPE_CHECKING:
    from musproj import MusProj, Settings
    from musproj.cli.companion import Companion

app = new_app()

UNSAFE = ("redis version", "redis eviction")
"""What `musproj doctor` calls a problem and no time heals."""

Concurrency = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Jobs the worker runs at once; default: one per core.")
]


@app.command("serve", epilog=examples("musproj serve --port 8700", "musproj serve --no-worker"))
@command
def serve(
    call: Call,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to bind; another than loopback needs MUSPROJ_API_KEY.")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port to bind; 0 takes a free one.")] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="The API alone.")] = False,
    concurrency: Concurrency = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even on a Redis that may throw records away when its memory is short.")
    ] = False,
) -> None:
    """Serve the HTTP API and run a worker process beside it.

    SIGTERM or Ctrl-C drains both; a second one ends at once. A worker that dies is started again.
    """
    from musproj import MusProj
    from musproj.cli import addresses
    from musproj.registry import require

    for module in ("starlette", "msgspec", "uvicorn"):
        require(module, "server")
    from musproj.cli.api import serve_pair
    from musproj.cli.companion import Companion
    from musproj.http.server import check_bind, listen

    settings = call.settings(host=host, port=port, concurrency=concurrency)
    addresses.refuse_open_door(settings)
    with listen(settings) as listener:
        settings = addresses.reachable(settings, listener.getsockname()[1])
        companion = None if no_worker else Companion(_worker_flags(call, settings))
        with MusProj.open(settings, is_interactive=True) as mp:
            check_bind(mp)
            if not force:
                _refuse_to_forget(mp)
            serve_pair(mp, listener, companion, lambda: _print(call, settings, companion))


def _refuse_to_forget(mp: "MusProj") -> None:
    """Start on no store that loses what was acknowledged; one that is away may start later.

    Raises:
        ConfigurationError: it does, as it is set up.
    """
    from musproj.errors import ConfigurationError, UnavailableError

    with suppress(UnavailableError):
        for finding in mp.metadata.examine():
            if finding.name in UNSAFE and finding.status == "problem":
                raise ConfigurationError(
                    f"{finding.name}: {finding.detail}.", hint=f"{finding.fix}, or start with --force."
                )


def _worker_flags(call: Call, settings: "Settings") -> list[str]:
    flags = ["--data", str(settings.data)]
    if settings.concurrency is not None:
        flags += ["--concurrency", str(settings.concurrency)]
    return [*flags, *["-v"] * min(call.verbose, 2), *["--quiet"] * call.out.quiet]


def _print(call: Call, settings: "Settings", companion: "Companion | None") -> None:
    facts = {"api": settings.base_url, "docs": f"{settings.base_url}/docs", "data": str(settings.data)}
    if companion is not None:
        facts["worker"] = f"process {companion.pid}"
    call.out.result("serve", lambda: facts, ids=[settings.base_url], shape=lambda _: Fields(list(facts.items())))
