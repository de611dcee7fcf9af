"""A file that somebody else made, decoded to its end: a header proves little."""

from collections.abc import Callable
from pathlib import Path

from musproj.errors import MissingExtraError, UnsupportedFormatError
from musproj.ports.processor import Decoded
from musproj.processors.limits import DEFAULT_LIMITS, Limits


def decode_file(path: Path, check: Callable[[], None], limits: Limits = DEFAULT_LIMITS) -> Decoded | None:
    """Decode all of `path` in this process, as `musproj.ports.processor.Decode` says.

    Raises:
        ProcessingError: what a block reader meets on the way: no audio, damage, a limit, samples that are no numbers.
    """
    try:
        from musproj.processors import blocks

        with blocks.reader(path, limits=limits) as source:
            for _ in source:
                check()
            return Decoded(duration=source.frames_read / source.sample_rate, non_finite=source.non_finite_samples)
    except (ModuleNotFoundError, MissingExtraError):
        return None
    except UnsupportedFormatError as exc:
        if "extra" in exc.facts:
            return None
        raise
