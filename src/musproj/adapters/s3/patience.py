"""How long a store that is slow or away is waited for."""

import random

import attrs


@attrs.frozen(kw_only=True)
class Patience:
    """Limits of one request, and of its repeats."""

    tries: int
    connect_s: float
    read_s: float
    """Between two pieces of an answer."""
    first_pause_s: float
    longest_pause_s: float
    """A store that asks for more is given up at once."""

    def pause(self, failures: int, asked_s: float | None) -> float | None:
        """Return how long to wait after so many failures in a row, or None where it is time to give up."""
        if failures >= self.tries or (asked_s is not None and asked_s > self.longest_pause_s):
            return None
        pause = min(self.first_pause_s * 2.0 ** (failures - 1), self.longest_pause_s)
        # Jitter, so that those who were refused together do not come back together.
        return max(pause * random.uniform(0.5, 1), asked_s or 0.0)  # noqa: S311 - no secret


PATIENT = Patience(tries=5, connect_s=5, read_s=60, first_pause_s=0.25, longest_pause_s=20)
"""A worker, whose hours of work would be lost."""
BRISK = Patience(tries=2, connect_s=2, read_s=4, first_pause_s=0.1, longest_pause_s=2)
"""Somebody waits for the answer."""
