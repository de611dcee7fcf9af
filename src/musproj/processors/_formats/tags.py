"""What a file tells beside its sound, and which of it a container takes; standard library only."""

from collections.abc import Mapping
from typing import Literal

import attrs

FIELDS = ("title", "artist", "album", "date", "comment", "track")
"""The names of the texts here, in results and in warnings."""
COVER = "cover"

_CARRIED = {"aiff": ("title", "artist", "comment")}
"""Containers that take fewer texts than all."""
_WITH_COVER = frozenset(("flac", "mp3", "m4a"))


@attrs.frozen
class Cover:
    """The front picture, as it lies in the file."""

    data: bytes
    media_type: Literal["image/jpeg", "image/png"]


@attrs.frozen(kw_only=True)
class Tags:
    """Texts by the names of `FIELDS`, none of them empty, and a picture."""

    fields: Mapping[str, str] = attrs.field(factory=dict[str, str])
    cover: Cover | None = None
    unread: tuple[str, ...] = ()
    """What is there, or may be, but cannot be read by this installation."""

    def fitted(self, suffix: str) -> tuple["Tags", tuple[str, ...]]:
        """Return what a file with the extension `suffix` (without dot) takes, and the names of what it does not."""
        allowed = _CARRIED.get(suffix, FIELDS)
        kept = {name: text for name, text in self.fields.items() if name in allowed}
        cover = self.cover if suffix in _WITH_COVER else None
        lost = [name for name in FIELDS if name in self.fields and name not in kept]
        if self.cover is not None and cover is None:
            lost.append(COVER)
        return Tags(fields=kept, cover=cover), (*lost, *self.unread)
