"""What happens to samples that are no numbers, or absurd ones.

NaN passes through libsndfile unchanged; written to MP3 it aborts the process, written to Vorbis or Opus it
silences the whole file. So nothing that is not finite leaves the reader.
"""

from typing import Literal, TypeAlias

import numpy as np

from musproj.errors import NonFiniteError
from musproj.ports.processor import Context
from musproj.processors._formats.decoder import Block

NonFinite: TypeAlias = Literal["zero", "reject"]

MAX_MAGNITUDE = 1e4
"""+80 dBFS: beyond it a sample is damage, and squares of it would soon overflow float32."""
MAX_NON_FINITE_SHARE = 0.01
"""More is not a glitch that may be replaced by silence."""


class Sanitizer:
    """Cleans blocks in place and counts what it found."""

    def __init__(self, on_nonfinite: NonFinite, *, judges: bool = True) -> None:
        """Replace what is not finite by 0, or refuse it; without judging, replace it and keep quiet."""
        self._reject = judges and on_nonfinite == "reject"
        self._judges = judges
        self.non_finite = 0
        self.out_of_range = 0

    def clean(self, block: Block, *, trusted: bool) -> None:
        """Make `block` finite and within ±1e4; integers are `trusted` to be so.

        Raises:
            NonFiniteError: it is to be refused.
        """
        if trusted:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious:
            self._zero(block)
        if max(block.max(), -block.min()) > MAX_MAGNITUDE:
            self.out_of_range += int(np.count_nonzero(np.abs(block) > MAX_MAGNITUDE))
            np.clip(block, -MAX_MAGNITUDE, MAX_MAGNITUDE, out=block)

    def finish(self, samples: int, context: Context | None) -> None:
        """Warn of what was found among all `samples`.

        Raises:
            NonFiniteError: more than 1 % of them were not finite.
        """
        if not self._judges:
            return
        if self.non_finite > samples * MAX_NON_FINITE_SHARE:
            raise NonFiniteError(f"{self.non_finite} of {samples} samples are not finite", samples=self.non_finite)
        if context is None:
            return
        if self.non_finite:
            message = f"{self.non_finite} samples were not finite and became 0."
            context.warn("nonFinite", message, samples=self.non_finite)
        if self.out_of_range:
            message = f"{self.out_of_range} samples beyond ±{MAX_MAGNITUDE:g} were clipped."
            context.warn("outOfRange", message, samples=self.out_of_range)

    def _zero(self, block: Block) -> None:
        wrong = ~np.isfinite(block)
        count = int(np.count_nonzero(wrong))
        if count and self._reject:
            raise NonFiniteError(f"{count} samples are not finite", samples=count)
        self.non_finite += count
        block[wrong] = 0
