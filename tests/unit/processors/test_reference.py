"""The pages about the processors tell what there is."""

import json
import re
from pathlib import Path

import attrs
import pytest

from musproj.application import params
from musproj.errors import ProcessingError
from musproj.registry import BUILT_IN, PROCESSORS, ProcessorCatalog

ROOT = Path(__file__).parents[3]
PAGE = ROOT.joinpath("docs/reference/processors.md").read_text(encoding="utf-8")
PAGES = ROOT / "docs/reference/processors"
SOURCES = ROOT / "src/musproj/processors"


def rows(page, heading):
    """Return the cells of the table below a heading, without its head."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell):
    return re.findall(r"`(\w+)`", cell)


@pytest.fixture(params=sorted(BUILT_IN[PROCESSORS]))
def spec(request):
    return ProcessorCatalog().get(request.param).spec


@pytest.fixture
def page(spec):
    return PAGES.joinpath(f"{spec.name}.md").read_text(encoding="utf-8")


def test_each_processor_is_linked_from_the_page_of_all(spec):
    assert f"[{spec.name}](processors/{spec.name}.md)" in PAGE


def test_the_parameters_are_those_of_the_declaration(spec, page):
    told = []
    for name, entry in params.schema(spec.params)["properties"].items():
        field = next(field for field in attrs.fields(spec.params) if params.camel(field.name) == name)
        among = entry.get("enum") or ()
        span = f"{field.metadata['min']} to {field.metadata['max']}" if "min" in field.metadata else ""
        told.append(
            [
                f"`{name}`",
                "required"
                if field.default is attrs.NOTHING
                else f"`{json.dumps(field.default)}`"
                if field.default is not None
                else "",
                span or ", ".join(f"`{json.dumps(value)}`" for value in among),
                field.metadata.get("unit", ""),
                field.metadata["description"],
            ]
        )

    assert rows(page, f"Parameters of {spec.name}") == told


def test_the_page_has_a_table_of_what_the_result_holds(spec, page):
    assert rows(page, f"Result of {spec.name}")


def test_the_errors_are_codes_of_this_library():
    known = {kind.code for kind in ProcessingError.__subclasses__()} | {"invalid_params"}

    assert {name for cells in rows(PAGE, "Errors") for name in names(cells[0])} <= known


def test_the_warnings_are_those_that_are_given():
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    given = set(re.findall(r'(?:warn|Note)\(\s*"(\w+)"', source))

    assert {name for cells in rows(PAGE, "Warnings") for name in names(cells[0])} == given
