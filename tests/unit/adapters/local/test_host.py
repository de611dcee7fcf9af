"""Where a path lies, read from what Linux says of its mounts."""

from pathlib import Path

import pytest

from musproj.adapters.local.host import boot_id, network_file_system

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw,relatime shared:5 master:1 - nfs4 server:/export rw,vers=4.2
31 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
32 22 0:41 / /mnt/with\040space rw - cifs //server/share rw
33 22 0:42 / /mnt/home rw - fuse.sshfs me@host: rw
34 22 0:43 / /mnt/c rw - 9p C:\134 rw
35 22 0:44 / /mnt/over rw - nfs server:/a rw
36 22 0:45 / /mnt/over rw - tmpfs tmpfs rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/data/musproj.db", None),
        ("/mnt/share/musproj.db", "nfs4"),
        ("/mnt/share/deep/er/musproj.db", "nfs4"),
        ("/mnt/share/local/musproj.db", None),
        ("/mnt/shared/musproj.db", None),
        ("/mnt/with space/musproj.db", "cifs"),
        ("/mnt/home/musproj.db", "fuse.sshfs"),
        ("/mnt/c/Users/me/musproj.db", "9p"),
        ("/mnt/over/musproj.db", None),
    ],
)
def test_the_innermost_mount_decides(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_a_sandbox_that_serves_its_root_itself_is_local() -> None:
    assert network_file_system(Path("/data/musproj.db"), "22 1 0:20 / / rw - 9p none rw") is None


def test_without_the_facts_a_path_counts_as_local() -> None:
    assert network_file_system(Path("/data/musproj.db"), "") is None


def test_this_machines_own_mounts_can_be_read(tmp_path: Path) -> None:
    network_file_system(tmp_path.resolve())
    assert boot_id()
