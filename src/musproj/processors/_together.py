"""Contexts for passes that run in step: their run has come as far as they have on average."""

from pathlib import Path

import attrs

from musproj.ports.processor import Context


class Together:
    """Hands a context to each of several passes that advance at the same time."""

    def __init__(self, context: Context, names: tuple[str, ...]) -> None:
        """Tell `context` the mean of what the passes called `names` tell."""
        self.context = context
        self._done = dict.fromkeys(names, 0.0)

    def part(self, name: str, *, is_quiet: bool = False) -> Context:
        """Return the context of one pass; a quiet one keeps its warnings to itself."""
        return _Part(self, name, is_quiet)

    def tell(self, name: str, fraction: float, stage: str | None) -> None:
        """Note how far one pass is, and pass the mean on."""
        self._done[name] = fraction
        self.context.progress(min(1.0, sum(self._done.values()) / len(self._done)), stage)


@attrs.frozen
class _Part(Context):
    together: Together
    name: str
    is_quiet: bool

    @property
    def workdir(self) -> Path:
        return self.together.context.workdir

    def progress(self, fraction: float, stage: str | None = None) -> None:
        self.together.tell(self.name, fraction, stage)

    def check(self) -> None:
        self.together.context.check()

    def warn(self, code: str, message: str, **facts: object) -> None:
        if not self.is_quiet:
            self.together.context.warn(code, message, **facts, port=self.name)
