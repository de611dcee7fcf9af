"""How large an audio file may claim to be, and may turn out to be."""

import attrs

from musproj.errors import LimitExceededError


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds that are checked against the header and again while decoding."""

    max_channels: int = 8
    """FLAC and the loudness weights end at 8; libsndfile would open 1,024."""
    min_sample_rate: int = 4_000
    """Hz."""
    max_sample_rate: int = 384_000
    """Hz."""
    max_duration_seconds: float = 6 * 3600.0

    def check(self, *, sample_rate: int, channels: int, frames: int | None) -> None:
        """Refuse facts beyond the limits.

        Raises:
            LimitExceededError: with `limit`, `value` and `max` (or `min`) among its facts.
        """
        if channels > self.max_channels:
            _exceeded("channels", channels, self.max_channels)
        if sample_rate > self.max_sample_rate:
            _exceeded("sampleRate", sample_rate, self.max_sample_rate)
        if sample_rate < self.min_sample_rate:
            raise LimitExceededError(
                f"sampleRate is {sample_rate}, the least allowed is {self.min_sample_rate}",
                limit="sampleRate",
                value=sample_rate,
                min=self.min_sample_rate,
            )
        if frames is not None and frames > self.max_frames(sample_rate):
            _exceeded("duration", round(frames / sample_rate, 3), self.max_duration_seconds)

    def max_frames(self, sample_rate: int) -> int:
        """Return how many frames of `sample_rate` Hz the longest file may have."""
        return int(self.max_duration_seconds * sample_rate)


DEFAULT_LIMITS = Limits()


def _exceeded(limit: str, value: float, most: float) -> None:
    raise LimitExceededError(f"{limit} is {value}, the most allowed is {most}", limit=limit, value=value, max=most)
