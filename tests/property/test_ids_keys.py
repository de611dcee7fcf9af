"""Whatever text comes in: an id or key that is let through stays what it says and inside its store."""

import ntpath
import posixpath
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from musproj.domain.ids import is_id, new_asset_id, new_job_id
from musproj.domain.keys import asset_prefix, attachment_key, file_key, object_key, parse_file_key, version_prefix
from musproj.errors import InvalidError

START = datetime(2020, 1, 1, tzinfo=UTC)

texts = st.text(max_size=40) | st.text(st.sampled_from("ab/.\\_- :%\0\n"), max_size=12)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
names = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)
extensions = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
numbers = st.integers(1, 10**9)


@given(texts)
def test_a_key_that_is_let_through_stays_inside_its_root(text):
    try:
        key = object_key(text)
    except InvalidError:
        return
    for path in (posixpath, ntpath):
        assert path.normpath(path.join("root", key)) == path.join("root", *key.split("/"))
        assert not path.isabs(key)
        assert path.splitdrive(key)[0] == ""
    assert key.isascii()
    assert key.isprintable()


@given(texts)
def test_an_id_is_one_part_of_a_key(text):
    if is_id(text):
        assert object_key(f"assets/{text}/v1/source.wav").split("/")[1] == text
    else:
        assert parse_file_key(f"assets/{text}/v1/source.wav") is None


@given(ids, ids, numbers, numbers)
def test_prefixes_of_two_assets_or_numbers_never_overlap(one, other, first, second):
    if one != other:
        assert not asset_prefix(one).startswith(asset_prefix(other))
    if first != second:
        assert not version_prefix(one, first).startswith(version_prefix(one, second))


@given(ids, numbers, names, extensions, ids)
def test_every_key_that_is_built_is_read_back(asset, number, name, extension, job):
    for key, stem in (
        (file_key(asset, number, name, extension), name),
        (attachment_key(asset, number, name, job, extension), f"{name}-{job}"),
    ):
        parts = parse_file_key(object_key(key))
        assert parts is not None
        assert (parts.asset_id, parts.version, parts.stem, parts.extension) == (asset, number, stem, extension)


@given(st.lists(st.integers(0, 10**11), min_size=2, max_size=20, unique=True))
def test_ids_of_different_milliseconds_sort_by_time(millis):
    times = [START + timedelta(milliseconds=number) for number in sorted(millis)]
    for make in (new_asset_id, new_job_id):
        made = [make(time) for time in times]
        assert made == sorted(made)
