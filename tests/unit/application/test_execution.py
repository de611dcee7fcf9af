"""One job from its inputs to its effect, over stores in memory that fail on demand."""

import csv  # noqa: F401 - one of the modules that name a version
import io
import json
import sys
from pathlib import Path

import attrs
import pytest

from musproj.application.execution import Execution, Phase
from musproj.application.execution_context import Pulse
from musproj.composition import MusProj
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.domain.keys import file_key
from musproj.domain.ledger import AssetDeleted, CancelledFirst, Committed, Granted, NumberTaken, Stale, Worker
from musproj.errors import (
    AssetNotReadyError,
    BackendUnavailableError,
    ChecksumMismatchError,
    JobCancelledError,
    LimitExceededError,
    ObjectChangedError,
    OutputConflictError,
    OutputInvalidError,
    StorageFullError,
)
from musproj.ports.processor import ABILITIES, Outcome, Port, ProcessorSpec
from musproj.ports.storage import LocalFiles
from musproj.processors.decode import decode_file
from musproj.processors.limits import DEFAULT_LIMITS
from musproj.settings import Settings
from musproj.testing.clock import FakeClock
from musproj.testing.trouble import PROCESSORS, Trouble, TroubleParams, write_tone
from musproj.testing.workers import add_asset, probing_here, submit
from musproj.worker.child import InProcessProbe


class Notes(Pulse):
    """Keeps what a run reports; `stop` makes it stop at the next look."""

    def __init__(self):
        self.phases: list[Phase] = []
        self.reports: list[tuple[int, str | None]] = []
        self.stop = False

    def enter(self, phase):
        self.phases.append(phase)

    def report(self, percent, stage):
        self.reports.append((percent, stage))

    def check(self):
        if self.stop:
            raise JobCancelledError


class Faulty:
    """Stands before a port; `script` says what happens at the calls of a method, one entry per call.

    An exception is raised before the call, a tuple of one is raised after its effect, anything else but None is
    the answer.
    """

    def __init__(self, port, **script):
        self._port = port
        self._script = {name: list(steps) for name, steps in script.items()}
        self.calls: list[str] = []

    def __getattr__(self, name):
        found = getattr(self._port, name)

        def call(*args, **options):
            self.calls.append(name)
            steps = self._script.get(name)
            step = steps.pop(0) if steps else None
            if isinstance(step, Exception):
                raise step
            if step is not None and not isinstance(step, tuple):
                return step
            answer = found(*args, **options)
            if isinstance(step, tuple):
                raise step[0]
            return answer

        return call if callable(found) else found


class EmptyProbe(InProcessProbe):
    """Finds no frame in a file of that name."""

    def probe(self, path):
        info = super().probe(path)
        return attrs.evolve(info, frames=0) if path.stem == "soundless" else info


@attrs.frozen(kw_only=True)
class Scene:
    mp: MusProj
    workdir: Path
    notes: Notes = attrs.field(factory=Notes)
    pauses: list[float] = attrs.field(factory=list)

    def grant(self, job_type: str = "copy", **params) -> Granted:
        submit(self.mp, add_asset(self.mp), job_type, **params)
        granted = self.mp.queue.claim(Worker(worker_id="w", types=frozenset(self.mp.catalog.runnable())))
        assert granted is not None
        return granted

    def execution(self, **changes) -> Execution:
        parts = {
            "storage": self.mp.opened_storage.storage,
            "local_files": None,
            "assets": self.mp.metadata.assets,
            "jobs": self.mp.metadata.jobs,
            "catalog": self.mp.catalog,
            "probe": EmptyProbe(DEFAULT_LIMITS),
            "decode": decode_file,
            "clock": self.mp.clock,
            "sleep": self.pauses.append,
        }
        return Execution(**{**parts, **changes})

    def run(self, granted: Granted, **changes):
        return self.execution(**changes).run(granted.job, granted.token, self.workdir, self.notes)

    def job(self, granted: Granted):
        return self.mp.jobs.get(DEFAULT_OWNER, granted.job.job_id)

    def all_keys(self) -> list[str]:
        return [stored.key for stored in self.mp.opened_storage.storage.list("assets/")]

    def put(self, granted: Granted, number: int, *, maker: str | None = None, data: bytes = b"other") -> str:
        key = file_key(granted.job.asset_id, number, "copied", "wav")
        self.mp.opened_storage.storage.put(
            key,
            io.BytesIO(data),
            size=len(data),
            content_type="audio/wav",
            metadata={"musproj-job": maker or granted.job.job_id},
        )
        return key


def make(name, body, **spec):
    spec = {"publishes": "version" if "outputs" in spec else "result", **spec}
    return Trouble(ProcessorSpec(name=name, version="7", params=TroubleParams, **spec), body)


def two_inputs(inputs, params, ctx):
    return Outcome(data={"ports": sorted(inputs), "sizes": [given.path.stat().st_size for given in inputs.values()]})


def undeclared(inputs, params, ctx):
    return Outcome(files={"surprise": write_tone(ctx.workdir / "x.wav")})


def outside(inputs, params, ctx):
    return Outcome(files={"made": write_tone(ctx.workdir.parent / "x.wav")})


def folder(inputs, params, ctx):
    (ctx.workdir / "made.wav").mkdir()
    return Outcome(files={"made": ctx.workdir / "made.wav"})


def text(inputs, params, ctx):
    (ctx.workdir / "made.wav").write_text("no audio at all")
    return Outcome(files={"made": ctx.workdir / "made.wav"})


def ghost(inputs, params, ctx):
    return Outcome(files={"made": ctx.workdir / "ghost.wav"})


def soundless(inputs, params, ctx):
    return Outcome(files={"made": write_tone(ctx.workdir / "soundless.wav")})


def picture(inputs, params, ctx):
    (ctx.workdir / "picture.png").write_bytes(b"\x89PNG")
    (ctx.workdir / "data.bin").write_bytes(b"data")
    return Outcome(files={"picture": ctx.workdir / "picture.png", "data": ctx.workdir / "data.bin"})


def nothing(inputs, params, ctx):
    return Outcome()


def null(inputs, params, ctx):
    return Outcome(data={"levels": [{"peak": None}]})


def opaque(inputs, params, ctx):
    return Outcome(data={"path": ctx.workdir})


def surrogate(inputs, params, ctx):
    return Outcome(data={"name": "x\ud800"})


def strange(inputs, params, ctx):
    ctx.progress(0.5, "st\ud800age")
    ctx.warn("odd", "a\x1b[31mb\ud800")
    return Outcome(data={"done": True})


def careless(inputs, params, ctx):
    with inputs["input"].path.open("r+b") as file:
        file.write(b"XXXX")
    return Outcome(data={"done": True})


def noisy(inputs, params, ctx):
    for fraction in (0.5, 0.2, float("nan"), 7.0):
        ctx.progress(fraction, "passing")
    ctx.warn("clipped", "Two samples are clipped.", count=2)
    return Outcome(data={"done": True})


MADE = (Port("made", "made"),)
CASES = (
    make("two", two_inputs, inputs=(Port("left", "a"), Port("right", "b"))),
    make("undeclared", undeclared, outputs=MADE),
    make("outside", outside, outputs=MADE),
    make("folder", folder, outputs=MADE),
    make("text", text, outputs=MADE),
    make("ghost", ghost, outputs=MADE),
    make("soundless", soundless, outputs=MADE),
    make(
        "picture",
        picture,
        outputs=(Port("picture", "p", ("*/*",)), Port("data", "d", ("*/*",))),
        publishes="attachment",
    ),
    make("nothing", nothing, outputs=MADE),
    make("optional", nothing, outputs=(Port("made", "made", required=False),)),
    make("null", null),
    make("opaque", opaque),
    make("surrogate", surrogate),
    make("strange", strange),
    make("careless", careless),
    make("noisy", noisy),
)


def submit_two(scene):
    from musproj.application.jobs import InputRef, JobSpec

    refs = {name: InputRef(asset_id=add_asset(scene.mp, seed=n)) for n, name in enumerate(("left", "right"))}
    scene.mp.jobs.submit(DEFAULT_OWNER, JobSpec(type="two", inputs=refs))
    return scene.mp.queue.claim(Worker(worker_id="w", types=frozenset({"two"})))


@pytest.fixture
def scene(tmp_path):
    settings = Settings(data=tmp_path, storage="memory:", metadata="memory:")
    with MusProj.open(settings, processors=(*PROCESSORS, *CASES), clock=FakeClock()) as mp:
        yield Scene(mp=probing_here(mp), workdir=tmp_path)


# ── the effect ───────────────────────────────────────────────────────────────────────────────────


def test_a_version_is_published_with_all_that_is_needed_to_make_it_again(scene):
    granted = scene.grant(seed=3)

    answer = scene.run(granted)

    assert isinstance(answer, Committed)
    version = scene.mp.assets.version(DEFAULT_OWNER, granted.job.asset_id, 2)
    source = scene.mp.assets.version(DEFAULT_OWNER, granted.job.asset_id, 1).primary
    assert (version.kind, version.from_version, version.primary.name) == ("copied", 1, "copied")
    assert version.primary.object_key == f"assets/{granted.job.asset_id}/v2/copied.wav"
    assert (version.primary.duration, version.primary.sample_rate, version.primary.channels) == (0.25, 8_000, 1)
    stored = scene.mp.opened_storage.storage.stat(version.primary.object_key)
    assert stored.metadata == {"musproj-job": granted.job.job_id, "sha256": version.primary.sha256}
    made = version.provenance
    assert (made.job_id, made.processor, made.processor_version) == (granted.job.job_id, "copy", "1")
    assert made.params == {"seconds": 0.0, "seed": 3}
    assert [(given.port, given.version, given.sha256) for given in made.inputs] == [("input", 1, source.sha256)]
    assert {"musproj", "python", "machine"} <= set(made.libraries)
    assert scene.job(granted).result == {"seed": 3}


def test_several_files_are_one_version_in_the_order_of_the_ports(scene):
    granted = scene.grant("stems")

    scene.run(granted)

    version = scene.mp.assets.version(DEFAULT_OWNER, granted.job.asset_id, 2)
    assert [(file.name, file.kind) for file in version.files] == [("low", "low"), ("high", "high")]


def test_an_attachment_bears_its_jobs_id_and_moves_no_number(scene):
    granted = scene.grant("peaks")

    scene.run(granted)

    (attachment,) = scene.mp.assets.attachments(DEFAULT_OWNER, granted.job.asset_id, 1)
    assert attachment.file.object_key == f"assets/{granted.job.asset_id}/v1/peaks-{granted.job.job_id}.json"
    assert attachment.file.content_type == "application/json"
    assert scene.job(granted).reserved_version is None
    assert scene.mp.assets.get(DEFAULT_OWNER, granted.job.asset_id).asset.latest_version == 1


def test_the_type_of_an_attachment_that_is_no_audio_comes_from_its_name(scene):
    granted = scene.grant("picture")

    scene.run(granted)

    attachments = scene.mp.assets.attachments(DEFAULT_OWNER, granted.job.asset_id, 1)
    assert {a.file.name: a.file.content_type for a in attachments} == {
        "picture": "image/png",
        "data": "application/octet-stream",
    }


def test_a_mere_result_writes_no_object(scene):
    granted = scene.grant("look")
    before = scene.all_keys()

    scene.run(granted)

    assert scene.all_keys() == before
    assert scene.job(granted).result == {"bytes": 4_044}


def test_progress_never_falls_and_leaves_the_end_to_the_commit(scene):
    granted = scene.grant("noisy")

    scene.run(granted)

    percents = [percent for percent, _ in scene.notes.reports]
    assert percents == [49, 49, 49, 99, 99]
    assert scene.notes.phases == [Phase.FETCH, Phase.PROCESS, Phase.PUBLISH]
    assert scene.job(granted).result == {
        "done": True,
        "warnings": [{"code": "clipped", "message": "Two samples are clipped.", "count": 2}],
    }


def test_libraries_that_the_input_needs_are_in_the_provenance(scene, monkeypatch):
    from musproj.application.execution_provenance import provenance_of

    monkeypatch.setitem(ABILITIES, "codecs", ("attrs",))  # one that is always there
    granted = scene.grant()
    job, spec = attrs.evolve(granted.job, needs=("codecs", "processor:copy")), scene.mp.catalog.get("copy").spec

    assert "attrs" in provenance_of(job, spec, {}, ()).libraries
    assert "attrs" not in provenance_of(granted.job, spec, {}, ()).libraries


def test_a_library_that_is_not_there_is_left_out_of_the_provenance(scene):
    from musproj.application.execution_provenance import libraries_of

    assert "no_such_library" not in libraries_of(("json",))
    assert libraries_of(("csv",))["csv"] == sys.modules["csv"].__version__, "a module without a package of its name"
    assert "attrs" in libraries_of(("attrs", "no_such_library"))
    assert "no_such_library" not in libraries_of(("attrs", "no_such_library"))


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────


def test_several_inputs_come_by_the_names_of_their_ports(scene):
    granted = submit_two(scene)

    scene.run(granted)

    assert scene.job(granted).result == {"ports": ["left", "right"], "sizes": [4_044, 4_044]}


def test_an_input_whose_bytes_differ_from_its_record_is_not_processed(scene):
    granted = scene.grant()
    storage = Faulty(scene.mp.opened_storage.storage, read=[iter([b"not", b"these"])])

    with pytest.raises(ChecksumMismatchError):
        scene.run(granted, storage=storage)
    assert Phase.PROCESS not in scene.notes.phases


def test_an_object_that_is_no_longer_the_recorded_one_is_not_read(scene):
    granted = scene.grant()
    version = scene.mp.assets.version(DEFAULT_OWNER, granted.job.asset_id, 1)
    changed = attrs.evolve(version, files=(attrs.evolve(version.primary, etag="another"),))

    with pytest.raises(ObjectChangedError):
        scene.run(granted, assets=Faulty(scene.mp.metadata.assets, version=[changed]))


@attrs.frozen
class OneFile(LocalFiles):
    file: Path

    def path(self, key):
        return self.file


def test_a_file_on_this_host_is_read_in_place_and_verified_all_the_same(scene, tmp_path):
    granted = scene.grant("look")
    same = write_tone(tmp_path / "same.wav")
    other = write_tone(tmp_path / "other.wav", seed=9)
    storage = Faulty(scene.mp.opened_storage.storage)

    with pytest.raises(ChecksumMismatchError):
        scene.execution(storage=storage, local_files=OneFile(other)).run(
            granted.job, granted.token, folder_of(tmp_path, "a"), scene.notes
        )
    answer = scene.execution(storage=storage, local_files=OneFile(same)).run(
        granted.job, granted.token, folder_of(tmp_path, "b"), scene.notes
    )

    assert isinstance(answer, Committed)
    assert "read" not in storage.calls


def folder_of(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


def test_a_cancel_is_seen_while_an_input_is_fetched(scene):
    granted = scene.grant()
    scene.notes.stop = True

    with pytest.raises(JobCancelledError):
        scene.run(granted)


# ── outputs ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("job_type", "text"),
    [
        ("surrogate", "no JSON"),
        ("careless", "changed its input"),
        ("undeclared", "surprise"),
        ("nothing", "did not make: made"),
        ("optional", "made no file"),
        ("outside", "no regular file in the work folder"),
        ("folder", "no regular file in the work folder"),
        ("forger", "no regular file in the work folder"),
        ("silent", "is empty"),
        ("text", "not usable"),
        ("nan", "no JSON"),
        ("null", r"result\.levels\[0\]\.peak is null"),
        ("opaque", "no JSON"),
        ("ghost", "cannot be read"),
        ("soundless", "holds no audio frame"),
    ],
)
def test_an_output_that_does_not_hold_what_was_declared_is_never_published(scene, job_type, text):
    granted = scene.grant(job_type)
    before = scene.all_keys()

    with pytest.raises(OutputInvalidError, match=text):
        scene.run(granted)
    assert scene.all_keys() == before
    assert scene.job(granted).reserved_version is None


def test_an_output_too_large_for_the_store_is_refused_before_it_takes_a_number(scene):
    granted = scene.grant()

    with pytest.raises(LimitExceededError) as caught:
        scene.run(granted, max_output_bytes=1_000)
    assert caught.value.facts == {"limit": "bytes", "value": 4_044, "max": 1_000}
    assert scene.job(granted).reserved_version is None


# ── numbers and objects ──────────────────────────────────────────────────────────────────────────


def test_a_number_under_which_a_foreign_object_lies_is_given_up(scene):
    granted = scene.grant()
    foreign = scene.put(granted, 2, maker="job_of_lost_records")

    scene.run(granted)

    assert scene.job(granted).created_version == 3
    assert foreign in scene.all_keys()
    due = scene.mp.metadata.assets.gc_due(scene.mp.clock.advance(100_000), limit=10)
    assert [(entry.asset_id, entry.version) for entry in due] == [(granted.job.asset_id, 2)]


def test_the_object_of_an_earlier_attempt_is_adopted_where_it_is_equal(scene, tmp_path):
    granted = scene.grant(seed=5)
    data = write_tone(tmp_path / "same.wav", seed=5).read_bytes()
    key = scene.put(granted, 2, data=data)
    before = scene.mp.opened_storage.storage.stat(key)

    scene.run(granted)

    assert scene.job(granted).created_version == 2
    assert scene.mp.opened_storage.storage.stat(key) == before


def test_an_upload_whose_answer_was_lost_is_adopted(scene):
    granted = scene.grant()
    storage = Faulty(scene.mp.opened_storage.storage, put=[(BackendUnavailableError("cut"),)])

    answer = scene.run(granted, storage=storage)

    assert isinstance(answer, Committed)
    assert storage.calls.count("put") == 2
    assert scene.job(granted).created_version == 2
    assert len(scene.pauses) == 1


def test_a_differing_object_of_the_same_job_costs_the_number_and_stays(scene):
    granted = scene.grant()
    debris = scene.put(granted, 2)

    with pytest.raises(OutputConflictError):
        scene.run(granted)

    assert debris in scene.all_keys()
    assert scene.job(granted).reserved_version == 3


def test_an_object_that_is_gone_again_is_a_conflict_too(scene):
    from musproj.errors import ObjectExistsError

    granted = scene.grant()
    storage = Faulty(scene.mp.opened_storage.storage, put=[ObjectExistsError("taken")])

    with pytest.raises(OutputConflictError, match="gone again"):
        scene.run(granted, storage=storage)


def test_an_attachment_of_an_earlier_attempt_is_adopted_as_it_is(scene):
    granted = scene.grant("peaks", seed=1)
    key = f"assets/{granted.job.asset_id}/v1/peaks-{granted.job.job_id}.json"
    data = json.dumps("of an earlier attempt").encode()
    scene.mp.opened_storage.storage.put(
        key, io.BytesIO(data), size=len(data), content_type="application/json",
        metadata={"musproj-job": granted.job.job_id},
    )  # fmt: skip

    scene.run(granted)

    (attachment,) = scene.mp.assets.attachments(DEFAULT_OWNER, granted.job.asset_id, 1)
    assert attachment.file.size_bytes == len(data)
    assert attachment.file.sha256 == scene.mp.opened_storage.storage.stat(key).sha256


def test_a_number_that_was_published_meanwhile_is_given_up_at_the_commit(scene):
    granted = scene.grant()
    jobs = Faulty(scene.mp.metadata.jobs, commit=[NumberTaken()])

    answer = scene.run(granted, jobs=jobs)

    assert isinstance(answer, Committed)
    assert scene.job(granted).created_version == 3


@pytest.mark.parametrize("job_type", ["copy", "peaks"])
def test_a_delete_that_comes_with_the_commit_wins(scene, job_type):
    granted = scene.grant(job_type)
    with pytest.raises(AssetNotReadyError, match="was deleted"):
        scene.run(granted, jobs=Faulty(scene.mp.metadata.jobs, commit=[AssetDeleted()]))


def test_a_run_does_not_look_for_a_free_number_for_ever(scene):
    granted = scene.grant()
    jobs = Faulty(scene.mp.metadata.jobs, commit=[NumberTaken()] * 100)
    with pytest.raises(OutputConflictError, match="is taken"):
        scene.run(granted, jobs=jobs)

    for number in range(22, 60):
        scene.put(granted, number, maker="job_of_lost_records")
    with pytest.raises(OutputConflictError, match="foreign objects"):
        scene.execution().run(granted.job, granted.token, folder_of(scene.workdir, "again"), scene.notes)


# ── commits ──────────────────────────────────────────────────────────────────────────────────────


def test_a_commit_whose_answer_was_lost_is_repeated_and_gives_the_first_answer(scene):
    granted = scene.grant()
    jobs = Faulty(scene.mp.metadata.jobs, commit=[(BackendUnavailableError("cut"),)])

    assert scene.run(granted, jobs=jobs) == Committed(scene.job(granted), again=True)
    assert scene.mp.assets.get(DEFAULT_OWNER, granted.job.asset_id).asset.version_count == 2


def test_a_store_that_is_away_is_waited_for_with_growing_pauses(scene):
    granted = scene.grant()
    away = [BackendUnavailableError("away")] * 8
    jobs = Faulty(scene.mp.metadata.jobs, reserve=list(away), commit=list(away))

    assert isinstance(scene.run(granted, jobs=jobs), Committed)
    assert len(scene.pauses) == 16
    assert 0.125 <= scene.pauses[0] <= 0.25
    assert 5.0 <= scene.pauses[7] <= 10.0


def test_a_cancel_is_seen_while_a_store_is_waited_for(scene):
    granted = scene.grant()

    def cancel(_seconds):
        scene.notes.stop = True

    jobs = Faulty(scene.mp.metadata.jobs, commit=[BackendUnavailableError("away")] * 3)
    with pytest.raises(JobCancelledError):
        scene.run(granted, jobs=jobs, sleep=cancel)


def test_a_full_store_is_not_waited_for(scene):
    granted = scene.grant()
    storage = Faulty(scene.mp.opened_storage.storage, put=[StorageFullError("full")])

    with pytest.raises(StorageFullError):
        scene.run(granted, storage=storage)
    assert scene.pauses == []


@pytest.mark.parametrize("script", [{"reserve": [Stale()]}, {"commit": [Stale()]}])
def test_a_run_that_lost_its_job_publishes_nothing(scene, script):
    granted = scene.grant()

    assert scene.run(granted, jobs=Faulty(scene.mp.metadata.jobs, **script)) == Stale()
    assert scene.job(granted).status is JobStatus.RUNNING


def test_a_cancel_that_was_faster_than_the_commit_wins(scene):
    granted = scene.grant()
    scene.mp.jobs.cancel(DEFAULT_OWNER, granted.job.job_id)

    assert isinstance(scene.run(granted), CancelledFirst)
    assert scene.job(granted).status is JobStatus.CANCELLED


def test_an_asset_deleted_meanwhile_gets_no_version(scene):
    granted = scene.grant()
    scene.mp.assets.delete(DEFAULT_OWNER, granted.job.asset_id)

    with pytest.raises(AssetNotReadyError):
        scene.run(granted)


def test_text_of_a_processor_is_made_printable(scene):
    scene.run(granted := scene.grant("strange"))

    job = scene.job(granted)
    assert job.result["warnings"] == [{"code": "odd", "message": "a\ufffd[31mb\ufffd"}]
