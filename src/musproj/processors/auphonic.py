"""`auphonic`: levelling, noise reduction and loudness by Auphonic; a version, paid by the account's credits."""

import attrs

from musproj.ports.processor import Port, ProcessorSpec, RemoteTask
from musproj.processors._runs.auphonic_params import AuphonicParams
from musproj.processors.elsewhere import Elsewhere, paid_spec

SERVICE = "auphonic"


def auphonic_task(params: AuphonicParams, port: str = "enhanced") -> RemoteTask:
    """Return what Auphonic is asked for."""
    return RemoteTask(
        service=SERVICE,
        request=params.request,
        files={params.format: port},
        changes_duration=params.changes_duration,
    )


def _given(params: AuphonicParams) -> ProcessorSpec:
    return attrs.evolve(SPEC, task=auphonic_task(params))


SPEC = paid_spec(
    SERVICE,
    version="1",
    summary="Levelling, noise reduction and loudness by Auphonic, for credits",
    params=AuphonicParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("enhanced", "enhanced"),),
    publishes="version",
    moves_head=True,
    for_params=_given,
)


auphonic = Elsewhere(SPEC)
