"""What every decoder can do, and the array types that they share."""

from abc import abstractmethod
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.header import Header

Block: TypeAlias = NDArray[Any]
"""(frames, channels); float32 with full scale ±1.0, or int16 or int32 filling their range."""
Planar: TypeAlias = NDArray[np.float32]
"""float32 (channels, frames), each channel contiguous, full scale ±1.0: the shape that DSP wants."""
Floats: TypeAlias = NDArray[Any]
"""float32 or float64, as the computation wants."""


class Decoder(Protocol):
    """Reads one open file from front to back; used by one thread."""

    __slots__ = ()

    @property
    @abstractmethod
    def header(self) -> Header:
        """The facts, with the sample rate and channels of what `read` gives."""

    @property
    @abstractmethod
    def claim_slack(self) -> int:
        """Frames by which the claimed length may differ without anything being wrong."""

    @abstractmethod
    def read(self, out: Block) -> int:
        """Fill `out` from its start and return the frames read; fewer than asked for only at the end.

        Raises:
            AudioCorruptError: damage in the middle of the file.
        """

    @abstractmethod
    def seek(self, frame: int) -> bool:
        """Go to `frame` exactly, or return False where only decoding from the start is exact."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; again does nothing."""
