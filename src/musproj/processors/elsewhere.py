"""A processor whose work an outside service does: a declaration, and no run."""

from collections.abc import Mapping
from typing import Any

import attrs

from musproj.errors import NeedsJobError
from musproj.ports.processor import Context, InputFile, Outcome, Processor, ProcessorSpec

PRELOAD = ("httpx", "musproj.adapters.services.opening", "musproj.processors.blocks", "soundfile")
"""What a run of a job imports."""
TIMEOUT_S = 43_200.0
"""A run sends and fetches, at 64 KiB/s in the worst case; it waits for nothing."""


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
