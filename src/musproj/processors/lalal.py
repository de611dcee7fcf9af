"""`lalal`: stems, clean speech or speech without music by LALAL.AI; one version with all files, paid by the minute."""

import attrs

from musproj.ports.processor import Port, ProcessorSpec, RemoteTask
from musproj.processors._runs.lalal_params import LalalParams
from musproj.processors.elsewhere import Elsewhere, paid_spec

SERVICE = "lalal"


def lalal_task(params: LalalParams) -> RemoteTask:
    """Return what LALAL.AI is asked for."""
    return RemoteTask(
        service=SERVICE,
        request={"call": params.call, "presets": params.presets},
        files=params.files,
        optional=params.optional,
    )


def _given(params: LalalParams) -> ProcessorSpec:
    outputs = tuple(Port(port, port, required=label not in params.optional) for label, port in params.files.items())
    return attrs.evolve(SPEC, outputs=outputs, task=lalal_task(params))


SPEC = paid_spec(
    SERVICE,
    version="1",
    summary="Stems, clean speech, or speech without music by LALAL.AI, for minutes",
    params=LalalParams,
    inputs=(Port("input", "source"),),
    outputs=(Port("vocals", "vocals"), Port("instrumental", "instrumental")),
    publishes="version",
    for_params=_given,
)


lalal = Elsewhere(SPEC)
