"""Calls to services whose answers may be anything: what no adapter expected is a failed call too."""

import logging
from collections.abc import Callable
from typing import TypeVar

from musproj.domain.remote import RemoteOp
from musproj.errors import MusProjError, RemoteError
from musproj.ports.remote import CallClass, CallError, RemoteService

T = TypeVar("T")

log = logging.getLogger("musproj.services")


def called(call: Callable[[], T], *, is_effect: bool = False) -> T:
    """Return what `call` returns.

    An answer that lacks what it should have says nothing of what became of the call: where that may have had an
    effect, it is as ambiguous as a lost one.

    Raises:
        CallError: it failed.
        MusProjError: passed through: our own stores, or an address that may not be called.
        OSError: passed through: our own files.
    """
    try:
        return call()
    except (CallError, MusProjError, OSError):
        raise
    except Exception as exc:  # noqa: BLE001 - whatever an adapter, ours or others', did not expect
        # Without its text, which may quote the answer.
        name, place = type(exc).__name__, exc.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else "?"
        log.warning("An answer of a service makes no sense: %s in %s.", name, line, extra={"action": "service_answer"})
        kind = CallClass.AMBIGUOUS if is_effect else CallClass.TRANSIENT
        raise CallError(kind, f"its answer makes no sense ({type(exc).__name__})") from None


def answered(call: Callable[[], T]) -> T:
    """Return what `call`, one without an effect, returns; whatever else it raises is a failed call too.

    For who goes on with others: one address that may not be called, or a full disk, is no reason to stop.

    Raises:
        CallError: it failed.
        MusProjError: passed through: our own stores.
    """
    try:
        return called(call)
    except (RemoteError, OSError) as exc:
        raise CallError(CallClass.TRANSIENT, str(exc)) from exc


def stop(service: RemoteService, op: RemoteOp) -> None:
    """Ask the service to stop what is not wanted any more; that it cannot be asked changes nothing."""
    try:
        answered(lambda: service.cancel(op))
    except CallError as exc:
        log.info("An operation could not be stopped: %s", exc.message, extra={"action": "service_failed"})
