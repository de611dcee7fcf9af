"""The page about the processors tells what there is."""

import json
import re
from pathlib import Path

import attrs
import pytest

from musproj.application import params
from musproj.errors import ProcessingError
from musproj.processors.analyze import AnalyzeParams, analyze
from musproj.processors.enhance import EnhanceParams, enhance
from musproj.testing import tones
from musproj.testing.processors import as_input

ROOT = Path(__file__).parents[3]
PAGE = ROOT.joinpath("docs/reference/processors.md").read_text(encoding="utf-8")
SOURCES = ROOT / "src/musproj/processors"


def rows(heading):
    """Return the cells of the table below a heading, without its head."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell):
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("processor", [analyze, enhance])
def test_the_parameters_are_those_of_the_declaration(processor):
    told = []
    for name, entry in params.schema(processor.spec.params)["properties"].items():
        field = next(field for field in attrs.fields(processor.spec.params) if params.camel(field.name) == name)
        among = entry.get("enum") or ()
        span = f"{field.metadata['min']} to {field.metadata['max']}" if "min" in field.metadata else ""
        told.append(
            [
                f"`{name}`",
                f"`{json.dumps(field.default)}`",
                span or ", ".join(f"`{json.dumps(value)}`" for value in among),
                field.metadata.get("unit", ""),
                field.metadata["description"],
            ]
        )

    assert rows(f"Parameters of {processor.spec.name}") == told


@pytest.mark.parametrize(("processor", "options"), [(analyze, AnalyzeParams(curves=True)), (enhance, EnhanceParams())])
def test_the_result_holds_the_keys_of_the_page(processor, options, tmp_path, ctx):
    path = tones.write(tmp_path / "in.wav", tones.music(4.0), 44_100)

    data = processor.run({"input": as_input(path)}, options, ctx).data
    listed = {name for cells in rows(f"Result of {processor.spec.name}") for name in names(cells[0])}
    only_sometimes = {"truncated", "nonFiniteSamples", "outOfRangeSamples", "clippedSamples"}

    assert listed - only_sometimes == set(data)


def test_the_errors_are_codes_of_this_library():
    known = {kind.code for kind in ProcessingError.__subclasses__()} | {"invalid_params"}

    assert {name for cells in rows("Errors") for name in names(cells[0])} <= known


def test_the_warnings_are_those_that_are_given():
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    given = set(re.findall(r'(?:warn|Note)\(\s*"(\w+)"', source))

    assert {name for cells in rows("Warnings") for name in names(cells[0])} == given
