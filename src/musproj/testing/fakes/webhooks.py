"""Webhooks: one form, sent from a thread, and never repeated unless a fault says so."""

import http.client
import threading
import urllib.error
import urllib.parse
import urllib.request

from musproj.testing.fakes.exchange import Json
from musproj.testing.fakes.world import World

TIMEOUT_S = 5.0


class Webhooks:
    """Sends what Auphonic would."""

    def __init__(self, closing: threading.Event) -> None:
        """Send until `closing` is set."""
        self._closing = closing
        self._threads: list[threading.Thread] = []

    def fire(self, world: World, url: str, form: dict[str, str]) -> None:
        """Send a form soon; the caller holds the world's lock."""
        fault = world.faults.take_webhook()
        kind = fault.kind if fault else ""
        if kind == "no_webhook":
            return
        delay = fault.number("seconds", 0.2) if fault and kind == "late_webhook" else 0.0
        for _ in range(2 if kind == "duplicate_webhook" else 1):
            record: Json = {"url": url, **form, "answered": None}
            world.webhooks.append(record)
            thread = threading.Thread(target=self._send, args=(world, record, form, delay), daemon=True)
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]
            thread.start()

    def join(self) -> None:
        """Wait for those on their way."""
        for thread in list(self._threads):
            thread.join(TIMEOUT_S)

    def _send(self, world: World, record: Json, form: dict[str, str], delay: float) -> None:
        if self._closing.wait(delay):
            return
        answered = _post(str(record["url"]), urllib.parse.urlencode(form).encode())
        with world.lock:
            record["answered"] = answered


def _post(url: str, body: bytes) -> int | str:
    if not url.startswith(("http://", "https://")):
        return "no http address"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, body, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
