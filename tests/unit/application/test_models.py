"""Which files a job may name as models."""

import hashlib
import os

import pytest

from musproj.application.execution_context import CallbackPulse, RunContext
from musproj.application.models import NO_MODELS, ModelFolder
from musproj.errors import ModelInvalidError


@pytest.fixture
def folder(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "voice.onnx").write_bytes(b"model")
    (models / "sub").mkdir()
    (models / ".hidden").write_bytes(b"x")
    os.mkfifo(models / "pipe")
    (tmp_path / "secret").write_bytes(b"secret")
    return models


def test_a_model_of_the_folder_is_found_with_its_hash(folder):
    found = ModelFolder(folder).find("voice.onnx")

    assert found.path == folder / "voice.onnx"
    assert (found.name, found.sha256) == ("voice.onnx", hashlib.sha256(b"model").hexdigest())


@pytest.mark.parametrize(
    "name",
    ["nothing", "../secret", "sub/../voice.onnx", "sub", ".", "..", "", ".hidden", "pipe", "/etc/passwd", "a\0b"],
)
def test_nothing_else_is(folder, name):
    with pytest.raises(ModelInvalidError) as caught:
        ModelFolder(folder).find(name)

    assert "MUSPROJ_MODELS" in caught.value.hint


def test_without_a_folder_there_is_none():
    with pytest.raises(ModelInvalidError):
        NO_MODELS.find("voice.onnx")


def test_who_types_a_command_may_name_any_file(folder, tmp_path):
    found = ModelFolder(folder, takes_paths=True).find(str(tmp_path / "secret"))

    assert (found.name, found.path) == ("secret", tmp_path / "secret")


def test_a_run_remembers_its_models(folder, tmp_path):
    ctx = RunContext(tmp_path, CallbackPulse(lambda _percent, _stage: None), ModelFolder(folder))
    ctx.model("voice.onnx")
    ctx.model("voice.onnx")

    assert [model.name for model in ctx.models] == ["voice.onnx"]


def test_a_name_that_is_too_long_is_none(folder):
    with pytest.raises(ModelInvalidError):
        ModelFolder(folder, takes_paths=True).find("é" * 200)
