"""What processors declare, which must be readable without what they run with."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from musproj.application import params
from musproj.ports.processor import AudioInfo
from musproj.processors.enhance import enhance
from musproj.registry import BUILT_IN, PROCESSORS, ProcessorCatalog

HEAVY = ("numpy", "scipy", "soundfile", "soxr", "av")


MODULES = sorted({target.partition(":")[0] for target in BUILT_IN[PROCESSORS].values()})


@pytest.fixture(params=sorted(BUILT_IN[PROCESSORS]))
def processor(request):
    return ProcessorCatalog().get(request.param)


@pytest.mark.parametrize("module", [*MODULES, "musproj.processors.probe"])
def test_a_specification_costs_no_audio_library(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    environment = {"PYTHONPATH": str(Path(params.__file__).parents[2])}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_every_parameter_is_described_and_bounded(processor):
    for name, entry in params.schema(processor.spec.params)["properties"].items():
        assert entry["description"], name
        field = field_of(processor, name)
        assert "default" in entry or field.default in (None, attrs.NOTHING), name
        if entry["type"] in ("number", "integer") and "enum" not in entry:
            assert entry["minimum"] < entry["maximum"], name


BESIDE = {"min_seconds": {"max_seconds": 120.0}, "max_seconds": {"min_seconds": 0.25}}
"""What a bound takes beside it."""


def test_metadata_and_validators_agree(processor):
    for field in attrs.fields(processor.spec.params):
        if field.default in (None, attrs.NOTHING):
            continue  # what it may be depends on the others, which a test of its own tells
        for bound in ("min", "max"):
            if bound in field.metadata:
                processor.spec.params(**{field.name: field.metadata[bound]}, **BESIDE.get(field.name, {}))
                beyond = field.metadata[bound] + (1 if bound == "max" else -1)
                with pytest.raises(ValueError, match=field.name):
                    processor.spec.params(**{field.name: beyond}, **BESIDE.get(field.name, {}))


def test_scipy_is_never_loaded(tmp_path):
    """It would cost a second and 70 MiB; nothing here needs it."""
    code = """
import sys
from pathlib import Path
from musproj.processors.enhance import enhance
from musproj.testing import tones
from musproj.testing.processors import RecordingContext, as_input
home = Path(sys.argv[1])
source = as_input(tones.write(home / "in.wav", tones.music(1.0), 44_100))
enhance.run({"input": source}, enhance.spec.params(), RecordingContext(home))
print("scipy" in sys.modules)
"""
    environment = {"PYTHONPATH": str(Path(params.__file__).parents[2])}
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "False"


def test_more_channels_declare_more_memory():
    def declared(channels):
        return enhance.spec.memory_mb(AudioInfo(container="wav", channels=channels, size_bytes=0))

    assert declared(None) == declared(1) == declared(2) <= 160
    assert declared(8) > declared(2)


def field_of(processor, name):
    return next(field for field in attrs.fields(processor.spec.params) if params.camel(field.name) == name)
