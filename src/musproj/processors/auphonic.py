"""`auphonic`: levelling, noise reduction and loudness by Auphonic; a version, paid by the account's credits."""

import attrs

from musproj.ports.processor import Port, ProcessorSpec, RemoteTask, service_need
from musproj.processors._runs.auphonic_params import AuphonicParams
from musproj.processors.elsewhere import PRELOAD, TIMEOUT_S, Elsewhere

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


def _needs(_params: AuphonicParams) -> tuple[str, ...]:
    return (service_need(SERVICE),)


SPEC = ProcessorSpec(
    name="auphonic",
    version="1",
    summary="Levelling, noise reduction and loudness by Auphonic, for credits",
    params=AuphonicParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("enhanced", "enhanced"),),
    publishes="version",
    moves_head=True,
    paid=True,
    memory_mb=120,
    speed=1.0,
    preload=PRELOAD,
    extra="services",
    requires=("httpx",),
    needs=_needs,
    for_params=_given,
    timeout_seconds=TIMEOUT_S,
)


auphonic = Elsewhere(SPEC)
