"""Whether this installation has what a processor needs, before a job is begun here."""

from musproj.errors import MissingExtraError
from musproj.ports.processor import ProcessorSpec
from musproj.registry import missing_modules


def require_libraries(spec: ProcessorSpec) -> None:
    """Do nothing where the processor can run.

    Raises:
        MissingExtraError: a library of it is not installed; the text is the pip line.
    """
    missing = missing_modules(spec.requires)
    if missing:
        raise MissingExtraError(missing[0], spec.extra or "all")
