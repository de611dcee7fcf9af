import re
import subprocess
import sys

import pytest


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_set_up_commands_are_those_that_ci_runs(root):
    readme = (root / "README.md").read_text()
    setups = re.findall(r"^    (python3 -m venv .*)$", readme, re.MULTILINE)
    assert len(setups) == 2
    assert setups[0].endswith("musproj demo")
    assert setups[1] in (root / ".ci/run").read_text().replace('nox "$@"', "nox")


def test_the_python_of_the_readme_runs(root, take, worker):
    (source,) = blocks((root / "README.md").read_text(), "python")
    namespace = {}
    exec(compile(source, "README.md", "exec"), namespace)
    assert namespace["analyze"](take)["integratedLufs"] < 0


def test_every_link_of_the_docs_leads_somewhere(root):
    pages = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]
    lost = [
        (page.name, link)
        for page in pages
        for link in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not lost


def test_the_tutorial_runs_as_it_is_written(root, folder, take, server):
    script = "\n".join(["set -eu", *blocks((root / "docs/tutorial/first-upload.md").read_text(), "bash")])
    done = subprocess.run(
        ["bash", "-c", script],
        env={"API": server, "TAKE": str(take), "PATH": f"{sys.exec_prefix}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout

    import soundfile

    enhanced, original = soundfile.info(folder / "enhanced.wav"), soundfile.info(take)
    assert (enhanced.frames, enhanced.samplerate) == (original.frames, original.samplerate)


@pytest.mark.parametrize("name", ["tutorial", "howto", "reference", "explanation", "adr"])
def test_each_part_of_the_docs_has_pages(root, name):
    assert list((root / "docs" / name).glob("*.md"))
