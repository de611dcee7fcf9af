"""Contexts that stand between a pass and its run: for passes in step, and for those that have nothing to warn of."""

from pathlib import Path

import attrs

from musproj.ports.processor import Context, ModelFile


@attrs.frozen
class Quiet(Context):
    """The context of a further pass over a file, whose warnings the first one gave."""

    context: Context

    @property
    def workdir(self) -> Path:
        """The same folder."""
        return self.context.workdir

    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Pass it on."""
        self.context.progress(fraction, stage)

    def check(self) -> None:
        """Pass it on."""
        self.context.check()

    def model(self, name: str) -> ModelFile:
        """Pass it on."""
        return self.context.model(name)

    def warn(self, code: str, message: str, **facts: object) -> None:
        """Keep it."""


class Together:
    """Tells a run's progress where several passes advance at the same time: as far as they are on average.

    Hands a context to each of them.
    """

    def __init__(self, context: Context, names: tuple[str, ...]) -> None:
        """Tell `context` the mean of what the passes called `names` tell."""
        self.context = context
        self._done = dict.fromkeys(names, 0.0)

    def part(self, name: str) -> Context:
        """Return the context of one pass."""
        return _Part(self, name)

    def tell(self, name: str, fraction: float, stage: str | None) -> None:
        """Note how far one pass is, and pass the mean on."""
        self._done[name] = fraction
        self.context.progress(min(1.0, sum(self._done.values()) / len(self._done)), stage)


@attrs.frozen
class _Part(Context):
    together: Together
    name: str

    @property
    def workdir(self) -> Path:
        return self.together.context.workdir

    def progress(self, fraction: float, stage: str | None = None) -> None:
        self.together.tell(self.name, fraction, stage)

    def check(self) -> None:
        self.together.context.check()

    def model(self, name: str) -> ModelFile:
        return self.together.context.model(name)

    def warn(self, code: str, message: str, **facts: object) -> None:
        self.together.context.warn(code, message, **facts, port=self.name)
