"""Second-order filters, run as matrix products.

A recursive filter needs each output before the next, which no numpy operation does fast. Cut into blocks of
`_BLOCK` samples it is linear algebra: outputs are a triangular Toeplitz matrix times the inputs plus a matrix
times the state at the block's start, and those states follow from each other by a scan of doubling steps.
Against `scipy.signal.sosfilt` it is several times as fast, and scipy need not be loaded at all, which alone
costs a second and 70 MiB.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musproj.processors._formats.decoder import Floats

Sections = NDArray[np.float64]
"""(sections, 6): b0, b1, b2, 1, a1, a2 per row."""

_BLOCK = 64
_DOUBLINGS = 30
"""2 ** 30 samples: what rings longer is below any rate's lowest pole."""


def k_weighting(sample_rate: int) -> Sections:
    """Return BS.1770's two stages for any rate: the analogue filters, warped anew by the bilinear transform.

    The analogue parameters are those that give back ITU-R BS.1770-5 tables 1 and 2 at 48 kHz (libebur128 uses
    the same). The high-pass keeps the table's b = 1, -2, 1, not divided by a0.
    """
    shelf_gain = 10 ** (3.999843853973347 / 20)
    middle = shelf_gain**0.4996667741545416
    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    norm = 1 + k / q + k * k
    shelf = [shelf_gain + middle * k / q + k * k, 2 * (k * k - shelf_gain), shelf_gain - middle * k / q + k * k]
    low = _denominator(38.13547087602444, 0.5003270373238773, sample_rate)
    return np.array([[*(b / norm for b in shelf), *_normal(k, q)], [1.0, -2.0, 1.0, *low]])


def highpass(sample_rate: int, hz: float) -> Sections:
    """Return a fourth-order Butterworth high-pass: two sections with Q = 1 / (2 cos(π/8)) and 1 / (2 cos(3π/8))."""
    rows: list[list[float]] = []
    for q in (0.5 / math.cos(math.pi / 8), 0.5 / math.cos(3 * math.pi / 8)):
        k = math.tan(math.pi * hz / sample_rate)
        norm = 1 + k / q + k * k
        rows.append([1 / norm, -2 / norm, 1 / norm, *_normal(k, q)])
    return np.array(rows)


def _denominator(hz: float, q: float, sample_rate: int) -> list[float]:
    return _normal(math.tan(math.pi * hz / sample_rate), q)


def _normal(k: float, q: float) -> list[float]:
    """Return 1, a1, a2 of a section with pole frequency tan(π f / fs) = k."""
    norm = 1 + k / q + k * k
    return [1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm]


class SectionFilter:
    """Filters planar blocks one after the other, keeping the state between them."""

    def __init__(self, sections: Sections, channels: int, dtype: type[np.float32 | np.float64]) -> None:
        """Compute in `dtype`; the state, whose poles lie close to 1, is always float64."""
        a, b, c, d = _balanced(*_state_space(sections))
        self._a = a
        self._dtype = dtype
        powers = [np.eye(len(a))]
        for _ in range(_BLOCK):
            powers.append(powers[-1] @ a)
        impulse = np.array([d, *(float(c @ power @ b) for power in powers[: _BLOCK - 1])])
        lag = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]  # output index - input index
        self._forward: Floats = np.where(lag >= 0, impulse[np.maximum(lag, 0)], 0.0).astype(dtype)
        self._observe: Floats = np.array([c @ power for power in powers[:_BLOCK]]).T.astype(dtype)
        self._gather: Floats = np.array([powers[_BLOCK - 1 - index] @ b for index in range(_BLOCK)]).astype(dtype)
        self._powers = powers
        self._steps: dict[int, NDArray[np.float64]] = {1: powers[_BLOCK]}
        self._state: NDArray[np.float64] = np.zeros((channels, len(a)))

    def __call__(self, planar: Floats) -> Floats:
        """Return the filtered (channels, frames), in the filter's dtype."""
        channels, frames = planar.shape
        whole = frames - frames % _BLOCK
        out: Floats = np.empty((channels, frames), self._dtype)
        if whole:
            rows: Floats = planar[:, :whole].reshape(channels, -1, _BLOCK).astype(self._dtype, copy=False)
            states = self._scan(rows)
            body: Floats = rows @ self._forward
            body += states[:, :-1].astype(self._dtype, copy=False) @ self._observe
            out[:, :whole] = body.reshape(channels, -1)
            self._state = states[:, -1]
        if whole < frames:
            out[:, whole:] = self._remainder(planar[:, whole:])
        return out

    def _scan(self, rows: Floats) -> NDArray[np.float64]:
        """Return the state at the start of each row, and the one behind the last."""
        driven: NDArray[np.float64] = (rows @ self._gather).astype(np.float64)
        states: NDArray[np.float64] = np.concatenate([self._state[:, None], driven], axis=1)
        shift = 1
        while shift < states.shape[1]:
            states[:, shift:] += states[:, :-shift] @ self._step(shift).T
            shift *= 2
        return states

    def _step(self, blocks: int) -> NDArray[np.float64]:
        """Return the matrix that carries a state over `blocks` blocks, a power of two."""
        if blocks not in self._steps:
            half = self._step(blocks // 2)
            self._steps[blocks] = half @ half
        return self._steps[blocks]

    def _remainder(self, rest: Floats) -> Floats:
        count = rest.shape[1]
        out: Floats = rest.astype(self._dtype) @ self._forward[:count, :count]
        out = out + self._state @ self._observe[:, :count]
        self._state = self._state @ self._powers[count].T + rest @ self._gather[_BLOCK - count :]
        return out.astype(self._dtype, copy=False)


def _balanced(a: Any, b: Any, c: Any, d: float) -> tuple[Any, Any, Any, float]:
    """Return the same filter in coordinates whose length is the energy that the state will yet put out.

    The direct form's states are huge and cancel each other where poles lie close to 1; in these coordinates
    (observability Gramian = identity) an error of the state is an error of the same size in the output.
    """
    gramian, power = np.outer(c, c), a
    for _ in range(_DOUBLINGS):
        gramian = gramian + power.T @ gramian @ power
        power = power @ power
    turn = np.linalg.cholesky(gramian).T
    back = np.linalg.inv(turn)
    return turn @ a @ back, turn @ b, c @ back, d


def _state_space(sections: Sections) -> tuple[Any, Any, Any, float]:
    """Return A, B, C, D of the sections in a row, each in transposed direct form II."""
    size = 2 * len(sections)
    a, b, c, d = np.zeros((size, size)), np.zeros(size), np.zeros(size), 1.0
    for index, (b0, b1, b2, _, a1, a2) in enumerate(sections):
        here = slice(2 * index, 2 * index + 2)
        own_b = np.array([b1 - a1 * b0, b2 - a2 * b0])
        a[here] += np.outer(own_b, c)  # what the sections before put out drives this one
        a[here, here] = [[-a1, 1.0], [-a2, 0.0]]
        b[here] = own_b * d
        c = b0 * c
        c[2 * index] += 1.0
        d *= b0
    return a, b, c, d
