"""A processor whose work a service over HTTP does, told by a profile: a TOML file. See docs/howto/use-an-http-service.md."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from musproj.application.http_profile import HttpProfile, read_profile
from musproj.application.params import canonical
from musproj.application.processor_file import params_class
from musproj.errors import NeedsJobError
from musproj.ports.processor import (
    Context,
    InputFile,
    Outcome,
    Processor,
    ProcessorSpec,
    RemoteTask,
)
from musproj.processors.elsewhere import paid_spec


@attrs.frozen(slots=False)
class HttpService(Processor):
    """Has its work done by the service of a profile, as a job that no worker waits for."""

    profile: HttpProfile

    @cached_property
    def _spec(self) -> ProcessorSpec:
        profile = self.profile
        return paid_spec(
            profile.name,
            version=profile.version,
            summary=profile.summary,
            params=params_class("HttpParams", profile.params),
            outputs=profile.outputs,
            publishes=profile.publishes,
            moves_head=profile.moves_head,
            for_params=self._given,
        )

    @property
    def spec(self) -> ProcessorSpec:
        """The declaration."""
        return self._spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Be carried to another process as the profile, from which the rest is made anew."""
        return HttpService, (self.profile,)

    def run(self, inputs: Mapping[str, InputFile], params: Any, ctx: Context) -> Outcome:  # noqa: ARG002 - the port's
        """Refuse: there is nothing to run here.

        Raises:
            NeedsJobError: always.
        """
        raise NeedsJobError.of(self.profile.name)

    def _given(self, params: Any) -> ProcessorSpec:
        profile = self.profile
        task = RemoteTask(
            service=profile.name,
            request=canonical(params),
            files=profile.labels,
            changes_duration=profile.changes_duration,
        )
        return attrs.evolve(self._spec, task=task)


def read_service(path: Path) -> HttpService:
    """Return the processor that a profile describes.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the text tells what.
    """
    return HttpService(read_profile(path))
