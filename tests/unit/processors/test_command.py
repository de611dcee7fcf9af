"""A program as a processor: what it is given, what becomes of it, and what is wrong with the file that tells it."""

import os
import pickle
import re
import shutil
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from musproj.application import params
from musproj.errors import ConfigurationError, JobCancelledError, OutputInvalidError, ProcessingError
from musproj.processors.command import Command, read_command
from musproj.registry import ProcessorCatalog, missing_for
from musproj.testing import tones
from musproj.testing.processors import ProcessorContract, RecordingContext, as_input, decode

PAGE = Path(__file__).parents[3].joinpath("docs/howto/run-a-program.md").read_text(encoding="utf-8")
TEMPO = re.search(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]

COPY = """
import json, os, shutil, sys
shutil.copy(sys.argv[1], sys.argv[2])
print(json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}), file=sys.stderr)
"""


@pytest.fixture
def command(tmp_path):
    """Give a function that makes a processor of a Python program."""

    def command(source, arguments=("{input}", "{output}"), **changes):
        script = tmp_path / "program.py"
        script.write_text(source)
        document = {
            "name": "own",
            "version": "1",
            "program": sys.executable,
            "arguments": [str(script), *arguments],
            "outputs": {"made": {"extension": "wav"}},
            **changes,
        }
        return Command(document)

    return command


@pytest.fixture
def run(tmp_path):
    """Give a function that runs it on a tone."""

    def run(processor, *, cancel_at=None, sound=None, **given):
        workdir = tmp_path / "work"
        workdir.mkdir()
        path = tones.write(tmp_path / "in.flac", tones.music(2.0) if sound is None else sound, 44_100, "PCM_16")
        ctx = RecordingContext(workdir, cancel_at)
        inputs = {port.name: as_input(path) for port in processor.spec.inputs}
        return processor.run(inputs, params.parse(processor.spec.params, given), ctx), ctx, decode(path)

    return run


def test_the_program_gets_a_plain_wav_and_its_output_is_taken(command, run):
    outcome, ctx, source = run(command(COPY))

    assert np.array_equal(decode(outcome.files["made"]), source)
    assert {path.name for path in ctx.workdir.iterdir()} == {"made.wav"}
    assert ctx.fractions == sorted(ctx.fractions)
    assert ctx.fractions[-1] == 1


def test_nothing_of_ours_is_in_its_environment(command, run, monkeypatch):
    monkeypatch.setenv("MUSPROJ_API_KEY", "very-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    tell = "import os, sys\nsys.exit(repr(sorted(os.environ)) + os.getcwd())"

    with pytest.raises(ProcessingError) as caught:
        run(command(tell))

    assert "'HOME', 'LC_ALL'" in caught.value.message
    assert "AWS" not in caught.value.message
    assert "MUSPROJ" not in caught.value.message
    assert caught.value.message.endswith("/work")


def test_what_is_put_in_stays_one_argument(command, run):
    tell = "import sys\nsys.exit(repr(sys.argv[1:]))"
    table = {
        "mode": {"type": "choice", "choices": ["a b; rm -rf /", "x"], "default": "a b; rm -rf /"},
        "level": {"type": "number", "min": -1.0, "max": 1e6, "default": 1e-7},
        "count": {"type": "integer", "min": 0, "max": 9, "default": 3},
        "fast": {"type": "boolean", "default": True},
    }
    arguments = ["{input}", "{output.made}", "m={params.mode}", "{params.level}", "{params.count}{params.fast}", "{a}}"]

    with pytest.raises(ProcessingError) as caught:
        run(command(tell, arguments[:-1], params=table))

    expected = ["./in-input.wav", "./made.wav", "m=a b; rm -rf /", "0.0000001", "3true"]
    assert caught.value.message.endswith(repr(expected))


def test_a_failure_tells_the_last_words(command, run):
    with pytest.raises(ProcessingError, match=r"ended with 3: the end$") as caught:
        run(command("print('x' * 10_000_000)\nprint('the end')\nraise SystemExit(3)"))

    assert caught.value.code == "processing_failed"


def test_a_program_that_writes_nothing_has_failed(command, run):
    with pytest.raises(OutputInvalidError, match="did not write: made"):
        run(command("pass"))


def test_a_cancellation_kills_it(command, run, tmp_path):
    program = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    begun = time.monotonic()

    with pytest.raises(JobCancelledError):
        run(command(program), cancel_at=40)

    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_program_that_is_not_there_is_told(command, run):
    processor = command("pass", program="no-such-program")

    assert missing_for(processor.spec) == ["no-such-program"]
    assert "own" not in ProcessorCatalog(extra=[processor]).runnable()
    with pytest.raises(ConfigurationError, match="no-such-program"):
        run(processor)


def test_a_program_is_found_where_the_worker_found_it(command, run, tmp_path, monkeypatch):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "own-python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(folder))
    processor = command(COPY, program="own-python")

    assert missing_for(processor.spec) == []
    assert run(processor)[0].files["made"].is_file()


def test_several_inputs_and_outputs(command, run):
    swap = "import shutil, sys\nshutil.copy(sys.argv[1], sys.argv[4])\nshutil.copy(sys.argv[2], sys.argv[3])"
    outputs = {"one": {"extension": "wav", "kind": "first"}, "two": {"extension": "wav"}}
    arguments = ("{left}", "{right}", "{output.one}", "{output.two}")
    processor = command(swap, arguments, inputs=["left", "right"], outputs=outputs)

    outcome, _, _ = run(processor)

    assert set(outcome.files) == {"one", "two"}
    assert [port.kind for port in processor.spec.outputs] == ["first", "two"]


def test_names_of_any_letters_are_filled(command, run):
    arguments = ("{größe}", "{output.my-out}", "{output.größe}")
    outputs = {"my-out": {"extension": "wav"}, "größe": {"extension": "wav"}}
    copies = COPY + "shutil.copy(sys.argv[1], sys.argv[3])"

    outcome, _, source = run(command(copies, arguments, inputs=["größe"], outputs=outputs))

    assert list(outcome.files) == ["my-out", "größe"]
    assert all(np.array_equal(decode(path), source) for path in outcome.files.values())


def test_it_travels_to_another_process(command, run):
    outcome, _, source = run(pickle.loads(pickle.dumps(command(COPY))))

    assert np.array_equal(decode(outcome.files["made"]), source)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = 3", "missing"),
        ("[", "cannot be read"),
        (TEMPO.replace('program = "ffmpeg"', ""), "program is missing"),
        (TEMPO + "\n[extra]\na = 1", "extra is unknown"),
        (TEMPO.replace("speed = 50", 'speed = "fast"'), "speed has the wrong type"),
        (TEMPO.replace("speed = 50", 'publishes = "result"'), "publishes must be one of"),
        (TEMPO.replace("{input}", "{inptu}"), "{inptu} is unknown"),
        (TEMPO.replace("{params.factor}", "{params.fact}"), "{params.fact} is unknown"),
        (TEMPO.replace('extension = "wav"', 'extension = "../wav"'), "outputs must be tables"),
        (TEMPO.replace('type = "number"', 'type = "text"'), "type must be one of"),
        (TEMPO.replace("max = 2.0", ""), "min and max are missing"),
        (TEMPO.replace("default = 1.25", "default = 9.0"), "factor"),
        (TEMPO.replace("default = 1.25", ""), "default is missing"),
        (TEMPO.replace('type = "number"', 'type = "choice"\nchoices = [1]'), "choices must be texts"),
        (TEMPO.replace('type = "number"', 'type = "choice"\nchoices = 3'), "params.factor: choices must be texts"),
        (TEMPO.replace("params.factor", "params.from"), "params.from: a parameter cannot have this name"),
        (
            TEMPO.replace("[params.factor", '[params."größe"').replace("{params.factor", "{params.größe"),
            "params.größe must be a table, and its name",
        ),
        (TEMPO.replace("{params.factor}", "{params.größe}"), "{params.größe} is unknown"),
        (TEMPO.replace("{output}", "{output.my-out}"), "{output.my-out} is unknown"),
    ],
    ids=str,
)
def test_a_wrong_file_is_told_with_its_reason(tmp_path, text, reason):
    path = tmp_path / "command.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        read_command(path)

    assert reason in caught.value.message
    assert str(path) in caught.value.message


def test_the_schema_is_that_of_the_file(tmp_path):
    path = tmp_path / "tempo.toml"
    path.write_text(TEMPO)

    entry = params.schema(read_command(path).spec.params)["properties"]["factor"]

    assert (entry["type"], entry["minimum"], entry["maximum"], entry["default"]) == ("number", 0.5, 2.0, 1.25)


def test_the_example_of_the_page_is_what_it_says(tmp_path, run):
    assert shutil.which("ffmpeg"), "ffmpeg is needed"
    path = tmp_path / "tempo.toml"
    path.write_text(TEMPO)

    outcome, _, source = run(read_command(path), factor=2.0)

    assert len(decode(outcome.files["tempo"])) == pytest.approx(len(source) / 2, rel=0.05)


class TestCommand(ProcessorContract):
    @pytest.fixture
    def processor(self):
        return Command(tomllib.loads(TEMPO))
