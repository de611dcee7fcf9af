"""What every encoder can do, and what it is told to make."""

from abc import abstractmethod
from pathlib import Path
from typing import Protocol

import attrs

from musproj.processors._formats.decoder import Block
from musproj.processors._formats.tags import Tags


@attrs.frozen(kw_only=True)
class Target:
    """The file to make."""

    path: Path
    """Its extension names the container."""
    subtype: str | None
    """libsndfile's name, and `AAC` beside it; None is the container's usual one."""
    sample_rate: int
    channels: int
    frames: int | None = None
    """Expected length; a hint."""
    speakers: tuple[str, ...] | None = None
    dither_seed: int | None = None
    quality: float = 0.5
    """0 to 1; read by codecs with loss."""
    bitrate_kbps: int | None = None
    """kbit/s of all channels; goes before `quality`."""
    tags: Tags = attrs.field(factory=Tags)

    @property
    def suffix(self) -> str:
        """The extension in lower case, with its dot."""
        return self.path.suffix.lower()


class Encoder(Protocol):
    """Writes one audio file from front to back."""

    __slots__ = ()

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames written."""

    @property
    @abstractmethod
    def clipped_samples(self) -> int:
        """Samples that did not fit the integers."""

    @abstractmethod
    def write(self, block: Block) -> None:
        """Append a block."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""

    @abstractmethod
    def abort(self) -> None:
        """Remove the file."""
