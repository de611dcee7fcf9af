"""The ends of a loop, to the sample, and the crossfade that closes it."""

import attrs
import numpy as np

from musproj.processors._formats.decoder import Block, Floats

_AROUND_SECONDS = 0.125
"""Compared on either side of each end."""
_SEARCH_SECONDS = 0.05
_ATTACK_SECONDS, _ATTACK_HOP_SECONDS, _ATTACK_RATIO = 0.025, 0.001, 4.0
_CROSSING_SECONDS = 0.001
_OFF_PLACE = 0.02
"""What the farthest length loses against the one that was expected."""


@attrs.frozen
class Stretch:
    """Mono samples of a part of a file."""

    begin: int
    """Its first frame; below 0 before the file, where there is silence."""
    samples: Floats

    @property
    def end(self) -> int:
        """The frame behind its last one."""
        return self.begin + len(self.samples)

    def part(self, begin: int, end: int) -> Floats:
        """Return its samples from one frame of the file to another."""
        return self.samples[begin - self.begin : end - self.begin]


@attrs.frozen
class Seam:
    """A loop to the sample."""

    start: int
    length: int
    correlation: float
    """-1 to 1: of a quarter of a second around each end."""


def bounds(start: int, length: int, rate: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the frames around each end that `refined` needs to see."""
    near = round((_AROUND_SECONDS + _ATTACK_SECONDS + 2 * _CROSSING_SECONDS) * rate) + 1
    far = near + round(_SEARCH_SECONDS * rate) + 1
    return (start - near, start + near), (start + length - far, start + length + far)


def refined(start: int, length: int, rate: int, head: Stretch, tail: Stretch) -> Seam:
    """Return the loop near `start` and `length` (frames) that begins with an attack and closes best."""
    begin = _before_crossing(head, _before_attack(head, start, rate), rate)
    around, search = round(_AROUND_SECONDS * rate), round(_SEARCH_SECONDS * rate)
    pattern = head.part(begin - around, begin + around).astype(np.float64)
    low = begin + length - around - search
    found = tail.part(low, low + 2 * (around + search) + 1).astype(np.float64)
    correlation = _correlation(pattern, found)
    away = np.abs(np.arange(len(correlation)) - search) / search
    best = int(np.argmax(correlation - _OFF_PLACE * away**2))
    return Seam(begin, length + best - search, float(np.clip(correlation[best], -1, 1)))


def crossfaded(ending: Block, leading: Block, place: Floats, correlation: float) -> Block:
    """Return `ending` turning into `leading`; `place` tells 0 to 1 for each frame how far it is.

    The sum is divided by what it would be for two signals of that correlation: equal gain where they are the same,
    equal power where they have nothing in common.
    """
    rising = (np.sin(0.5 * np.pi * place) ** 2)[:, None]
    alike = float(np.clip(correlation, 0, 1))
    level = np.sqrt(rising**2 + (1 - rising) ** 2 + 2 * alike * rising * (1 - rising))
    joined: Block = (((1 - rising) * ending + rising * leading) / level).astype(np.float32)
    return joined


def _before_attack(head: Stretch, start: int, rate: int) -> int:
    """Return the frame just before the sharpest rise near `start`, or `start` where nothing rises."""
    hop = max(1, round(_ATTACK_HOP_SECONDS * rate))
    before = 5
    reach = round(_ATTACK_SECONDS * rate) // hop
    first = start - (reach + before) * hop
    hops = head.part(first, first + (2 * reach + before) * hop)
    power = np.square(hops.reshape(-1, hop), dtype=np.float64).mean(axis=1) + 1e-10
    sums = np.concatenate([[0.0], np.cumsum(power)])
    ratio = power[before:] / ((sums[before:-1] - sums[: -before - 1]) / before)
    sharpest = int(np.argmax(ratio))
    return first + (before + sharpest - 1) * hop if ratio[sharpest] >= _ATTACK_RATIO else start


def _before_crossing(head: Stretch, start: int, rate: int) -> int:
    """Return the frame nearest to `start` at which the signal rises through 0, or `start` where none is near."""
    reach = max(1, round(_CROSSING_SECONDS * rate))
    near = head.part(start - reach - 1, start + reach + 1)
    rising = np.flatnonzero((near[:-1] <= 0) & (near[1:] > 0)) + 1
    if not len(rising):
        return start
    places = start - reach - 1 + rising
    return int(places[np.argmin(np.abs(places - start))])


def _correlation(pattern: Floats, found: Floats) -> Floats:
    """Return the normalised correlation of `pattern` with each equally long part of `found`."""
    size = 1 << (len(pattern) + len(found)).bit_length()
    spectrum = np.conj(np.fft.rfft(pattern, size)) * np.fft.rfft(found, size)
    product = np.fft.irfft(spectrum, size)[: len(found) - len(pattern) + 1]
    sums = np.concatenate([[0.0], np.cumsum(found**2)])
    energy, others = float(np.dot(pattern, pattern)), sums[len(pattern) :] - sums[: -len(pattern)]
    quiet = 1e-9 * len(pattern)  # -90 dBFS
    correlation: Floats = product / np.sqrt(np.maximum(energy, quiet) * np.maximum(others, quiet))
    if energy < quiet:
        correlation[others < quiet] = 1.0  # silence runs into silence without a seam
    return correlation
