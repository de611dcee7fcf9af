"""One at a time per key, within this process."""

import threading
from collections.abc import Generator, Hashable
from contextlib import contextmanager


class Turns:
    """Keeps calls that would do the same costly work from doing it at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: set[Hashable] = set()

    @contextmanager
    def take(self, key: Hashable, *, patience_s: float) -> Generator[bool]:
        """Wait for the key's turn; give False where it did not come within `patience_s` seconds."""
        with self._changed:
            is_mine = self._changed.wait_for(lambda: key not in self._taken, patience_s)
            if is_mine:
                self._taken.add(key)
        try:
            yield is_mine
        finally:
            if is_mine:
                with self._changed:
                    self._taken.discard(key)
                    self._changed.notify_all()
