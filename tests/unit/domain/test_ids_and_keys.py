from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.domain.ids import asset_id, is_id, job_id, new_asset_id, new_job_id, new_token
from musproj.domain.keys import (
    MAX_KEY_BYTES,
    asset_prefix,
    attachment_key,
    file_key,
    is_file_name,
    object_key,
    parse_file_key,
    version_prefix,
)
from musproj.errors import InvalidError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = ["", "a/b", "..", "a b", "a*", "a:b", "ä", "a\n", "a\0", "%2e%2e", "x" * 65, "job_1;DROP", "\uff11\uff12"]
names = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)
extensions = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
times = st.datetimes(datetime(1971, 1, 1), datetime(2400, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@given(times, times)
def test_ids_sort_by_time_and_never_meet(first, second):
    one, other = new_job_id(first), new_job_id(second)
    assert one != other
    if abs(second - first) >= timedelta(milliseconds=2):
        assert (one < other) == (first < second)


def test_an_id_carries_its_kind_and_eighty_random_bits():
    made = {new_asset_id(NOW) for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(text.startswith("ast_") and len(text) == 30 and is_id(text) for text in made)
    assert len({text[14:] for text in made}) == 1_000
    assert len(new_token()) == 32


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_id_never_gets_further(text):
    assert not is_id(text)
    for check in (asset_id, job_id):
        with pytest.raises(InvalidError) as caught:
            check(text)
        assert caught.value.violations[0].code == "pattern"


def test_an_id_of_another_make_is_let_through():
    assert asset_id("ast_1") == "ast_1"
    assert job_id("A-b_9") == "A-b_9"


@given(names, extensions, st.integers(1, 10**6))
def test_a_file_key_says_what_it_was_made_of(name, extension, number):
    made = new_asset_id(NOW)
    key = file_key(made, number, name, extension)
    parts = parse_file_key(key)
    assert parts is not None
    assert (parts.asset_id, parts.version, parts.stem, parts.extension) == (made, number, name, extension)
    assert key.startswith(version_prefix(made, number))
    assert key.startswith(asset_prefix(made))
    assert object_key(key) == key


def test_the_keys_of_the_seed():
    assert file_key("ast_1", 3, "vocals", "wav") == "assets/ast_1/v3/vocals.wav"
    assert attachment_key("ast_1", 2, "peaks", "job_9", "dat") == "assets/ast_1/v2/peaks-job_9.dat"
    assert asset_prefix("a") == "assets/a/"  # the slash keeps a2 out


@pytest.mark.parametrize("name", ["", "../x", "a.b", "A", "a b", "x" * 33, "ä"])
def test_a_file_name_that_could_leave_its_folder_is_refused(name):
    assert not is_file_name(name)
    with pytest.raises(InvalidError):
        file_key("ast_1", 1, name, "wav")
    with pytest.raises(InvalidError):
        attachment_key("ast_1", 1, name, "job_1", "wav")


@pytest.mark.parametrize("extension", ["", "php/..", "WAV", "x" * 9, "tar.gz"])
def test_an_extension_is_short_and_plain(extension):
    with pytest.raises(InvalidError):
        file_key("ast_1", 1, "source", extension)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden",
        "a/.b",
        "a\\b",
        "a\0b",
        "a b",
        "é",
        "a\n",
    ],
)
def test_a_key_that_a_store_could_take_for_a_path_is_refused(key):
    with pytest.raises(InvalidError):
        object_key(key)


def test_a_key_may_be_as_long_as_the_stores_allow():
    assert object_key("a" * MAX_KEY_BYTES)
    with pytest.raises(InvalidError):
        object_key("a" * (MAX_KEY_BYTES + 1))


@pytest.mark.parametrize("key", ["assets/a/v0/x.wav", "assets/a/v01/x.wav", "assets/a/vx/x.wav", "a/v1/x.wav", "x"])
def test_other_keys_are_no_files(key):
    assert parse_file_key(key) is None
