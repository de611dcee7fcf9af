"""What the guide to Redis and a bucket shows is accepted."""

import re
import tomllib

import pytest

from musproj.settings import Settings, env_name


@pytest.fixture
def guide(root):
    return (root / "docs/howto/scale-out.md").read_text()


def block(text, language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def test_the_file_is_read(guide, folder, monkeypatch):
    (folder / "musproj.toml").write_text(block(guide, "toml"))
    monkeypatch.setenv("HOME", str(folder))
    settings = Settings.load({}, {})
    assert settings.queue_url == "rq+rediss://default@my-redis.example:6379/0"
    assert settings.storage_url == tomllib.loads(block(guide, "toml"))["storage"]


def test_every_setting_that_is_named_is_known(guide):
    known = {env_name(name) for name in Settings.__slots__ if not name.startswith("_")}
    named = set(re.findall(r"MUSPROJ_[A-Z0-9_]+", guide))
    assert {name.removesuffix("_FILE") for name in named} <= known


def test_a_supervisor_gets_longer_than_its_drain(guide):
    drain = Settings().drain_s
    waits = re.findall(r"(?:TimeoutStopSec=|--stop-timeout |terminationGracePeriodSeconds: )(\d+)", guide)
    assert len(waits) == 3
    assert all(int(wait) > drain for wait in waits)


def test_the_warning_comes_first(guide):
    assert "trusts whoever can write to your Redis" in " ".join(guide.split("\n\n")[1].split())
