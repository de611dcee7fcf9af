"""What can be set about the fakes."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import attrs

MIB = 1024**2


@attrs.frozen(kw_only=True)
class Options:
    """How the fakes behave; `reset` sets all of them anew."""

    poll_ticks: int = 3
    """The poll that finds the work done, in ticks mode."""
    mode: Literal["ticks", "clock"] = attrs.field(default="ticks", validator=attrs.validators.in_(("ticks", "clock")))
    """What lets work advance: polls, or time."""
    key_window: Literal["prestart", "timed", "none"] = attrs.field(
        default="prestart", validator=attrs.validators.in_(("prestart", "timed", "none"))
    )
    """How long LALAL takes an idempotency key a second time: until the task starts, `queue_seconds`, never."""
    queue_seconds: float = 5.0
    """How long work waits before it starts, in clock mode."""
    check_limit: int = 30
    """Calls of `check/` in 60 seconds."""
    balance_minutes: float = 1_000.0
    """What is left at LALAL; what costs more is refused with `exceeded_duration`."""
    balance_hours: float = 100.0
    """The same at Auphonic, in credit hours."""
    max_bytes: int = 10 * 1024 * MIB
    """Of a LALAL upload; the vendor's limit is 10 GB."""
    url_ttl: float = 3_600.0
    """Seconds that a signed address of an Auphonic result lives."""
    list_lag: float = 0.0
    """Seconds until a new production shows up in the list."""
    default_duration: float = 60.0
    """Seconds of an input that is no WAV."""
    no_batch: bool = False
    """Whether LALAL's batch calls are refused."""
    null_size: bool = False
    """Whether LALAL tells no size of its tracks."""
    minimal_drops_basename: bool = False
    """Whether Auphonic's short list lacks the names that productions are found by."""
    api_key: str = attrs.field(default="k", repr=False)
    """The one key that both take."""
    max_body_bytes: int = 64 * MIB
    """Of a body that is kept; a larger one is answered with 413."""
    keep_bodies: bool = True
    """Whether uploaded bytes stay in memory; where not, only JSON and forms are held to `max_body_bytes`."""
    short_results: bool = False
    """Whether results are cut to 60 seconds."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the options by name.

        Raises:
            ValueError: an option is unknown.
        """
        known = [field.name for field in attrs.fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ValueError(f"No option {', '.join(unknown)}; there are: {', '.join(known)}.")
        return cls(**options)
