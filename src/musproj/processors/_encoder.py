"""What every encoder can do."""

from abc import abstractmethod
from typing import Protocol

from musproj.processors._decoder import Block


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
