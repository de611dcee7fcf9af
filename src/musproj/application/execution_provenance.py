"""What is needed to make a version again."""

import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache

from musproj.application.execution_inputs import RecordedInput
from musproj.domain.job import Job
from musproj.domain.version import Provenance, ProvenanceModel
from musproj.ports.processor import ABILITIES, ModelFile, ProcessorSpec


def provenance_of(
    job: Job,
    spec: ProcessorSpec,
    canonical_params: Mapping[str, object],
    inputs: Iterable[RecordedInput],
    models: Iterable[ModelFile] = (),
) -> Provenance:
    """Return the provenance of what `spec` made for `job` in this process."""
    return Provenance(
        job_id=job.job_id,
        processor=spec.name,
        processor_version=spec.version,
        params=canonical_params,
        inputs=tuple(given.provenance for given in inputs),
        libraries=libraries_of((*spec.requires, *(module for need in job.needs for module in ABILITIES.get(need, ())))),
        steps=spec.steps or None,
        models=tuple(ProvenanceModel(name=one.name, sha256=one.sha256) for one in models) or None,
    )


@cache
def libraries_of(modules: tuple[str, ...]) -> Mapping[str, str]:
    """Return module → installed version of `modules`, with `musproj`, `python` and `machine`.

    The first call reads package metadata and is slow; a worker makes it before it forks.
    """
    # Imported on use: a third of what `import musproj` costs.
    from importlib import metadata  # noqa: PLC0415

    found: dict[str, str] = {}
    for name in dict.fromkeys(("musproj", *modules)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            # A module that is not called as its package, or is on the path without one.
            version = getattr(sys.modules.get(name), "__version__", None)
            if isinstance(version, str):
                found[name] = version
    return {**found, "python": platform.python_version(), "machine": platform.machine()}
