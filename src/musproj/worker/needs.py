"""What a job asks of the worker that runs it: inputs, memory, time."""

from collections.abc import Mapping

import attrs

from musproj.application import params
from musproj.application.execution_inputs import VersionRecords, recorded_info
from musproj.domain.ids import AssetId
from musproj.domain.job import Job
from musproj.domain.version import Version
from musproj.ports.processor import DEFAULT_MB, AudioInfo, ProcessorSpec
from musproj.worker import memory

UNKNOWN_LENGTH_S = 3_600.0
"""Time limit where nobody knows how long the audio is."""
SHORTEST_LIMIT_S = 60.0
PATIENCE = 10.0
"""How much slower than declared a processor may be."""

Versions = Mapping[tuple[AssetId, int], Version]


@attrs.frozen(kw_only=True)
class Needs:
    """What one run takes."""

    versions: Versions
    """The records of its inputs."""
    memory_mb: int
    """MiB that count against the worker's budget."""
    limit_bytes: int
    """Resident size over which the run is killed."""
    seconds: float
    """How long its processing may take."""


def needs_of(job: Job, declared: ProcessorSpec, records: VersionRecords, budget_mb: int) -> Needs:
    """Return what `job` needs.

    Raises:
        InvalidParamsError: it was submitted to another version of the processor, whose parameters differ.
        NotFoundError: a record of its inputs is gone.
        BackendUnavailableError: the store cannot be reached.
    """
    spec = declared.given(params.parse(declared.params, job.params))
    versions = {
        (wanted.asset_id, wanted.version): records.version(job.owner, wanted.asset_id, wanted.version)
        for wanted in job.inputs
    }
    infos = [recorded_info(versions[i.asset_id, i.version].file(i.file)) for i in job.inputs]
    most = max((mb for info in infos if (mb := spec.declared_mb(info)) is not None), default=None)
    return Needs(
        versions=versions,
        memory_mb=most if most is not None else DEFAULT_MB,
        limit_bytes=memory.limit_bytes(most, budget_mb),
        seconds=time_limit(spec, infos),
    )


def time_limit(spec: ProcessorSpec, infos: list[AudioInfo]) -> float:
    """Return for how many seconds `spec` may process inputs like `infos`."""
    if spec.timeout_seconds is not None:
        return spec.timeout_seconds
    durations = [info.duration for info in infos]
    if not durations or None in durations:
        return UNKNOWN_LENGTH_S
    longest = max(duration for duration in durations if duration is not None)
    return max(SHORTEST_LIMIT_S, PATIENCE * longest / spec.speed)
