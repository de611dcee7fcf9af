"""Processors over HTTP."""

import pytest


def test_processors_are_listed_by_name_with_their_schema(api):
    found = {processor["name"]: processor for processor in api.get("/processors").json()["data"]}

    assert {"gain", "measure", "mix"} <= set(found)
    assert list(found) == sorted(found)
    gain = found["gain"]
    assert (gain["publishes"], gain["kind"], gain["movesHead"], gain["inputs"]) == (
        "version",
        "enhanced",
        True,
        ["input"],
    )
    assert gain["outputs"] == [{"name": "enhanced", "kind": "enhanced"}]
    assert "kind" not in found["measure"]
    assert found["mix"]["inputs"] == ["left", "right"]
    assert gain["params"]["properties"]["gainDb"]["x-unit"] == "dB"
    assert api.get("/processors/gain").json() == gain


@pytest.mark.parametrize(("name", "status"), [("gian", 404), ("a:b", 422), ("os.path:join", 422), ("x" * 33, 422)])
def test_an_unknown_name_is_not_found(api, name, status):
    answer = api.get(f"/processors/{name}")

    assert answer.status_code == status
    if status == 404:
        assert answer.json()["code"] == "not_found"
        assert "gain" in answer.json()["hint"]
