"""A service that a profile describes: the user's own GPU box, or any API of submit, poll and fetch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self, cast

import attrs
import httpx

from musproj.adapters.services.account import UPLOAD_ANSWER_S, HttpAccount
from musproj.adapters.services.answers import identity
from musproj.adapters.services.client import SEND_BYTES, ApiClient
from musproj.adapters.services.failures import scrub
from musproj.adapters.services.fetch import ResultFetcher
from musproj.adapters.services.hosts import where
from musproj.application.digests import blocks_of
from musproj.application.http_profile import HttpProfile, PathCall
from musproj.application.http_template import ABSENT, filled, filled_path, pick, put
from musproj.application.params import camel
from musproj.application.processor_file import placeholders
from musproj.domain.media import OCTET_STREAM
from musproj.domain.remote import Cost, RemoteFault, RemoteOp, RemotePhase, as_key
from musproj.errors import ConfigurationError, RemoteRejectedError
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import (
    ASSUMED_S,
    CallClass,
    CallError,
    Caps,
    RemoteInput,
    RemoteOutput,
    RemoteState,
    Update,
    sensible,
)

_GONE: Final = frozenset({404, 410})
_NONE_TO_STOP: Final = frozenset({404, 409, 410})


@attrs.frozen(kw_only=True)
class ProfileService(HttpAccount):
    """One account at the service of a profile."""

    profile: HttpProfile = attrs.field(repr=lambda profile: profile.name)
    origin: str
    """Scheme and authority of its base URL."""
    secrets: tuple[str, ...] = attrs.field(repr=False)
    """What no text may show."""

    @classmethod
    def of(
        cls,
        profile: HttpProfile,
        key: str,
        *,
        transport: httpx.BaseTransport,
        private: frozenset[str] = frozenset(),
    ) -> Self:
        """Call it with `key`, empty for none, through `transport`, which is closed with it.

        Args:
            profile: what `read_profile` has read.
            key: without the profile's prefix.
            transport: should be a `GuardedTransport` that permits the same `private`.
            private: `host:port` entries that may be called by http and on their port, for API and results.

        Raises:
            ConfigurationError: the service is to be called by http, and is none of `private`.
        """
        base = httpx.URL(profile.base_url)
        if base.scheme != "https" and where(base) not in private:
            raise ConfigurationError(
                f"{profile.name}: base_url must begin with https: over http everybody on the way reads the key.",
                hint=f"A host of your own is allowed by MUSPROJ_PRIVATE_HOSTS={where(base)}.",
            )
        origin = f"{base.scheme}://{base.netloc.decode('ascii')}"
        headers = {profile.key.header: profile.key.prefix + key} if key else {}
        return cls(
            api=ApiClient(profile.base_url, headers, transport=transport),
            fetcher=ResultFetcher(transport, (base.host, *profile.hosts), origin, headers, allow_http_for=private),
            transport=transport,
            profile=profile,
            origin=origin,
            secrets=(key,) if key else (),
        )

    @property
    def name(self) -> str:
        """The service, as tasks name it."""
        return self.profile.name

    @property
    def caps(self) -> Caps:
        """What the profile lets it do."""
        profile = self.profile
        return Caps(
            idempotency="full" if profile.idempotency_header else "none",
            has_tags=profile.listing is not None,
            takes_urls=profile.takes_urls,
            sends_hints=profile.webhook_field is not None,
            calls_per_minute=profile.calls_per_minute,
            burst=profile.burst,
            max_running=profile.max_running,
        )

    def estimate(self, task: RemoteTask, duration: float | None) -> Cost:  # noqa: ARG002 - the port's signature
        """Return what so many seconds cost by the profile's rate."""
        rate = self.profile.cost
        if rate is None:
            return Cost(unit="run", estimate=1.0)
        return Cost(unit=rate.unit, estimate=rate.per_minute * (ASSUMED_S if duration is None else duration) / 60)

    # ── submit ──

    def create(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:  # noqa: ARG002
        """Refuse: there are no drafts.

        Raises:
            CallError: always.
        """
        raise CallError(CallClass.FATAL, f"{self.name} knows no drafts")

    def upload(self, op: RemoteOp, task: RemoteTask, source: RemoteInput) -> RemoteOp:
        """Bring the input there; where the service fetches it itself, only make sure that it can.

        Raises:
            CallError: the call failed, or this storage signs no addresses.
        """
        call = self.profile.upload
        if call is None:
            self._address(source)
            return op.enter(RemotePhase.STAGED, input_mode="url")
        file = source.path()
        answer = self.api.call(
            call.method,
            self._path(call.path, op, task),
            content=blocks_of(file, SEND_BYTES),
            headers={"Content-Length": str(file.stat().st_size), "Content-Type": OCTET_STREAM},
            read_timeout=UPLOAD_ANSWER_S,
        )
        said = pick(answer, call.ref_pointer)
        if isinstance(said, str) and set(said) & set("?#"):
            raise CallError(CallClass.REJECTED, f"{self.name} names the upload by a signed address, which is not kept")
        ref = identity(said)
        if ref is None:
            raise self._unreadable(CallClass.REJECTED, "upload.ref_pointer", call.ref_pointer)
        return op.enter(RemotePhase.STAGED, input_mode="upload", upload_ref=ref)

    def submit(self, op: RemoteOp, task: RemoteTask, source: RemoteInput, hook: str | None) -> RemoteOp:
        """Start the work; with an idempotency header, a repeat leads to the same.

        Raises:
            CallError: AMBIGUOUS also where the answer holds no id.
        """
        profile = self.profile
        values = self._values(op, task)
        if profile.takes_urls:
            values["input_url"] = self._address(source)
        body = filled(profile.submit.json, values)
        if profile.tag_field is not None:
            put(body, profile.tag_field, op.token)
        if profile.webhook_field is not None and hook is not None:
            put(body, profile.webhook_field, hook)
        answer = self.api.call(
            profile.submit.method,
            self._path(profile.submit.path, op, task),
            is_effect=True,
            json=body,
            headers={profile.idempotency_header: as_key(op.token)} if profile.idempotency_header else None,
        )
        remote_id = identity(pick(answer, profile.submit.id_pointer))
        if remote_id is None:
            raise self._unreadable(CallClass.AMBIGUOUS, "submit.id_pointer", profile.submit.id_pointer)
        return attrs.evolve(op, remote_id=remote_id)

    def find(self, op: RemoteOp) -> RemoteOp | None:
        """Look for the operation's tag in the service's list.

        Raises:
            CallError: the call failed, or the profile has no list.
        """
        found = self._listed(op)
        return None if found is None else op.enter(RemotePhase.SUBMITTED, remote_id=found)

    def _listed(self, op: RemoteOp) -> str | None:
        listing = self.profile.listing
        if listing is None:
            raise CallError(CallClass.FATAL, f"{self.name}: the profile has no list")
        items = pick(self.api.call("GET", self._path(listing.path, op)), listing.items_pointer)
        if not isinstance(items, list):
            raise self._unreadable(CallClass.TRANSIENT, "list.items_pointer", listing.items_pointer)
        for item in cast("list[object]", items):
            if pick(item, listing.tag_pointer) == op.token:
                found = identity(pick(item, listing.id_pointer))
                if found is None:
                    raise self._unreadable(CallClass.TRANSIENT, "list.id_pointer", listing.id_pointer)
                return found
        return None

    # ── poll ──

    def poll(self, ops: Sequence[RemoteOp]) -> Mapping[str, Update]:
        """Ask for one after the other.

        Raises:
            CallError: a call failed, or said a word that the profile does not know.
        """
        return {op.token: self._asked(op) for op in ops}

    def _asked(self, op: RemoteOp) -> Update:
        poll = self.profile.poll
        try:
            answer = self.api.call("GET", self._path(poll.path, op))
        except CallError as exc:
            if exc.status in _GONE:
                return Update(state=RemoteState.GONE, request_id=exc.request_id)
            raise
        said = pick(answer, poll.state_pointer)
        if said is ABSENT:
            raise self._unreadable(CallClass.TRANSIENT, "poll.state_pointer", poll.state_pointer)
        word = _word(said)
        state = poll.states.get(word)
        if state is None:
            known = ", ".join(poll.states)
            raise CallError(CallClass.TRANSIENT, f"{self.name} says {self._clean(word)!r}; poll.states knows: {known}")
        return Update(
            state=state,
            fraction=self._fraction(answer),
            fault=self._fault(answer) if state is RemoteState.FAILED else None,
        )

    def _fraction(self, answer: Mapping[str, Any]) -> float | None:
        poll = self.profile.poll
        said = ABSENT if poll.progress_pointer is None else pick(answer, poll.progress_pointer)
        done = sensible(said)
        return None if done is None else min(1.0, done / poll.progress_max)

    def _fault(self, answer: Mapping[str, Any]) -> RemoteFault:
        pointer = self.profile.error_pointer
        said = None if pointer is None else pick(answer, pointer)
        words = "" if said in (None, ABSENT) else self._clean(_word(said))
        return RemoteFault(code=RemoteRejectedError.code, message=f"{self.name} failed{f': {words}' if words else '.'}")

    # ── results ──

    def outputs(self, op: RemoteOp) -> Iterator[RemoteOutput]:
        """Read the addresses anew; one that the answer does not hold is left out.

        Raises:
            CallError: the call failed.
        """
        result = self.profile.result
        answer = self.api.call("GET", self._path(result.path, op))
        if result.urls_pointer is None:
            found: Iterable[tuple[str, object]] = (
                (label, pick(answer, pointer)) for label, pointer in result.files.items()
            )
        else:
            urls = pick(answer, result.urls_pointer)
            listed = cast("list[object]", urls) if isinstance(urls, list) else [urls]
            found = ((str(number), url) for number, url in enumerate(listed))
        for label, url in found:
            if isinstance(url, str) and url:
                yield RemoteOutput(label=label, url=self._absolute(url))

    def _absolute(self, url: str) -> str:
        """Put a path on the service's own host; what is whole already is judged by the fetcher."""
        return self.origin + url if url.startswith("/") and not url.startswith("//") else url

    # ── the end ──

    def cancel(self, op: RemoteOp) -> None:
        """Stop this operation, where the profile tells how; one that has ended or is unknown is none to stop.

        Raises:
            CallError: the call failed.
        """
        self._tell(self.profile.cancel, op, _NONE_TO_STOP)

    def cleanup(self, op: RemoteOp) -> None:
        """Delete it, where the profile tells how; what is gone is deleted.

        Raises:
            CallError: the call failed.
        """
        self._tell(self.profile.delete, op, _GONE)

    def _tell(self, call: PathCall | None, op: RemoteOp, done: frozenset[int]) -> None:
        if call is None:
            return
        values = self._values(op)
        if any(values.get(name) is None for name in placeholders([call.path])):
            return  # nothing of that name is there
        try:
            self.api.call(call.method, self._path(call.path, op))
        except CallError as exc:
            if exc.status is None or not (exc.status in done or 200 <= exc.status < 300):  # 2xx: without a JSON answer
                raise

    def balance(self) -> None:
        """Tell nothing: a profile knows of no balance."""

    # ── values ──

    def _values(self, op: RemoteOp, task: RemoteTask | None = None) -> dict[str, object]:
        values: dict[str, object] = {"token": op.token, "id": op.remote_id, "upload_ref": op.upload_ref}
        if task is not None:
            values |= {f"params.{name}": task.request[camel(name)] for name in self.profile.params}
        return values

    def _path(self, template: str, op: RemoteOp, task: RemoteTask | None = None) -> str:
        try:
            return filled_path(template, self._values(op, task))
        except ValueError as exc:
            raise CallError(CallClass.FATAL, f"{self.name}: {self._clean(str(exc))}") from exc

    def _address(self, source: RemoteInput) -> str:
        url = source.url()
        if url is None:
            raise CallError(
                CallClass.FATAL, f"{self.name} fetches its input itself, and this storage signs no public address"
            )
        return url

    def _unreadable(self, kind: CallClass, key: str, pointer: str) -> CallError:
        return CallError(kind, f"{self.name}: the answer holds nothing of use at {key} {pointer!r}")

    def _clean(self, text: str) -> str:
        return scrub(text, self.secrets)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)
