"""The probe: in this process, and in a helper that may be killed by what it reads."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from musproj.domain.media import CONTENT_TYPES
from musproj.errors import (
    AudioCorruptError,
    AudioEmptyError,
    BackendUnavailableError,
    CodecCrashedError,
    LimitExceededError,
    NotAudioError,
)
from musproj.processors import _probe_helper, probe
from musproj.processors._formats.source import PARSED, THROUGH_AV, THROUGH_SOUNDFILE
from musproj.processors.limits import Limits
from musproj.processors.probe import HelperProbe, open_probe, probe_file
from musproj.testing import tones

RATE = 44_100


@pytest.fixture
def helper():
    own = HelperProbe()
    yield own
    own.close()


@pytest.fixture(scope="module")
def shared():
    """Give a probe whose helper lives as long as these tests: most files do it no harm."""
    helper = HelperProbe()
    yield helper
    helper.close()


@pytest.fixture
def wav(tmp_path):
    return tones.write(tmp_path / "in.wav", tones.music(1.0), RATE, "PCM_16")


def pid_of(helper):
    return helper._helpers[os.getpid()].process.pid


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg", "x.opus", "x.mp3", "x.aiff", "x.caf"])
def test_the_helper_tells_what_the_probe_here_tells(shared, tmp_path, name):
    path = tones.write(tmp_path / name, tones.music(1.0, 48_000), 48_000, None)
    info = shared.probe(path)
    assert info == probe_file(path)
    assert info.container in CONTENT_TYPES
    assert (info.sample_rate, info.channels) == (48_000, 2)
    assert info.size_bytes == path.stat().st_size
    assert info.duration == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", sorted(tones.hostile_files()))
def test_hostile_files_give_the_same_error_through_the_helper(shared, file, name):
    path = file(tones.hostile_files()[name])
    outcomes = []
    for probe_it in (probe_file, shared.probe):
        try:
            outcomes.append(probe_it(path))
        except Exception as error:  # noqa: BLE001 -- whatever it is, both must agree
            outcomes.append((type(error), str(error), error.facts))
    assert outcomes[0] == outcomes[1]


def test_one_helper_serves_many_files_quickly(helper, wav):
    helper.probe(wav)
    first = pid_of(helper)
    began = time.perf_counter()
    for _ in range(100):
        helper.probe(wav)
    assert time.perf_counter() - began < 2.0  # 0.2 ms each when the machine is idle
    assert pid_of(helper) == first


def test_limits_reach_the_helper(wav):
    helper = open_probe(max_duration_s=0.5)
    try:
        with pytest.raises(LimitExceededError) as caught:
            helper.probe(wav)
        assert caught.value.facts == {"limit": "duration", "value": 1.0, "max": 0.5}
    finally:
        helper.close()


def test_a_killed_helper_is_replaced(helper, wav):
    helper.probe(wav)
    first = pid_of(helper)
    os.kill(first, signal.SIGKILL)
    assert helper.probe(wav).channels == 2
    assert pid_of(helper) != first


SLOW_OR_DEADLY = """
import json, os, sys, time
for line in sys.stdin.buffer:
    name = os.path.basename(json.loads(line)["path"])
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("die"):
        os.abort()
    if name.startswith("chatter"):
        sys.stdout.write("x" * 200_000)
        sys.stdout.flush()
    print(json.dumps({"info": {"container": "wav", "size_bytes": os.getpid()}}), flush=True)
"""


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Give a probe whose helper hangs or dies by the file's name."""
    module = tmp_path / "broken_helper.py"
    module.write_text(SLOW_OR_DEADLY)
    monkeypatch.setattr(probe, "HELPER_MODULE", "broken_helper")
    monkeypatch.setattr(probe, "_PACKAGE_ROOT", tmp_path)
    broken = HelperProbe(timeout_seconds=0.5)
    yield broken
    broken.close()


@pytest.mark.parametrize("name", ["hang", "die", "chatter"])
def test_a_file_that_the_helper_does_not_survive_is_told(broken, file, name):
    fine = file(b"", "fine")
    before = broken.probe(fine).size_bytes
    with pytest.raises(CodecCrashedError):
        broken.probe(file(b"", name))
    after = broken.probe(fine).size_bytes
    assert after != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_several_threads_share_the_helper(helper, wav, file):
    text = file(b"<html>")
    results = []

    def work():
        for _ in range(20):
            results.append(helper.probe(wav).channels)
            with pytest.raises(NotAudioError):
                helper.probe(text)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 80


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_a_helper_of_its_own(helper, wav):
    helper.probe(wav)
    mine = pid_of(helper)
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            helper.probe(wav)
            os.write(write_end, str(pid_of(helper)).encode())
            helper.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    theirs = int(os.read(read_end, 100))
    os.close(read_end)
    assert theirs != mine
    assert helper.probe(wav).channels == 2
    assert pid_of(helper) == mine


def test_closing_ends_the_helper_and_a_later_call_starts_another(helper, wav):
    helper.close()  # nothing runs yet
    helper.probe(wav)
    first = pid_of(helper)
    helper.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert helper.probe(wav).channels == 2


def test_no_secret_reaches_the_helper(helper, wav, monkeypatch):
    monkeypatch.setenv("MUSPROJ_S3_SECRET_ACCESS_KEY", "hush")
    helper.probe(wav)
    try:
        environment = Path(f"/proc/{pid_of(helper)}/environ").read_bytes()
    except OSError:
        pytest.skip("only Linux shows the environment of a process")
    assert b"hush" not in environment


def test_the_helper_is_limited(helper, wav):
    helper.probe(wav)
    try:
        limits = Path(f"/proc/{pid_of(helper)}/limits").read_text()
    except OSError:
        pytest.skip("only Linux shows the limits of a process")
    rows = {line[:25].strip(): line[25:].split()[0] for line in limits.splitlines()[1:]}
    assert rows["Max file size"] == "0"
    assert rows["Max core file size"] == "0"
    assert rows["Max open files"] == "64"
    assert int(rows["Max address space"]) < 8 * 2**30
    assert int(rows["Max cpu time"]) < 60


def test_a_file_that_cannot_be_read_is_the_backends_fault(helper, tmp_path):
    with pytest.raises(BackendUnavailableError):
        helper.probe(tmp_path / "nowhere")


def test_a_helper_that_cannot_start_is_told(wav, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BackendUnavailableError):
        HelperProbe().probe(wav)


def test_the_helpers_answer_holds_json_only(wav, file):
    request = {"limits": {}}
    assert _probe_helper.answer({**request, "path": str(wav)})["info"]["channels"] == 2
    error = _probe_helper.answer({**request, "path": str(file(b"text"))})
    assert (error["error"], error["facts"]) == ("NotAudioError", {})
    assert _probe_helper.answer({**request, "path": "/nowhere"})["error"] == "BackendUnavailableError"


def test_every_container_that_is_read_has_a_media_type():
    assert {*PARSED, *THROUGH_SOUNDFILE, *THROUGH_AV} < set(CONTENT_TYPES)


@pytest.mark.parametrize(("frames", "error"), [(0, AudioEmptyError), (5, AudioCorruptError)])
def test_a_codec_that_gives_nothing_is_empty_or_corrupt(tmp_path, file, frames, error):
    data = tones.write(tmp_path / "x.flac", tones.music(1.0), RATE, "PCM_16").read_bytes()
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
    last_block = bytes([0x80]) + data[5:8]
    path = file(data[:4] + last_block + data[8:18] + packed.to_bytes(8, "big") + data[26:42])
    with pytest.raises(error):
        probe_file(path)


def test_limits_have_sane_defaults():
    assert Limits() == Limits(
        max_channels=8, min_sample_rate=4_000, max_sample_rate=384_000, max_duration_seconds=21_600
    )
