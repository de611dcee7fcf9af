"""The jobs that a confirm submits: checked and fixed at the request, made when the upload is there."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.presets import Choice
from musproj.domain import media
from musproj.domain.asset import Asset, ThenJob
from musproj.domain.ids import new_job_id
from musproj.domain.job import SINGLE_PORT, Job, JobInput
from musproj.domain.version import File
from musproj.errors import InvalidError, Violation


@attrs.frozen(kw_only=True)
class ThenRequest:
    """A job to submit on version 1 with the confirm."""

    type: str = ""
    preset: str | None = None
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])


def fixed(request: ThenRequest, place: str, catalog: Catalog, now: datetime) -> ThenJob:
    """Return the job of `request`; `place` is where it stands in the body.

    Raises:
        UnknownJobTypeError: it has no processor.
        PresetNotFoundError: no such preset.
        InvalidParamsError: its parameters are wrong.
        InvalidError: it needs more than one input.
    """
    try:
        choice = Choice(type=request.type, preset=request.preset, params=request.params)
        name, given = choice.resolved(catalog.presets)
        declared = catalog.get(name).spec
        parsed = params.parse(declared.params, given)
        processor = declared.given(parsed)
    except InvalidError as exc:
        raise _at(place, exc) from exc
    if [port.name for port in processor.inputs if port.required] != [SINGLE_PORT]:
        reason = f"{name} takes more than the one input of an upload"
        raise InvalidError(violations=(Violation(f"{place}/type", "invalid", reason),))
    return ThenJob(
        job_id=new_job_id(now),
        type=name,
        params=params.canonical(parsed),
        needs=processor.needs(parsed),
        processor_version=processor.version,
        max_attempts=processor.max_attempts,
    )


def jobs_of(asset: Asset, file: File, *, now: datetime, lifetime: timedelta, queue: str) -> list[Job]:
    """Return the jobs to submit on version 1, which is `file`."""
    return [
        Job(
            job_id=then.job_id,
            root_job_id=then.job_id,
            type=then.type,
            owner=asset.owner,
            inputs=(JobInput(port=SINGLE_PORT, asset_id=asset.asset_id, version=1),),
            params=then.params,
            needs=tuple(sorted({*media.needs_of(file.content_type), *then.needs})),
            processor_version=then.processor_version,
            created_at=now,
            updated_at=now,
            run_at=now,
            expires_at=now + lifetime,
            queue=queue,
            max_attempts=then.max_attempts,
        )
        for then in asset.upload.then
    ]


def _at(place: str, error: InvalidError) -> InvalidError:
    """Return the error of a part of a request, told as one of the whole."""
    inner = error.violations or (Violation("/type", "unknown", error.message),)
    violations = tuple(Violation(place + found.pointer, found.code, found.detail) for found in inner)
    return type(error)(error.message, violations=violations, hint=error.hint, **error.facts)
