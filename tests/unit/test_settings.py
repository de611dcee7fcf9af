from datetime import timedelta
from pathlib import Path

import pytest

from musproj.errors import ConfigurationError
from musproj.settings import Settings, collect


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def load(**environ):
    return Settings.load({}, {f"MUSPROJ_{name.upper()}": value for name, value in environ.items()})


def test_the_defaults_are_one_folder():
    settings = Settings.load({}, {})
    assert settings.storage_url == "file:musproj-data/objects"
    assert settings.metadata_url == settings.queue_url == "sqlite:musproj-data/musproj.db"
    assert settings.base_url == "http://127.0.0.1:8700"
    assert settings.is_loopback
    assert settings.lease == timedelta(seconds=30)


def test_flags_beat_the_environment_beats_the_folder_beats_the_home(tmp_path):
    home = tmp_path / "home/.config/musproj"
    home.mkdir(parents=True)
    (home / "config.toml").write_text('port = 1\nhost = "h"\nqueue_name = "q"\nlog = "info"')
    Path("musproj.toml").write_text('port = 2\nhost = "m"\nqueue_name = "r"\n')
    found = collect({"port": 4, "host": None}, {"MUSPROJ_PORT": "3", "MUSPROJ_HOST": "e"})
    assert {name: (value, Path(source).name) for name, (value, source) in found.items()} == {
        "port": (4, "--port"),
        "host": ("e", "MUSPROJ_HOST"),
        "queue_name": ("r", "musproj.toml"),
        "log": ("info", "config.toml"),
    }


def test_names_of_hosting_platforms_are_read_where_ours_is_absent():
    assert Settings.load({}, {"PORT": "80"}).port == 80
    assert Settings.load({}, {"PORT": "80", "MUSPROJ_PORT": "81"}).port == 81


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path):
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    settings = load(api_key_file=str(path))
    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)
    with pytest.raises(ConfigurationError, match="API_KEY_FILE"):
        load(api_key_file=str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"prot": "1"}, "MUSPROJ_PROT"),
        ({"port": "http"}, "MUSPROJ_PORT cannot be 'http'"),
        ({"port": "70000"}, "port"),
        ({"auto_confirm": "maybe"}, "true or false"),
        ({"isolation": "docker"}, "isolation"),
        ({"concurrency": "0"}, "concurrency"),
    ],
)
def test_unknown_names_and_bad_values_are_told(environ, text):
    with pytest.raises(ConfigurationError, match=text):
        load(**environ)


def test_the_nearest_name_is_suggested():
    with pytest.raises(ConfigurationError) as caught:
        load(max_uplod_bytes="1")
    assert caught.value.hint == "Did you mean MUSPROJ_MAX_UPLOAD_BYTES?"


def test_an_empty_value_is_an_absent_one():
    assert load(concurrency="") == Settings.load({}, {})


def test_a_broken_file_is_named():
    Path("musproj.toml").write_text("port =")
    with pytest.raises(ConfigurationError, match=r"musproj\.toml"):
        Settings.load({}, {})
    Path("musproj.toml").write_text("prot = 1")
    with pytest.raises(ConfigurationError, match=r"musproj\.toml"):
        Settings.load({}, {})


def test_lists_paths_and_addresses():
    settings = load(cors_origins="https://a.example, https://b.example", data="~/audio", host="::1", root_path="/x")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.data == Path("~/audio").expanduser()
    assert settings.base_url == "http://[::1]:8700/x"
    assert load(public_url="https://audio.example/").base_url == "https://audio.example"
    assert not load(host="0.0.0.0").is_loopback
