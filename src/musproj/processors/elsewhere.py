"""A processor whose work an outside service does: a declaration, and no run."""

from collections.abc import Mapping
from typing import Any

import attrs

from musproj.errors import NeedsJobError
from musproj.ports.processor import Context, InputFile, Outcome, Processor, ProcessorSpec, service_need

_PRELOAD = ("httpx", "musproj.adapters.services.opening", "musproj.processors.blocks", "soundfile")
"""What a run of a job imports."""
_TIMEOUT_S = 43_200.0
"""A run sends and fetches, at 64 KiB/s in the worst case; it waits for nothing."""


def paid_spec(service: str, **declared: Any) -> ProcessorSpec:
    """Return the spec of a processor whose work `service` does: what all of them declare, and `declared`."""
    needs = (service_need(service),)
    return ProcessorSpec(
        name=service,
        paid=True,
        memory_mb=120,
        speed=1.0,
        preload=_PRELOAD,
        extra="services",
        requires=("httpx",),
        needs=lambda _params: needs,
        timeout_seconds=_TIMEOUT_S,
        **declared,
    )


@attrs.frozen
class Elsewhere(Processor):
    """Declares; the engine of remote operations does the rest (`musproj.application.remote_run`)."""

    spec: ProcessorSpec = attrs.field()  # pyright: ignore[reportIncompatibleMethodOverride] -- a field is a property

    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:  # noqa: ARG002 - the port's shape
        """Refuse: without a job's record, nothing would tell what was bought already.

        Raises:
            NeedsJobError: always.
        """
        raise NeedsJobError.of(self.spec.name)
