"""A processor on local files, without a store and without a queue."""

import hashlib
from pathlib import Path

import attrs
import pytest
from attrs.validators import in_

from musproj.application.oneoff import OneOff
from musproj.errors import (
    ConflictError,
    InvalidError,
    InvalidParamsError,
    OutputInvalidError,
    UnknownJobTypeError,
)
from musproj.ports.processor import Outcome, Port, ProcessorSpec
from musproj.processors.limits import DEFAULT_LIMITS
from musproj.registry import ProcessorCatalog
from musproj.testing.trouble import PROCESSORS, Trouble, write_tone
from musproj.worker.child import InProcessProbe


@attrs.frozen(kw_only=True)
class FormatParams:
    format: str = attrs.field(default="wav", validator=in_(("wav", "json")))


def formatted(inputs, params, ctx):
    path = ctx.workdir / f"made.{params.format}"
    path.write_bytes(inputs["input"].path.read_bytes())
    ctx.warn("clipped", "A sample is clipped.")
    return Outcome(files={"made": path}, data={"format": params.format})


def failing(inputs, params, ctx):
    (ctx.workdir / "half.wav").write_bytes(b"half")
    raise RuntimeError("in the middle")


def sums(inputs, params, ctx):
    return Outcome(data={name: given.sha256 for name, given in inputs.items()})


OUTPUT = (Port("made", "made", ("application/octet-stream",)),)
CASES = (
    Trouble(ProcessorSpec(name="formatted", version="3", params=FormatParams, outputs=OUTPUT), formatted),
    Trouble(ProcessorSpec(name="failing", version="1", params=FormatParams, outputs=OUTPUT), failing),
    Trouble(
        ProcessorSpec(
            name="sums",
            version="1",
            params=FormatParams,
            publishes="result",
            inputs=(Port("left", "a"), Port("right", "b", required=False)),
        ),
        sums,
    ),
)


@pytest.fixture
def oneoff():
    return OneOff(catalog=ProcessorCatalog(extra=(*PROCESSORS, *CASES)), probe=InProcessProbe(DEFAULT_LIMITS))


@pytest.fixture
def tone(tmp_path):
    return write_tone(tmp_path / "tone.wav")


def test_the_file_is_written_where_it_was_wanted_and_described(oneoff, tone, tmp_path):
    result = oneoff.run("copy", tone, {"seed": 2}, output=tmp_path / "out.wav")

    (file,) = result.files
    assert (file.path, file.name, file.kind) == (tmp_path / "out.wav", "copied", "copied")
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert file.size_bytes == file.path.stat().st_size
    assert file.info.sample_rate == 8_000
    assert (result.processor, result.processor_version) == ("copy", "1")
    assert result.params == {"seconds": 0.0, "seed": 2}
    assert result.data == {"seed": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.wav", "tone.wav"]


def test_several_files_go_into_a_folder_which_is_made(oneoff, tone, tmp_path):
    result = oneoff.run("stems", tone, output=tmp_path / "new" / "stems")

    assert [file.path for file in result.files] == [tmp_path / "new" / "stems" / f"{n}.wav" for n in ("low", "high")]
    assert all(file.path.is_file() for file in result.files)


def test_a_result_needs_no_output(oneoff, tone):
    assert oneoff.run("look", tone).data == {"bytes": 4_044}


def test_progress_ends_at_100_and_never_falls(oneoff, tone):
    seen = []

    oneoff.run("look", tone, {"seconds": 0.05}, on_progress=lambda percent, stage: seen.append((percent, stage)))

    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert ("working" in {stage for _, stage in seen}) is True


def test_inputs_come_by_port_with_their_sha256(oneoff, tone, tmp_path):
    other = write_tone(tmp_path / "other.wav", seed=4)

    result = oneoff.run("sums", {"left": tone, "right": other})

    expected = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in {"left": tone, "right": other}.items()
    }
    assert result.data == expected


def test_every_wrong_port_is_told(oneoff, tone):
    with pytest.raises(InvalidError) as caught:
        oneoff.run("look", {"inptu": tone})
    told = {violation.pointer: violation.detail for violation in caught.value.violations}
    assert told == {
        "/inputs/inptu": "no such input; did you mean input?",
        "/inputs/input": "this input is required",
    }


def test_the_name_of_the_output_chooses_the_format_where_nobody_else_did(oneoff, tone, tmp_path):
    assert oneoff.run("formatted", tone, output=tmp_path / "out.json").data["format"] == "json"
    with pytest.raises(InvalidError, match=r"made a \.wav file"):
        oneoff.run("formatted", tone, {"format": "wav"}, output=tmp_path / "other.json")
    with pytest.raises(InvalidParamsError):
        oneoff.run("formatted", tone, output=tmp_path / "out.mp3")


def test_warnings_are_in_the_data(oneoff, tone, tmp_path):
    result = oneoff.run("formatted", tone, output=tmp_path / "out.wav")
    assert result.data["warnings"] == [{"code": "clipped", "message": "A sample is clipped."}]


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(oneoff, tone, tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"precious")

    with pytest.raises(ConflictError) as caught:
        oneoff.run("copy", tone, output=target)
    assert target.read_bytes() == b"precious"
    assert "--force" in caught.value.hint

    oneoff.run("copy", tone, output=target, force=True)
    assert target.read_bytes().startswith(b"RIFF")


def test_one_file_that_is_there_keeps_its_sisters_away_too(oneoff, tone, tmp_path):
    (tmp_path / "stems").mkdir()
    (tmp_path / "stems" / "high.wav").write_bytes(b"precious")

    with pytest.raises(ConflictError):
        oneoff.run("stems", tone, output=tmp_path / "stems")
    assert [path.name for path in (tmp_path / "stems").iterdir()] == ["high.wav"]


def test_a_file_that_appears_meanwhile_is_not_replaced(oneoff, tone, tmp_path):
    from musproj.application import oneoff as module

    source, target = write_tone(tmp_path / "a.wav"), tmp_path / "b.wav"
    target.write_bytes(b"precious")
    with pytest.raises(ConflictError):
        module._move_to_free(source, target)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("job_type", ["failing", "silent", "forger"])
def test_a_failure_leaves_nothing_behind(oneoff, tone, tmp_path, job_type):
    with pytest.raises((RuntimeError, OutputInvalidError)):
        oneoff.run(job_type, tone, output=tmp_path / "out.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]


@pytest.mark.parametrize(
    ("job_type", "inputs", "output", "error"),
    [
        ("cpoy", "tone", "out.wav", UnknownJobTypeError),
        ("copy", "tone", None, InvalidError),
        ("copy", "tone", ".", InvalidError),
        ("stems", "tone", "tone.wav", InvalidError),
        ("look", "tone", "out.wav", InvalidError),
        ("sums", "tone", None, InvalidError),
        ("sums", {"right": "tone"}, None, InvalidError),
        ("look", "absent", None, FileNotFoundError),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(oneoff, tone, tmp_path, job_type, inputs, output, error):
    paths = {"tone": tone, "absent": tmp_path / "absent.wav"}
    given = paths[inputs] if isinstance(inputs, str) else {port: paths[name] for port, name in inputs.items()}

    with pytest.raises(error):
        oneoff.run(job_type, given, output=tmp_path / output if output else None)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["tone.wav"]
