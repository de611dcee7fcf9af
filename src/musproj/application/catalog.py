"""The processors of this installation, as the use cases see them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from musproj.application.presets import Preset
from musproj.ports.processor import Processor, ProcessorSpec


class Catalog(Protocol):
    """Finds processors by name; reading a spec imports none of its audio libraries."""

    __slots__ = ()

    @abstractmethod
    def get(self, name: str) -> Processor:
        """Return the processor of that name.

        Raises:
            UnknownJobTypeError: there is none; the text names the nearest.
        """

    @abstractmethod
    def specs(self) -> Sequence[ProcessorSpec]:
        """Return the specs of all that load, by name."""

    @abstractmethod
    def runnable(self) -> frozenset[str]:
        """Return the names of those whose libraries are installed here."""

    @abstractmethod
    def abilities(self) -> frozenset[str]:
        """Return what a job's `needs` may name and this installation has: `codecs`, …"""

    @property
    @abstractmethod
    def presets(self) -> Mapping[str, Preset]:
        """The presets of this installation, by name."""

    @property
    @abstractmethod
    def engines(self) -> Mapping[str, str]:
        """Processor → the engine that it runs with where a job names none."""
