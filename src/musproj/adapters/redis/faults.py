"""What Redis reports, told as errors of musproj."""

from redis import exceptions

from musproj.errors import BackendUnavailableError, CorruptRecordError, MusProjError

_AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)

_HINTS: dict[str, str] = {
    "READONLY": "It is a replica, or a failover is under way; try again.",
    "OOM": "Its memory is full (maxmemory): make room or give it more. Nothing was written.",
    "LOADING": "It is still reading its data; try again.",
    "BUSY": "A script keeps it busy; try again.",
    "MISCONF": "It cannot write its data to disk; look at its log.",
    "NOREPLICAS": "Too few replicas follow it (min-replicas-to-write).",
    "MASTERDOWN": "It is a replica that has lost its master.",
    "CLUSTERDOWN": "Its cluster is down.",
    "TRYAGAIN": "Its cluster moves keys; try again.",
    "UNBLOCKED": "It became a replica; try again.",
}
"""First word of a reply that tells of the server's state, not of the command → what to do."""

_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM")
_QUOTA = ("max requests limit", "max daily request", "max request size", "exceeded")
"""As hosted services word it (Upstash docs, troubleshooting)."""

_TLS_MISMATCH = ("Connection reset", "closed by server", "104")


def is_ambiguous(exc: Exception) -> bool:
    """Tell whether the command may have been executed although its reply never came."""
    return isinstance(exc, _AWAY) and not isinstance(exc, exceptions.AuthenticationError | exceptions.BusyLoadingError)


def translated(exc: Exception, where: str) -> MusProjError:
    """Return the error to raise in place of `exc`; `where` names the server without its password."""
    if isinstance(exc, exceptions.AuthenticationError | exceptions.AuthorizationError | exceptions.NoPermissionError):
        return _refused(exc, where)
    if isinstance(exc, exceptions.ResponseError):
        return _replied(exc, where)
    hint = "Is it running, and is this its address?"
    if any(part in str(exc) for part in _TLS_MISMATCH):
        hint = "If it speaks TLS, the address begins with rediss://."
    return BackendUnavailableError(f"Redis at {where} does not answer: {_told(exc)}.", hint=hint)


def _replied(exc: exceptions.ResponseError, where: str) -> MusProjError:
    text = str(exc)
    word = _word_of(exc)
    if word in _HINTS:
        return BackendUnavailableError(f"Redis at {where} cannot serve now: {word} {_told(exc)}.", hint=_HINTS[word])
    if word in _REFUSED:
        return _refused(exc, where)
    if word == "WRONGTYPE" or "not an integer" in text:
        return CorruptRecordError(f"A key on Redis at {where} holds something else than a record: {_told(exc)}.")
    if any(part in text for part in _QUOTA):
        return BackendUnavailableError(f"Redis at {where} has reached a limit: {_told(exc)}.", hint="Raise its plan.")
    return MusProjError(f"Redis at {where} refuses a command: {_told(exc)}.")


def _refused(exc: Exception, where: str) -> MusProjError:
    return BackendUnavailableError(
        f"Redis at {where} lets us not in: {_told(exc)}.",
        hint="Look at the user and the password in the URL, and at that user's ACL.",
    )


_WORDS: dict[type[Exception], str] = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
}
"""Replies whose first word the client library has taken away."""


def _word_of(exc: exceptions.ResponseError) -> str:
    for kind, word in _WORDS.items():
        if isinstance(exc, kind):
            return word
    return str(exc).partition(" ")[0]


def _told(exc: Exception) -> str:
    return str(exc).strip().rstrip(".") or type(exc).__name__
