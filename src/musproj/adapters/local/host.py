"""Facts about the machine: on which file system a path lies, and which kernel runs here."""

import functools
import re
import socket
from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
    }
)
"""WAL needs memory that all processes share, which these do not give (sqlite.org/wal.html)."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mountinfo: str | None = None) -> str | None:
    """Return the type of the network file system that `path` lies on, or None where it is local or unknown.

    Args:
        path: Absolute, without symbolic links; it need not exist.
        mountinfo: Text in the form of proc(5), `/proc/[pid]/mountinfo`; None reads this process' own.
    """
    if mountinfo is None:
        mountinfo = _read(_MOUNTINFO)
    best, kind = Path(), ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        mount = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields.split(" ")[4]))
        # A later line hides an earlier one of the same place.
        if path.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, rest.split(" ")[0]
    if kind == "9p" and best == Path("/"):
        return None  # a sandbox whose whole world is served by its own kernel (gVisor)
    return kind if kind in NETWORK_FILE_SYSTEMS else None


@functools.cache
def make_private(folder: Path) -> None:
    """Make a folder and what is missing above it, for nobody else on this host to look into."""
    for part in reversed([folder, *folder.parents]):
        if not part.is_dir():
            part.mkdir(mode=0o700, exist_ok=True)


def boot_id() -> str:
    """Return what all processes under one running kernel share, in containers too; else the host's name."""
    return _read(_BOOT_ID).strip() or socket.gethostname()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""  # not Linux, or hidden: then nothing is known
