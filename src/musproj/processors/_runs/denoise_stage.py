"""Noise reduction as a stage that measures what it does."""

from musproj.processors._dsp.floor import FloorMeter
from musproj.processors._dsp.gate import Method, NoiseReducer
from musproj.processors._formats.decoder import Planar
from musproj.processors._runs.stages import Stage


class DenoiseStage(Stage):
    """Lowers steady noise, and knows the noise floor before and after."""

    def __init__(
        self, sample_rate: int, channels: int, *, reduction_db: float, sensitivity: float = 1.0, method: Method = "gate"
    ) -> None:
        """Lower noise by up to `reduction_db`."""
        self._reducer = NoiseReducer(
            sample_rate, channels, reduction_db=reduction_db, sensitivity=sensitivity, method=method
        )
        self._before, self._after = FloorMeter(sample_rate, channels), FloorMeter(sample_rate, channels)

    def feed(self, samples: Planar) -> Planar:
        """Take more, return what is ready."""
        self._before.feed(samples)
        return self._given(self._reducer.feed(samples))

    def finish(self) -> Planar:
        """Return the rest."""
        return self._given(self._reducer.finish())

    def facts(self) -> dict[str, object]:
        """Return the result's keys; a floor that is digital silence has none."""
        floors = {
            "noiseFloorDbfsBefore": self._before.floor_dbfs(),
            "noiseFloorDbfsAfter": self._after.floor_dbfs(),
        }
        return {name: floor for name, floor in floors.items() if floor is not None}

    def _given(self, samples: Planar) -> Planar:
        self._after.feed(samples)
        return samples
