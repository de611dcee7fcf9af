"""The OpenAPI document: reviewed as a golden file, held to the rules that client generators need."""

import copy
import json
from pathlib import Path

import pytest

from musproj.http import openapi
from musproj.http.routes import API

GOLDEN = Path(__file__).with_name("openapi.json")


@pytest.fixture
def document():
    return openapi.document(API.operations)


def test_the_document_is_the_reviewed_one(document):
    """After a wanted change write it anew: `python tests/unit/http/test_openapi.py`, then review the diff."""
    assert document == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_document_keeps_the_rules(document):
    assert openapi.lint(document) == []


def test_the_document_is_served_with_a_tag(api, document):
    answer = api.get("/openapi.json")

    assert answer.json() == document
    assert answer.headers["content-type"] == "application/json"
    assert api.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_every_route_is_described_but_the_descriptions_themselves(document):
    hidden = {operation.path for operation in API.operations if operation.is_hidden}

    assert hidden == {"/openapi.json", "/docs", "/docs/style.css"}
    assert set(document["paths"]) == {operation.path for operation in API.operations} - hidden


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert referred <= set(document["components"]["schemas"])
    assert referred == set(document["components"]["schemas"]), "and nothing is described in vain"


def test_what_is_created_or_started_takes_a_key(document):
    keyed = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }

    assert keyed == {"requestUpload", "submitJob", "retryJob"}


def test_requests_refuse_unknown_fields_and_answers_may_grow(document):
    for name, schema in document["components"]["schemas"].items():
        is_request = name.endswith(("Request", "Patch")) or name in ("InputRef", "Nothing", "ThenJob")
        assert ("additionalProperties" in schema) is is_request, name


PLANTED = {
    "nullable union": lambda schemas: schemas["Job"]["properties"].update(
        stage={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "null": lambda schemas: schemas["Job"]["properties"].update(stage={"type": ["string", "null"]}),
    "enum without a type": lambda schemas: schemas["Job"]["properties"].update(stage={"enum": ["a"]}),
    "no date-time": lambda schemas: schemas["Job"]["properties"].update(endedAt={"type": "string"}),
}


@pytest.mark.parametrize("finding", PLANTED)
def test_a_planted_fault_of_a_schema_is_found(document, finding):
    PLANTED[finding](document["components"]["schemas"])

    assert any(finding in found for found in openapi.lint(document))


@pytest.mark.parametrize(
    "change",
    [
        {"operationId": ""},
        {"operationId": "listJobs"},
        {"operationId": "get_job"},
        {"tags": []},
        {"summary": ""},
        {"responses": {"404": {"description": "Nothing."}}},
        {"responses": {"404": {"description": "", "content": {"application/problem+json": {"schema": {}}}}}},
    ],
)
def test_a_planted_fault_of_an_operation_is_found(document, change):
    broken = copy.deepcopy(document)
    broken["paths"]["/jobs/{jobId}"]["get"].update(change)

    assert openapi.lint(broken) != []


if __name__ == "__main__":
    text = json.dumps(openapi.document(API.operations), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
