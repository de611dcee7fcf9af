"""What a running processor sees of its worker, and what the worker sees of it."""

import math
from abc import abstractmethod
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from musproj.application.models import NO_MODELS, ModelFolder
from musproj.domain.text import printable
from musproj.ports.processor import Context, ModelFile

UNPUBLISHED = 99
"""Percent of a run whose processing is done; 100 belongs to the committed job."""


class Phase(IntEnum):
    """Where a run is; each has its own way to fail."""

    FETCH = 0
    PROCESS = 1
    PUBLISH = 2


class Pulse(Protocol):
    """The line between a run and whoever watches it; every method costs next to nothing."""

    __slots__ = ()

    @abstractmethod
    def enter(self, phase: Phase) -> None:
        """Note that the run is in `phase` now."""

    @abstractmethod
    def report(self, percent: int, stage: str | None) -> None:
        """Note how far the run is; a stage of None leaves the one before."""

    @abstractmethod
    def check(self) -> None:
        """Do nothing while the run may go on.

        Raises:
            JobCancelledError: it shall stop.
        """


class RunContext(Context):
    """The context of one run: progress never falls, warnings are collected."""

    __slots__ = ("_models", "_percent", "_pulse", "_used", "_warnings", "_workdir")

    def __init__(self, workdir: Path, pulse: Pulse, models: ModelFolder = NO_MODELS) -> None:
        """Begin at 0 percent in the empty folder `workdir`."""
        self._workdir = workdir
        self._pulse = pulse
        self._models = models
        self._used: list[ModelFile] = []
        self._percent = 0
        self._warnings: list[dict[str, object]] = []

    @property
    def workdir(self) -> Path:
        """The processor's own folder."""
        return self._workdir

    @property
    def warnings(self) -> list[dict[str, object]]:
        """What was warned of so far."""
        return self._warnings

    @property
    def models(self) -> list[ModelFile]:
        """The models that were asked for so far."""
        return self._used

    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Report whole percents, after a look whether the run may go on."""
        self._pulse.check()
        if math.isfinite(fraction):
            self._percent = max(self._percent, int(UNPUBLISHED * min(max(fraction, 0.0), 1.0)))
        self._pulse.report(self._percent, None if stage is None else printable(stage))

    def check(self) -> None:
        """Look whether the run may go on."""
        self._pulse.check()

    def model(self, name: str) -> ModelFile:
        """Find it, and remember that it took part."""
        found = self._models.find(name)
        if found not in self._used:
            self._used.append(found)
        return found

    def warn(self, code: str, message: str, **facts: object) -> None:
        """Keep the warning for the result."""
        self._warnings.append({"code": printable(code), "message": printable(message), **facts})


class CallbackPulse(Pulse):
    """Tells a function, each time that something it shows has changed; nobody can stop such a run."""

    __slots__ = ("_shown", "_stage", "_tell")

    def __init__(self, tell: Callable[[int, str | None], None]) -> None:
        """Report percent and stage to `tell`."""
        self._tell = tell
        self._stage: str | None = None
        self._shown: tuple[int, str | None] | None = None

    def enter(self, phase: Phase) -> None:
        """Show nothing: the stages say it."""

    def report(self, percent: int, stage: str | None) -> None:
        """Call the function where percent or stage differ from what it was told last."""
        self._stage = stage or self._stage
        if self._shown != (percent, self._stage):
            self._shown = (percent, self._stage)
            self._tell(percent, self._stage)

    def check(self) -> None:
        """Let the run go on."""
