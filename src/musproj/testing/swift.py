"""OpenStack Swift with its S3 door: a server that verifies signatures, for tests.

It runs in an environment of its own, made by `pip install swift pyeclib`, as four processes that take about 250 MiB.
The filter `musproj.testing.r2` can stand before its S3 door, so that it behaves as Cloudflare R2 does.
Configuration after Swift's own SAIO guide, with one device and one replica.
"""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config

from musproj.testing.processes import HOST, free_ports, start, stop, wait_until_up

PARTS = ("account", "container", "object")
REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "test:tester", "SKTESTSECRET0000"
FIRST_BUCKET = "audio"
PAGE_KEYS = 100
"""In a page of a listing, so that a second one comes soon; S3 itself and R2 put 1,000 into one."""

_RINGS = """
import json, sys
from swift.common.ring import RingBuilder
folder, ports = sys.argv[1], json.loads(sys.argv[2])
for name, port in ports.items():
    ring = RingBuilder(4, 1, 0)
    ring.add_dev(dict(id=0, region=1, zone=1, ip="127.0.0.1", port=port, device="d1", weight=100.0,
                      replication_ip="127.0.0.1", replication_port=port, meta=""))
    ring.rebalance()
    ring.get_ring().save(f"{folder}/{name}.ring.gz")
"""

_SWIFT = """
[swift-hash]
swift_hash_path_suffix = t
swift_hash_path_prefix = t
[storage-policy:0]
name = default
default = yes
"""

_PART = """
[DEFAULT]
swift_dir = {etc}
devices = {devices}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_udp_host =
disable_fallocate = true
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

_FILTERS = (
    "catch_errors", "gatekeeper", "healthcheck", "proxy-logging", "cache", "listing_formats", "bulk", "s3api",
    "tempauth", "copy", "slo", "dlo", "versioned_writes",
)  # fmt: skip

_FILTER_SETTINGS = {
    "cache": "memcache_servers = 127.0.0.1:{memcache}",
    "s3api": (
        "location = us-east-1\ns3_acl = false\nallow_multipart_uploads = true\n"
        f"max_bucket_listing = {PAGE_KEYS}\nmin_segment_size = 5242880\ncors_preflight_allow_origin = *"
    ),
    "tempauth": "user_test_tester = SKTESTSECRET0000 .admin",
}


class SwiftServer:
    """One server on loopback; use it as a context manager.

    Example:
        >>> with SwiftServer(Path("swift-env")) as swift:  # doctest: +SKIP
        ...     settings = swift.stores()
    """

    region = REGION
    access_key = ACCESS_KEY
    secret_key = SECRET_KEY
    bucket = FIRST_BUCKET

    def __init__(self, environment: Path, *, r2: bool = False, one_write_per_second: bool = False) -> None:
        """Note how to start it.

        Args:
            environment: The virtual environment that Swift is installed in.
            r2: Whether it shall behave as Cloudflare R2 does, where that is known.
            one_write_per_second: Whether it also refuses a second write to a key within a second, as R2 does.
        """
        self._bin = environment / "bin"
        self._is_r2 = r2
        self._is_slow = one_write_per_second
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port, *ports, self._memcache = free_ports(5)
        self._ports = dict(zip(PARTS, ports, strict=True))

    @property
    def endpoint(self) -> str:
        """Where its S3 door is."""
        return f"http://{HOST}:{self.port}"

    def stores(self) -> dict[str, str]:
        """Return the settings of an installation whose objects are in its bucket."""
        return {
            "storage": f"s3://{self.bucket}?endpoint={self.endpoint}&region={self.region}",
            "s3_access_key_id": self.access_key,
            "s3_secret_access_key": self.secret_key,
        }

    def __enter__(self) -> Self:
        """Start it and make its bucket."""
        self._folder = _folder_with_attributes()
        self._log = self._folder / "log"
        self._configure(is_r2=False)
        self.start()
        self._make_bucket()
        if self._is_r2:  # R2's tokens may not make buckets, so the layer comes after it
            self.stop()
            self._configure(is_r2=True)
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it and drop its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start its processes with the data of the last time, and wait until it answers."""
        env = {**_quiet_environment(), "PYTHONPATH": str(self._folder / "layer")}
        for name in (*PARTS, "proxy"):
            program = str(self._bin / f"swift-{name}-server")
            self._processes.append(start([program, str(self._etc / f"{name}.conf")], log=self._log, env=env))
        wait_until_up(self._is_up, self._processes, self._log)

    def stop(self, *, kill: bool = False) -> None:
        """End its processes; the data stay until the block ends."""
        for process in self._processes:
            stop(process, kill=kill)
        self._processes.clear()

    def pause(self) -> None:
        """Let it stand still: it accepts connections and answers nothing."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    @property
    def _etc(self) -> Path:
        return self._folder / "etc"

    def _configure(self, *, is_r2: bool) -> None:
        for folder in (self._etc, self._folder / "dev" / "d1", self._folder / "layer"):
            folder.mkdir(parents=True, exist_ok=True)
        if is_r2:  # Swift's environment does not have musproj
            shutil.copy(Path(__file__).with_name("r2.py"), self._folder / "layer" / "musproj_r2_layer.py")
        (self._etc / "swift.conf").write_text(_SWIFT, encoding="utf-8")
        for name in PARTS:
            text = _PART.format(
                etc=self._etc, devices=self._folder / "dev", port=self._ports[name], user=_user(), name=name
            )
            (self._etc / f"{name}.conf").write_text(text, encoding="utf-8")
        (self._etc / "proxy.conf").write_text(self._proxy(is_r2=is_r2), encoding="utf-8")
        command = [str(self._bin / "python"), "-c", _RINGS, str(self._etc), json.dumps(self._ports)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own text

    def _proxy(self, *, is_r2: bool) -> str:
        names = list(_FILTERS)
        if is_r2:
            names = ["r2", *names]  # before what measures answers: Swift's own filters expect Swift's
            names.insert(names.index("s3api") + 1, "r2_behind")
        lines = [
            f"[DEFAULT]\nswift_dir = {self._etc}\nbind_ip = 127.0.0.1\nbind_port = {self.port}\nworkers = 0",
            f"user = {_user()}\n[pipeline:main]\npipeline = {' '.join(names)} proxy-logging proxy-server",
            "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true",
        ]
        for name in _FILTERS:
            settings = _FILTER_SETTINGS.get(name, "").format(memcache=self._memcache)
            lines.append(f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n{settings}")
        if is_r2:
            lines.append(
                "[filter:r2]\npaste.filter_factory = musproj_r2_layer:filter_factory\n"
                f"one_write_per_second = {str(self._is_slow).lower()}\n"
                "[filter:r2_behind]\npaste.filter_factory = musproj_r2_layer:behind_factory"
            )
        return "\n".join(lines).replace("egg:swift#cache\n", "egg:swift#memcache\n")

    def _is_up(self) -> bool:
        for port in self._ports.values():
            socket.create_connection((HOST, port)).close()
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=5)) as connection:
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status == http.HTTPStatus.OK

    def _make_bucket(self) -> None:
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 10}),
        )
        client.create_bucket(Bucket=self.bucket)
        client.close()


def _folder_with_attributes() -> Path:
    """Return a new folder whose file system has user attributes, in which Swift keeps what it knows of an object.

    Raises:
        RuntimeError: none of the usual places has them.
    """
    tried = [tempfile.gettempdir(), "/var/tmp", str(Path.home())]  # noqa: S108 - a new folder in it, with a random name
    for place in tried:
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="musproj-swift-", dir=place))
            try:
                os.setxattr(folder, "user.musproj", b"1")
            except OSError:
                shutil.rmtree(folder)
            else:
                return folder
    raise RuntimeError(f"Swift needs a file system with user attributes; none at {', '.join(tried)}.")


def _quiet_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore"}


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
