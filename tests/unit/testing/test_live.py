"""What is asked of a live account, asked of the fakes: it runs, pays for one job, and leaves nothing."""

import pytest

from musproj.settings import Settings
from musproj.testing import live
from musproj.testing.fakes import FakeServices


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "auphonic",
            {
                "found by its output_basename": "yes",
                "phase after the upload": "staged",
                "wav-24bit: the checksum is the file's MD5": "yes",
                "billed": "0.05 credit_hour",
            },
        ),
        ("lalal", {"the same key at once": "the same task", "billed": "0.05 minute", "minutes taken for 3 s": "0.05"}),
    ],
)
def test_the_facts_of_a_service(name, expected, tmp_path):
    with FakeServices() as fakes:
        host = fakes.url.removeprefix("http://")
        settings = Settings(
            data=tmp_path / "data",
            auphonic_key="k",
            auphonic_url=fakes.auphonic_url,
            lalal_key="k",
            lalal_url=fakes.lalal_url,
            private_hosts=(host, host.replace("127.0.0.1", "localhost")),
        )

        facts = dict(live.facts(name, settings, tmp_path, 0.01))

        state = fakes.state()
    assert expected.items() <= facts.items()
    assert (len(state["bills"]), state["live"], state["leaks"], state["forbidden"]) == (1, 0, [], [])


def test_nothing_is_bought_unasked(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda _prompt: "n")

    assert live.main(["lalal"]) == 1
    assert capsys.readouterr().out == ""
