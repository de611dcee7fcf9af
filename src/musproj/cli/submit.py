"""`musproj submit`: put jobs into the queue, and wait for them if wanted."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.jobs import print_jobs

if TYPE_CHECKING:
    from musproj import InputRef, Job, JobSpec, MusProj
    from musproj.ports.assets import Idempotency

app = new_app()

Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated.")
]


@app.command(
    "submit",
    epilog=examples(
        'musproj submit enhance "$(musproj assets list -q --limit 1)" -p targetLufs=-16 --wait',
        "musproj assets list -q --all | musproj submit analyze -",
    ),
)
@command
def submit(
    call: Call,
    kind: Annotated[
        str, typer.Argument(metavar="TYPE", help="A processor (`musproj processors`) or a preset (`musproj presets`).")
    ],
    assets: Annotated[
        list[str] | None, typer.Argument(metavar="ASSET[@VERSION][/FILE]...", help="Also `-` or @list: a job for each.")
    ] = None,
    param: Params = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="PORT=ASSET[@VERSION]", help="Of a further port.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 0, 7 or 8 as the job ends.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --wait: leave after 90s, 5m, … with exit 124.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again even where an identical job is there.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key never makes a second job.")
    ] = None,
    priority: Annotated[str, typer.Option(metavar="normal|high", help="Before others.")] = "normal",
) -> int:
    """Put a job into the queue.

    A worker (`musproj work`, `musproj serve`) runs it. Without @VERSION a job takes the asset's head.
    An identical job that still lives is that job.
    """
    from musproj.cli import failures, waiting
    from musproj.cli.references import expand, seconds

    limit = None if timeout is None else seconds(timeout)
    wanted = [*expand(assets or ())] or [""]
    with call.open() as mp:
        template = _template(mp, kind, param or (), inputs or (), force=force, is_urgent=_is_high(priority))
        key = _idempotency(idempotency_key, template, wanted)
        jobs = list(failures.each(call.out, wanted, lambda text: _submit(mp, template, text, key)))
        _warn_without_worker(call, mp)
        if wait:
            jobs = [waiting.follow(call, mp, job.job_id, timeout=limit) for job in jobs]
    print_jobs(call, jobs, is_single=len(wanted) == 1)
    if not wait:
        return failures.outcome(wanted, jobs)
    ends = [waiting.exit_of(job) for job in jobs]
    return ends[0] if len(wanted) == 1 else failures.outcome(wanted, [end for end in ends if end == 0])


def _warn_without_worker(call: Call, mp: "MusProj") -> None:
    if not mp.metadata.jobs.workers():
        call.out.note("No worker is alive here; start one with: musproj work")


def _template(
    mp: "MusProj", kind: str, pairs: Iterable[str], inputs: Iterable[str], *, force: bool, is_urgent: bool
) -> "JobSpec":
    """Return the job without its main input.

    Raises:
        UnknownJobTypeError: no such processor.
        InvalidError: a parameter or an input is not written as `name=value`.
    """
    from musproj import InputRef, JobSpec
    from musproj.application import params
    from musproj.application.jobs import HIGH_PRIORITY
    from musproj.errors import InvalidError

    ports: dict[str, InputRef] = {}
    for text in inputs:
        port, equals, asset = text.partition("=")
        if not equals:
            raise InvalidError(f"{text!r} is no PORT=ASSET[@VERSION].", hint="Write it like: --input reference=ast_…@1")
        ports[port] = _input(mp, asset)
    preset = mp.catalog.presets.get(kind)
    return JobSpec(
        type="" if preset else kind,
        preset=kind if preset else None,
        inputs=ports,
        params=params.typed_pairs(mp.catalog.get(preset.type if preset else kind).spec.params, pairs),
        force=force,
        priority=HIGH_PRIORITY if is_urgent else 0,
    )


def _submit(mp: "MusProj", template: "JobSpec", text: str, key: "Idempotency | None") -> "Job":
    import attrs

    from musproj import DEFAULT_OWNER

    main = {"input": _input(mp, text)} if text else {}
    spec = attrs.evolve(template, inputs={**main, **template.inputs})
    return mp.jobs.submit(DEFAULT_OWNER, spec, key).job


def _input(mp: "MusProj", text: str) -> "InputRef":
    from musproj import DEFAULT_OWNER, InputRef
    from musproj.cli.references import asset_ref

    ref = asset_ref(text)
    version = ref.version
    if isinstance(version, str):
        version = mp.assets.version(DEFAULT_OWNER, ref.asset_id, version).number
    return InputRef(asset_id=ref.asset_id, version=version, file=ref.file)


def _idempotency(key: str | None, template: "JobSpec", wanted: Sequence[str]) -> "Idempotency | None":
    import attrs

    from musproj.domain.canonical import digest
    from musproj.errors import InvalidError
    from musproj.ports.assets import Idempotency

    if key is None:
        return None
    if len(wanted) > 1:
        raise InvalidError("--idempotency-key makes one job, but several assets are given.")
    return Idempotency(key=key, body_hash=digest([attrs.asdict(template), wanted]))


def _is_high(priority: str) -> bool:
    from musproj.errors import InvalidError

    if priority not in ("normal", "high"):
        raise InvalidError(f"--priority is normal or high, not {priority!r}.")
    return priority == "high"
