"""Raised-cosine fades on a stream whose end is not known before it comes."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from musproj.processors._formats.decoder import Block


class Fades:
    """Takes blocks and gives them back faded; as many samples as the fade-out has wait for the end."""

    def __init__(self, fade_in: int, fade_out: int) -> None:
        """Fade over so many samples; 0 is none."""
        self._in = fade_in
        self._out = fade_out
        self._at = 0
        self._held: deque[Block] = deque()
        self._held_frames = 0

    def feed(self, block: Block) -> Iterator[Block]:
        """Yield what is ready, float32 (frames, channels); the arrays are the caller's."""
        self._held.append(self._faded_in(block))
        self._held_frames += len(block)
        while self._held and self._held_frames - len(self._held[0]) >= self._out:
            self._held_frames -= len(self._held[0])
            yield self._held.popleft()

    def finish(self) -> Iterator[Block]:
        """Yield the rest; where all is shorter than the fade, the fade is as long as all."""
        length = min(self._out, self._held_frames)
        before = self._held_frames - length
        at = 0
        for block in self._held:
            first = min(len(block), max(0, before - at))
            left = length - max(0, at - before)
            block[first:] *= _ramp(length, left - (len(block) - first), len(block) - first)[::-1, None]
            at += len(block)
            yield block

    def _faded_in(self, block: Block) -> Block:
        todo = min(max(0, self._in - self._at), len(block))
        out: Block = block.copy()
        out[:todo] *= _ramp(self._in, self._at, todo)[:, None]
        self._at += len(block)
        return out


def _ramp(length: int, start: int, count: int) -> Block:
    """Return `count` values from place `start` of a rise over `length` samples, float32; both ends are half a step off."""
    place = (np.arange(start, start + count) + 0.5) / max(1, length)
    rise: Block = (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)
    return rise
