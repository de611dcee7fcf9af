"""Records as rows and fields for people."""

import json
from collections.abc import Iterable, Mapping, Sequence

from musproj.application.assets import AssetView
from musproj.cli.output import Fields, Form, Table
from musproj.domain.asset import Asset
from musproj.domain.job import Job, JobStatus
from musproj.domain.remote import CostState
from musproj.domain.version import File, Version

ASSET_HEADS = ("asset", "status", "head", "versions", "created", "name")
VERSION_HEADS = ("version", "kind", "file", "length", "format", "size", "created", "from")
JOB_HEADS = ("job", "type", "status", "input", "made", "created", "remark")


def assets(form: Form, found: Iterable[Asset]) -> Table:
    """Return a row per asset."""
    rows = [
        (
            asset.asset_id,
            str(asset.status),
            _version(asset.head),
            str(asset.version_count),
            form.short_time(asset.created_at),
            asset.name or "",
        )
        for asset in found
    ]
    return Table(ASSET_HEADS, rows)


def asset(form: Form, view: AssetView) -> Fields:
    """Return all that is known of an asset, a line per file of its newest versions."""
    found = view.asset
    error = found.upload.error
    pairs = [
        ("asset", found.asset_id),
        ("name", found.name or ""),
        ("status", str(found.status)),
        ("created", form.time(found.created_at)),
        ("head", _version(found.head) + (" (pinned)" if found.head_pinned else "")),
        ("upload error", f"{error.code}: {error.detail}" if error else ""),
        ("purged at", form.time(found.purge_at)),
    ]
    return Fields([*_filled(pairs), *(_version_line(form, version) for version in reversed(view.versions))])


def versions(form: Form, found: Iterable[Version]) -> Table:
    """Return a row per file of each version."""
    rows = [
        (
            _version(version.number),
            version.kind,
            file.name,
            form.duration(file.duration),
            form.audio(file.sample_rate, file.channels),
            form.size(file.size_bytes),
            form.short_time(version.created_at),
            f"v{version.from_version}" if version.from_version else "",
        )
        for version in found
        for file in version.files
    ]
    return Table(VERSION_HEADS, rows)


def jobs(form: Form, found: Iterable[Job]) -> Table:
    """Return a row per job."""
    return Table(JOB_HEADS, [job_row(form, job) for job in found])


def job_row(form: Form, job: Job) -> tuple[str, ...]:
    """Return a job on one line."""
    return (
        job.job_id,
        job.type,
        state(job),
        f"{form.id_beside(job.asset_id)}@{job.input_version}",
        _version(job.created_version),
        form.short_time(job.created_at),
        _remark(job),
    )


def job(form: Form, found: Job, hints: Sequence[tuple[str, str]] = ()) -> Fields:
    """Return all that is known of a job."""
    inputs = ", ".join(
        f"{taken.asset_id}@{taken.version}{f'/{taken.file}' if taken.file else ''}" for taken in found.inputs
    )
    pairs = [
        ("job", found.job_id),
        ("type", found.type),
        ("status", state(found)),
        ("stage", found.stage or ""),
        *hints,
        ("input", inputs),
        ("params", _params(found.params)),
        ("made", f"{found.asset_id}@{found.created_version}" if found.created_version else ""),
        ("error", _error(found)),
        ("cost", _cost(found)),
        ("attempts", str(found.attempts)),
        *((f"attempt {past.attempt}", f"{past.code}: {past.message}") for past in found.history),
        ("retry of", found.retry_of or ""),
        ("created", form.time(found.created_at)),
        ("started", form.time(found.started_at)),
        ("finished", form.time(found.finished_at)),
        ("expires", "" if found.is_terminal else form.time(found.expires_at)),
        *(result(found.result) if found.result else ()),
    ]
    return Fields(_filled(pairs))


def result(data: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the plain facts of a result; lists and tables in it are for `--json`."""
    return [(name, plain(value)) for name, value in data.items() if not isinstance(value, list | dict)]


def plain(value: object) -> str:
    """Return a JSON value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def state(found: Job) -> str:
    """Return the status, with the percent of a running job."""
    if found.status is JobStatus.RUNNING:
        return f"running {found.progress} %"
    return str(found.status)


def _remark(found: Job) -> str:
    return _error(found) or found.stage or (str(found.wait_reason) if found.wait_reason else "")


def _error(found: Job) -> str:
    if found.error is None or found.status is JobStatus.SUCCEEDED:
        return ""
    return f"{found.error.code}: {found.error.message}"


def _cost(found: Job) -> str:
    if found.remote is None:
        return ""
    cost = found.remote.cost
    said = {
        CostState.NONE: "not billed; estimated",
        CostState.MAYBE: "perhaps billed; estimated",
        CostState.BILLED: "billed" if cost.actual is not None else "billed; estimated",
    }
    return f"{cost.known:.4g} {cost.unit} by {found.remote.service}, {said[cost.state]}"


def _params(params: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in params.items())


def _value(value: object) -> str:
    """Return a parameter as `-p` takes it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else plain(value)


def _version(number: int | None) -> str:
    return "" if number is None else f"v{number}"


def _version_line(form: Form, version: Version) -> tuple[str, str]:
    files = ", ".join(_file(form, file) for file in version.files)
    kind = "" if version.kind == version.primary.name else f"{version.kind}: "
    return _version(version.number), kind + files


def _file(form: Form, file: File) -> str:
    parts = (file.name, form.duration(file.duration), form.audio(file.sample_rate, file.channels))
    return " ".join(filter(None, (*parts, form.size(file.size_bytes))))


def _filled(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if value]
