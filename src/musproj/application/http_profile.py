"""The profile of an HTTP service that does jobs: a TOML file that says how it is asked, and where its answers say what.

It is data throughout: paths and bodies with a few names in braces, and JSON pointers (RFC 6901) into the answers.
"""

import copy
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from musproj.application.http_template import names_in, put
from musproj.application.processor_file import PUBLISHES, output_ports, params_class, placeholders
from musproj.application.toml_file import read_toml
from musproj.application.toml_table import Table
from musproj.errors import ConfigurationError
from musproj.ports.processor import Port
from musproj.ports.remote import MOST_CALLS_PER_MINUTE, MOST_SPENT, RemoteState

NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
STATES: Final = {
    state.value: state
    for state in (
        RemoteState.QUEUED,
        RemoteState.RUNNING,
        RemoteState.FINISHED,
        RemoteState.FAILED,
        RemoteState.CANCELLED,
    )
}

_HOST: Final = re.compile(r"(\*\.)?[^\s/:@*?#\\]+")
_KNOWN_OP: Final = ("id", "token", "upload_ref")
"""What is known of an operation once it was submitted."""
_MOST_COST: Final = MOST_SPENT / 10_000
"""For a minute: an input of a week, 10,080 minutes, is about where the estimate could no longer be told."""


@attrs.frozen(kw_only=True)
class KeyHeader:
    """How a call shows who makes it."""

    header: str = "Authorization"
    prefix: str = "Bearer "
    """Before the key."""
    file: Path | None = None
    """That holds the key."""


@attrs.frozen(kw_only=True)
class UploadCall:
    """Brings the input there, as the raw body."""

    method: str
    path: str
    ref_pointer: str
    """Where the answer holds what `{upload_ref}` stands for."""


@attrs.frozen(kw_only=True)
class SubmitCall:
    """Starts the work."""

    method: str
    path: str
    json: Mapping[str, Any]
    """Body, with names in braces."""
    id_pointer: str


@attrs.frozen(kw_only=True)
class PollCall:
    """Asks how far it has come."""

    path: str
    state_pointer: str
    states: Mapping[str, RemoteState]
    """The service's word → what it means."""
    progress_pointer: str | None = None
    progress_max: float = 1.0
    """What it says of work that is done."""


@attrs.frozen(kw_only=True)
class ResultPlace:
    """Where the addresses of the results are; either `urls_pointer` or `files`."""

    path: str
    urls_pointer: str | None = None
    """To one address, or a list of them in the order of the outputs."""
    files: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Output port → pointer to its address."""


@attrs.frozen(kw_only=True)
class PathCall:
    """A call whose answer tells nothing but success."""

    method: str
    path: str


@attrs.frozen(kw_only=True)
class ListCall:
    """Lists what is there, so that a submission whose answer was lost is found by its tag."""

    path: str
    items_pointer: str
    tag_pointer: str
    """Within an item."""
    id_pointer: str
    """Within an item."""


@attrs.frozen(kw_only=True)
class CostRate:
    """What the work is estimated to cost."""

    unit: str = "minute"
    per_minute: float = 0.0
    """For a minute of input, in `unit`; 0 is free."""


@attrs.frozen(kw_only=True)
class HttpProfile:
    """One service, and the processor that it is."""

    name: str
    """The job type, and the service's name."""
    version: str
    summary: str
    base_url: str
    key: KeyHeader = attrs.field(factory=KeyHeader)
    submit: SubmitCall
    upload: UploadCall | None = None
    """None: the service fetches the input by `{input_url}`."""
    poll: PollCall
    result: ResultPlace
    cancel: PathCall | None = None
    delete: PathCall | None = None
    listing: ListCall | None = None
    error_pointer: str | None = None
    """Into the polled answer: why it failed."""
    idempotency_header: str | None = None
    tag_field: str | None = None
    """Pointer into the submitted body: where the operation's token goes."""
    webhook_field: str | None = None
    """Pointer into the submitted body: where the address of our webhook goes."""
    calls_per_minute: float = 60.0
    burst: int = 10
    max_running: int = 50
    hosts: tuple[str, ...] = ()
    """Whose addresses of results are followed, beside the service's own: names, or `*.` and a suffix."""
    cost: CostRate | None = None
    """None: nobody told; a run is counted as one, and never bought twice."""
    changes_duration: bool = False
    publishes: str = "version"
    moves_head: bool = False
    outputs: tuple[Port, ...]
    params: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict[str, Mapping[str, Any]])
    """The tables of the parameters; `params_class` makes a class of them."""

    @property
    def key_file(self) -> Path | None:
        """Where its key is, unless the settings have one."""
        return self.key.file

    @property
    def labels(self) -> Mapping[str, str]:
        """The label of a result → output port."""
        if self.result.urls_pointer is None:
            return {label: label for label in self.result.files}
        return {str(number): port.name for number, port in enumerate(self.outputs)}

    @property
    def takes_urls(self) -> bool:
        """Whether the service fetches the input itself."""
        return self.upload is None


def read_profile(path: Path) -> HttpProfile:
    """Return the profile that a TOML file holds.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the text names the key.
    """
    document = read_toml(path)
    try:
        return _profile(Table("", document), path.parent)
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(f"{path}: {exc.args[0]}", path=str(path)) from exc


# ── the profile ──────────────────────────────────────────────────────────────────────────────────


def _profile(top: Table, folder: Path) -> HttpProfile:
    outputs = output_ports(top.mapping("outputs"), needs_extension=False)
    params = top.mapping("params", {})
    params_class("HttpParams", params)
    given = [f"params.{name}" for name in params]
    upload = top.maybe("upload", lambda key: _upload(top.table(key), given))
    submit = _submit(top.table("submit"), given, has_upload=upload is not None)
    poll = _poll(top.table("poll"))
    key = top.maybe("key", lambda name: _key(top.table(name), folder)) or KeyHeader()
    profile = HttpProfile(
        name=_name(top),
        version=top.text("version"),
        base_url=_base_url(top),
        summary=top.text("summary", "Done by a service over HTTP"),
        key=key,
        submit=submit,
        upload=upload,
        poll=poll,
        result=_result(top.table("result"), poll, outputs),
        cancel=top.maybe("cancel", lambda name: _path_call(top.table(name), "POST", _KNOWN_OP)),
        delete=top.maybe("delete", lambda name: _path_call(top.table(name), "DELETE", _KNOWN_OP)),
        listing=top.maybe("list", lambda name: _listing(top.table(name))),
        error_pointer=top.maybe("error_pointer", top.pointer),
        idempotency_header=top.maybe("idempotency_header", top.header),
        tag_field=top.maybe("tag_field", lambda name: _body_place(top, name, submit)),
        webhook_field=top.maybe("webhook_field", lambda name: _body_place(top, name, submit)),
        calls_per_minute=top.number("calls_per_minute", 60.0, above=0, most=MOST_CALLS_PER_MINUTE),
        burst=top.count("burst", 10, most=MOST_CALLS_PER_MINUTE),
        max_running=top.count("max_running", 50),
        hosts=_hosts(top),
        cost=top.maybe("cost", lambda name: _cost(top.table(name))),
        changes_duration=top.flag("changes_duration"),
        publishes=top.one_of("publishes", PUBLISHES, "version"),
        moves_head=top.flag("moves_head"),
        outputs=outputs,
        params=params,
    )
    top.end()
    if (profile.listing is None) != (profile.tag_field is None):
        raise ValueError("list and tag_field are of use only together")
    if profile.idempotency_header and profile.idempotency_header.lower() == key.header.lower():
        raise ValueError("idempotency_header is the header of the key")
    return profile


def _name(top: Table) -> str:
    name = top.text("name")
    if not NAME.fullmatch(name):
        raise top.wrong("name", "must be 1 to 32 of: a-z 0-9 _ -")
    return name


def _base_url(top: Table) -> str:
    text = top.text("base_url")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as exc:
        raise top.wrong("base_url", exc) from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname or set(text) & set('?#@\\ {}"'):
        raise top.wrong("base_url", "must be an address such as https://gpu.example/api, without a query or a user")
    return text


def _key(table: Table, folder: Path) -> KeyHeader:
    prefix = table.string("prefix", "Bearer ")
    if not prefix.isascii() or not prefix.isprintable():
        raise table.wrong("prefix", "must be a text of ASCII letters")
    file = table.maybe("file", lambda name: _key_file(table, name, folder))
    key = KeyHeader(
        header=table.header("header", "Authorization"),
        prefix=prefix,
        file=file,
    )
    table.end()
    return key


def _key_file(table: Table, name: str, folder: Path) -> Path:
    text = table.text(name)
    try:
        return folder / Path(text).expanduser()
    except RuntimeError as exc:
        raise table.wrong(name, f"begins with a home that nobody has here: {text.partition('/')[0]}") from exc


def _upload(table: Table, given: Collection[str]) -> UploadCall:
    call = UploadCall(
        method=table.one_of("method", ("POST", "PUT"), "POST"),
        path=table.path("path", ("token", *given)),
        ref_pointer=table.pointer("ref_pointer"),
    )
    table.end()
    return call


def _submit(table: Table, given: Collection[str], *, has_upload: bool) -> SubmitCall:
    source = "upload_ref" if has_upload else "input_url"
    json = table.mapping("json")
    try:
        names = names_in(json)
    except ValueError as exc:
        raise table.wrong("json", exc) from exc
    table.refuse_unknown("json", names, (source, "token", *given))
    in_path = () if not has_upload else (source,)
    call = SubmitCall(
        method=table.one_of("method", ("POST", "PUT", "PATCH"), "POST"),
        path=table.path("path", (*in_path, "token", *given)),
        json=json,
        id_pointer=table.pointer("id_pointer"),
    )
    table.end()
    if source not in {*names, *placeholders([call.path])}:
        raise table.wrong("json", f"must say what to work on: {{{source}}}")
    return call


def _poll(table: Table) -> PollCall:
    words = table.mapping("states")
    for word, meaning in words.items():
        if not isinstance(meaning, str) or meaning not in STATES:
            raise table.wrong(f"states.{word}", f"must be one of: {', '.join(STATES)}")
    for state in (RemoteState.FINISHED, RemoteState.FAILED):
        if state.value not in words.values():
            raise table.wrong("states", f"must have a word for {state.value}")
    call = PollCall(
        path=table.path("path", _KNOWN_OP, names=("id", "token")),
        state_pointer=table.pointer("state_pointer"),
        states={word: STATES[meaning] for word, meaning in words.items()},
        progress_pointer=table.maybe("progress_pointer", table.pointer),
        progress_max=table.number("progress_max", 1.0, above=0),
    )
    table.end()
    return call


def _result(table: Table, poll: PollCall, outputs: tuple[Port, ...]) -> ResultPlace:
    names = {port.name for port in outputs}
    files: dict[str, str] = {}
    if (tables := table.maybe("files", table.table)) is not None:
        files = {port.name: tables.pointer(port.name) for port in outputs}
        tables.end()
    place = ResultPlace(
        path=table.path("path", _KNOWN_OP, names=("id", "token"), default=poll.path),
        urls_pointer=table.maybe("urls_pointer", table.pointer),
        files=files,
    )
    table.end()
    if (place.urls_pointer is None) == (not files):
        raise table.wrong("urls_pointer", f"or else files, with {', '.join(sorted(names))}, must be there")
    return place


def _path_call(table: Table, method: str, known: Collection[str]) -> PathCall:
    call = PathCall(
        method=table.one_of("method", ("POST", "PUT", "PATCH", "DELETE"), method),
        path=table.path("path", known, names=known),
    )
    table.end()
    return call


def _listing(table: Table) -> ListCall:
    call = ListCall(
        path=table.path("path", ("token",)),
        items_pointer=table.pointer("items_pointer"),
        tag_pointer=table.member("tag_pointer"),
        id_pointer=table.member("id_pointer"),
    )
    table.end()
    return call


def _cost(table: Table) -> CostRate:
    cost = CostRate(unit=table.text("unit", "minute"), per_minute=table.number("per_minute", 0.0, most=_MOST_COST))
    table.end()
    return cost


def _body_place(top: Table, key: str, submit: SubmitCall) -> str:
    pointer = top.member(key)
    try:
        put(copy.deepcopy(dict(submit.json)), pointer, "")
    except ValueError as exc:
        raise top.wrong(key, exc) from exc
    return pointer


def _hosts(top: Table) -> tuple[str, ...]:
    hosts = top.list("hosts")
    for host in hosts:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise top.wrong("hosts", "must be names such as cdn.example or *.cdn.example")
    return tuple(hosts)
