"""Work that outside services do: what is declared of it, in whose words it is asked for, and what is refused."""

import json
from pathlib import Path

import attrs
import pytest

from musproj.application import params
from musproj.application.oneoff import OneOff
from musproj.errors import InvalidParamsError, NeedsJobError
from musproj.ports.processor import InputFile, Outcome, Port, ProcessorSpec, RemoteTask, processor_need, service_need
from musproj.processors._runs.auphonic_params import AMOUNTS, PEAKS, TARGETS
from musproj.processors.limits import DEFAULT_LIMITS
from musproj.registry import ProcessorCatalog
from musproj.testing.processors import RecordingContext, as_input
from musproj.testing.trouble import Trouble, write_tone
from musproj.worker.child import InProcessProbe

PRESET = "Qm3nV8aLr2XhTz5kWp0sYd"
STANDARD = {
    "leveler": True, "levelerstrength": 100, "compressor": "auto", "musicgain": 0.0, "filtering": True,
    "normloudness": True, "loudnesstarget": -16, "maxpeak": 99.0, "dualmono": False, "loudnessmethod": "program",
    "denoise": False, "denoisemethod": "static", "denoiseamount": 0, "dehum": 0, "dehumamount": 0, "debreath": False,
    "silence_cutter": False, "filler_cutter": False, "cough_cutter": False,
}  # fmt: skip


@pytest.fixture
def catalog():
    return ProcessorCatalog()


@pytest.fixture
def declared(catalog):
    """Give a function: a processor's name and parameters → what is declared of such a run."""

    def declare(name, **chosen):
        spec = catalog.get(name).spec
        return spec.given(params.parse(spec.params, chosen))

    return declare


@pytest.fixture
def needs(catalog):
    def needs(name, **chosen):
        spec = catalog.get(name).spec
        return spec.needs(params.parse(spec.params, chosen))

    return needs


def names(ports):
    return [port.name for port in ports]


def refusal(declared, name, **chosen):
    """Return pointer → reason of what is refused."""
    with pytest.raises(InvalidParamsError) as caught:
        declared(name, **chosen)
    return {violation.pointer: violation.detail for violation in caught.value.violations}


# ── what is declared ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "chosen", "service", "outputs", "moves_head"),
    [
        ("auphonic", {}, "auphonic", ["enhanced"], True),
        ("enhance", {"engine": "auphonic"}, "auphonic", ["enhanced"], True),
        ("lalal", {}, "lalal", ["vocals", "instrumental"], False),
        ("separate", {"engine": "lalal"}, "lalal", ["vocals", "instrumental"], False),
    ],
)
def test_a_run_elsewhere_is_paid_and_needs_the_service(
    catalog, declared, needs, name, chosen, service, outputs, moves_head
):
    spec = declared(name, **chosen)

    assert (spec.name, spec.paid, spec.publishes, spec.moves_head) == (name, True, "version", moves_head)
    assert spec.params is catalog.get(name).spec.params
    assert names(spec.inputs) == ["input"]
    assert names(spec.outputs) == outputs
    assert spec.task.service == service
    assert set(spec.task.files.values()) == set(outputs)
    assert needs(name, **chosen) == spec.needs(params.parse(spec.params, chosen)) == (service_need(service),)
    assert (spec.extra, spec.requires) == ("services", ("httpx",))
    assert spec.timeout_seconds, "its speed is not this machine's"


@pytest.mark.parametrize("name", ["enhance", "separate"])
def test_a_run_here_is_as_before(catalog, declared, needs, name):
    spec = declared(name)

    assert spec is catalog.get(name).spec
    assert (spec.task, spec.paid, needs(name)) == (None, False, ())
    assert params.canonical(params.parse(spec.params, {}))["engine"] == "local"


@pytest.mark.parametrize(
    ("name", "engine", "one", "other"),
    [
        ("separate", "lalal", {}, {"strength": 1.5, "bits": 16, "segmentSeconds": 30.0, "strict": True}),
        ("enhance", "auphonic", {}, {"toleranceLu": 0.5, "maxPasses": 2, "mode": "peakSafe", "highpassHz": 90.0}),
        ("enhance", "auphonic", {"denoiseDb": 12.0}, {"denoiseDb": 12.4}),
        ("enhance", "auphonic", {"format": "flac"}, {"format": "flac", "bits": 16, "dither": "tpdf"}),
    ],
    ids=["stems", "loudness", "noise", "container"],
)
def test_what_the_engine_makes_nothing_of_makes_no_other_job(catalog, name, engine, one, other):
    kind = catalog.get(name).spec.params
    alike = [params.canonical(params.parse(kind, {"engine": engine, **chosen})) for chosen in (one, other)]
    assert alike[0] == alike[1]


@pytest.mark.parametrize(("name", "engine"), [("enhance", "auphonic"), ("separate", "lalal")])
def test_what_is_declared_of_a_run_elsewhere_declares_the_same_again(declared, name, engine):
    spec = declared(name, engine=engine)
    assert spec.given(params.parse(spec.params, {"engine": engine})) == spec


@pytest.mark.parametrize("name", ["auphonic", "lalal", "enhance", "separate"])
def test_a_request_is_plain_json(declared, name):
    chosen = {"enhance": {"engine": "auphonic"}, "separate": {"engine": "lalal"}}.get(name, {})
    request = declared(name, **chosen).task.request
    assert json.loads(json.dumps(request, allow_nan=False)) == request


# ── the words of Auphonic ────────────────────────────────────────────────────────────────────────


def test_a_production_says_every_algorithm(declared):
    task = declared("auphonic").task

    assert task.request == {"output_files": [{"format": "wav-24bit"}], "algorithms": STANDARD}
    assert task.files == {"wav-24bit": "enhanced"}
    assert not task.changes_duration


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"targetLufs": -23}, {"loudnesstarget": -23}),
        ({"maxPeakDbtp": -1}, {"maxpeak": -1.0}),
        ({"leveler": False, "levelerStrength": 50}, {"leveler": False, "levelerstrength": 50}),
        (
            {"denoise": True, "denoiseMethod": "dynamic", "denoiseAmount": 12},
            {"denoise": True, "denoisemethod": "dynamic", "denoiseamount": 12},
        ),
        ({"dehum": 50, "dehumAmount": -1, "debreath": True}, {"dehum": 50, "dehumamount": -1, "debreath": True}),
        ({"musicGain": -6, "dualMono": True}, {"musicgain": -6.0, "dualmono": True}),
        ({"normalize": False, "filtering": False}, {"normloudness": False, "filtering": False}),
        ({"compressor": "hard", "loudnessMethod": "dialog"}, {"compressor": "hard", "loudnessmethod": "dialog"}),
    ],
)
@pytest.mark.parametrize("has_preset", [True, False])
def test_what_is_given_goes_before_a_preset_and_the_rest_is_the_presets(declared, chosen, said, has_preset):
    request = declared("auphonic", **chosen, **({"preset": PRESET} if has_preset else {})).task.request

    assert request["algorithms"] == (said if has_preset else STANDARD | said)
    assert request.get("preset") == (PRESET if has_preset else None)


def test_a_preset_alone_says_nothing_else_and_may_cut(declared):
    task = declared("auphonic", preset=PRESET, format="flac").task

    assert task.request == {"preset": PRESET, "output_files": [{"format": "flac"}]}
    assert task.files == {"flac": "enhanced"}
    assert task.changes_duration


@pytest.mark.parametrize(
    ("name", "said"),
    [("cutSilences", "silence_cutter"), ("cutFillers", "filler_cutter"), ("cutCoughs", "cough_cutter")],
)
def test_cutting_changes_the_length(declared, name, said):
    task = declared("auphonic", **{name: True}).task
    assert task.request["algorithms"][said] is True
    assert task.changes_duration


def test_a_title_is_sent_only_where_one_is_given(declared):
    assert declared("auphonic", title="Take 3").task.request["metadata"] == {"title": "Take 3"}
    assert "metadata" not in declared("auphonic").task.request


@pytest.mark.parametrize(
    ("chosen", "pointer"),
    [
        ({"preset": "short"}, "/params/preset"),
        ({"preset": f"{PRESET}/"}, "/params/preset"),
        ({"title": ""}, "/params/title"),
        ({"title": "x" * 201}, "/params/title"),
        ({"title": "two\nlines"}, "/params/title"),
        ({"targetLufs": -17}, "/params/targetLufs"),
        ({"maxPeakDbtp": -7}, "/params/maxPeakDbtp"),
        ({"denoiseAmount": 4}, "/params/denoiseAmount"),
        ({"levelerStrength": 105}, "/params/levelerStrength"),
        ({"dehum": 55}, "/params/dehum"),
        ({"musicGain": 7}, "/params/musicGain"),
        ({"format": "mp3"}, "/params/format"),
        ({"action": "start"}, "/params/action"),
    ],
)
def test_what_auphonic_does_not_offer_is_refused(declared, chosen, pointer):
    assert set(refusal(declared, "auphonic", **chosen)) == {pointer}


# ── enhance, by Auphonic ─────────────────────────────────────────────────────────────────────────


def test_enhance_says_in_auphonics_words_what_it_would_do(declared):
    by_default = declared("enhance", engine="auphonic").task

    assert by_default.request["output_files"] == [{"format": "wav-24bit"}]
    assert by_default.request["algorithms"] == STANDARD | {"denoise": True, "denoiseamount": 12, "maxpeak": -1.0}
    chosen = {"highpassHz": 0, "denoiseDb": 0, "targetLufs": -23, "truePeakDbtp": -2, "dualMono": True}
    assert declared("enhance", engine="auphonic", **chosen).task.request["algorithms"] == STANDARD | {
        "filtering": False, "loudnesstarget": -23, "maxpeak": -2.0, "dualmono": True
    }  # fmt: skip


@pytest.mark.parametrize(("asked", "nearest"), [(0.1, 3), (3, 3), (10, 9), (13, 12), (20, 18), (22, 24), (40, 30)])
def test_noise_is_lowered_by_the_nearest_that_auphonic_offers(declared, asked, nearest):
    algorithms = declared("enhance", engine="auphonic", denoiseDb=asked).task.request["algorithms"]
    assert (algorithms["denoise"], algorithms["denoiseamount"]) == (True, nearest)
    assert nearest in AMOUNTS


@pytest.mark.parametrize(
    ("chosen", "label"),
    [
        ({}, "wav-24bit"),
        ({"bits": 24}, "wav-24bit"),
        ({"bits": 16}, "wav"),
        ({"format": "flac"}, "flac"),
        ({"format": "flac", "bits": 16}, "flac"),
    ],
)
def test_the_container_is_the_one_that_was_asked_for(declared, chosen, label):
    task = declared("enhance", engine="auphonic", **chosen).task
    assert task.files == {label: "enhanced"}
    assert task.request["output_files"] == [{"format": label}]


@pytest.mark.parametrize("target", [-17.0, -16.5, -21.0, -30.0])
def test_a_target_that_auphonic_does_not_have_is_refused_for_it_alone(declared, target):
    detail = refusal(declared, "enhance", engine="auphonic", targetLufs=target)

    assert set(detail) == {"/params/targetLufs"}
    assert "-16" in detail["/params/targetLufs"]
    assert declared("enhance", targetLufs=target).task is None


@pytest.mark.parametrize("peak", [-0.7, -2.5, -7.0])
def test_a_ceiling_that_auphonic_does_not_have_is_refused_for_it_alone(declared, peak):
    assert set(refusal(declared, "enhance", engine="auphonic", truePeakDbtp=peak)) == {"/params/truePeakDbtp"}
    assert declared("enhance", truePeakDbtp=peak).task is None


def test_what_enhance_offers_of_auphonics_targets_is_taken(catalog, declared):
    schema = params.schema(catalog.get("enhance").spec.params)["properties"]

    def within(name, values):
        return [value for value in values if schema[name]["minimum"] <= value <= schema[name]["maximum"]]

    assert len(within("targetLufs", TARGETS)) > 5
    for target in within("targetLufs", TARGETS):
        assert declared("enhance", engine="auphonic", targetLufs=target).task
    for peak in within("truePeakDbtp", PEAKS):
        assert declared("enhance", engine="auphonic", truePeakDbtp=peak).task


# ── the words of LALAL.AI ────────────────────────────────────────────────────────────────────────

DEEP = {"extraction_level": "deep_extraction", "encoder_format": "wav"}


@pytest.mark.parametrize(
    ("chosen", "call", "presets", "files"),
    [
        (
            {}, "stem_separator", DEEP | {"stem": "vocals", "dereverb_enabled": False},
            {"vocals": "vocals", "no_vocals": "instrumental"},
        ),
        (
            {"stem": "drum", "splitter": "orion", "extraction": "clear_cut", "format": "flac"}, "stem_separator",
            {"stem": "drum", "splitter": "orion", "extraction_level": "clear_cut", "encoder_format": "flac"},
            {"drum": "drum", "no_drum": "no_drum"},
        ),
        (
            {"stem": "strings"}, "stem_separator", DEEP | {"stem": "strings"},
            {"strings": "strings", "no_strings": "no_strings"},
        ),
        (
            {"leadAndBacking": True, "dereverb": True}, "stem_separator",
            DEEP | {"stem": "vocals", "dereverb_enabled": True, "multivocal": "lead_back"},
            {
                "vocals@0": "lead_vocals", "vocals@1": "backing_vocals", "no_vocals": "instrumental",
                "mix_no_lead": "instrumental_backing",
            },
        ),
        (
            {"stem": "vocals,drum, bass"}, "multistem", DEEP | {"stem_list": ["vocals", "drum", "bass"]},
            {"vocals": "vocals", "drum": "drum", "bass": "bass", "no_multistem": "rest"},
        ),
        (
            {"task": "voice_clean", "noiseCancelling": 1}, "voice_clean",
            {"stem": "voice", "noise_cancelling_level": 1, "dereverb_enabled": False, "encoder_format": "wav"},
            {"voice": "voice", "no_voice": "noise"},
        ),
        (
            {"task": "demuser"}, "demuser", {"stem": "music", "encoder_format": "wav"},
            {"no_music": "voice", "music": "music"},
        ),
    ],
)  # fmt: skip
def test_each_call_says_its_presets_and_brings_its_files(declared, chosen, call, presets, files):
    spec = declared("lalal", **chosen)

    assert spec.task.request == {"call": call, "presets": presets}
    assert spec.task.files == files
    assert names(spec.outputs) == list(files.values()), "the wanted one is the primary file"
    assert len(set(files.values())) == len(files)


def test_only_backing_vocals_may_be_missing(declared):
    spec = declared("lalal", leadAndBacking=True)

    assert spec.task.optional == {"vocals@1"}
    assert [port.name for port in spec.outputs if not port.required] == ["backing_vocals"]
    assert all(port.required for port in declared("lalal", stem="vocals,drum").outputs)


def test_separate_says_what_lalal_says(declared):
    assert declared("separate", engine="lalal").task == declared("lalal").task
    flac = declared("separate", engine="lalal", format="flac").task
    assert flac.request["presets"]["encoder_format"] == "flac"


@pytest.mark.parametrize(
    ("chosen", "pointer"),
    [
        ({"stem": ""}, "/params/stem"),
        ({"stem": "voice"}, "/params/stem"),
        ({"stem": "vocals,vocals"}, "/params/stem"),
        ({"stem": "vocals,"}, "/params/stem"),
        ({"stem": "vocals,strings"}, "/params/stem"),
        ({"stem": ["vocals", "drum"]}, "/params/stem"),
        ({"splitter": "none"}, "/params/splitter"),
        ({"noiseCancelling": 3}, "/params/noiseCancelling"),
        ({"format": "mp3"}, "/params/format"),
        ({"leadAndBacking": True, "stem": "drum"}, "/params/leadAndBacking"),
        ({"leadAndBacking": True, "task": "demuser"}, "/params/leadAndBacking"),
    ],
)
def test_what_lalal_does_not_offer_is_refused(declared, chosen, pointer):
    assert set(refusal(declared, "lalal", **chosen)) == {pointer}


# ── without a job ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("auphonic", {}), ("lalal", {}), ("enhance", {"engine": "auphonic"}), ("separate", {"engine": "lalal"})],
)
def test_nothing_is_bought_without_a_job(catalog, tmp_path, name, chosen):
    oneoff = OneOff(catalog=catalog, probe=InProcessProbe(DEFAULT_LIMITS))
    tone, output = write_tone(tmp_path / "tone.wav"), tmp_path / "out"

    with pytest.raises(NeedsJobError, match=name) as caught:
        oneoff.run(name, tone, chosen, output=output)
    assert caught.value.hint
    assert not output.exists()


def test_nothing_is_bought_by_a_chain_without_a_job(catalog, tmp_path):
    oneoff = OneOff(catalog=catalog, probe=InProcessProbe(DEFAULT_LIMITS))
    steps = [{"type": "lalal"}, {"type": "normalize"}]

    with pytest.raises(NeedsJobError):
        oneoff.run("chain", write_tone(tmp_path / "tone.wav"), {"steps": steps}, output=tmp_path / "out.wav")


@pytest.mark.parametrize("name", ["auphonic", "lalal"])
def test_a_run_that_gets_past_that_is_refused_too(catalog, tmp_path, name):
    processor = catalog.get(name)
    with pytest.raises(NeedsJobError):
        processor.run({"input": InputFile(path=Path("x"), sha256="")}, processor.spec.params(), None)


# ── chains ───────────────────────────────────────────────────────────────────────────────────────

SEEN = []


def look(inputs, _chosen, ctx):
    (given,) = inputs.values()
    SEEN.append((list(inputs), given.path.name))
    path = ctx.workdir / "looked.wav"
    path.write_bytes(given.path.read_bytes())
    return Outcome(files={"looked": path}, data={"looked": True})


@attrs.frozen(kw_only=True)
class NoParams:
    pass


@pytest.fixture
def chains():
    """Give the chain of the built-in processors, and of one that notes what it is given."""
    spec = ProcessorSpec(
        name="look", version="1", params=NoParams, inputs=(Port("mix", "mix"),),
        outputs=(Port("looked", "looked"),), speed=10.0,
    )  # fmt: skip
    SEEN.clear()
    return ProcessorCatalog(extra=(Trouble(spec, look),)).get("chain").spec


def chained(spec, *steps):
    return spec.given(params.parse(spec.params, {"steps": list(steps)}))


@pytest.mark.parametrize(
    "first",
    [
        {"type": "lalal"},
        {"type": "auphonic"},
        {"type": "separate", "params": {"engine": "lalal"}},
        {"type": "enhance", "params": {"engine": "auphonic"}},
    ],
    ids=["lalal", "auphonic", "separate", "enhance"],
)
def test_a_chain_whose_first_step_is_elsewhere_is_that_task_with_the_rest_behind(catalog, chains, first):
    step = catalog.get(first["type"]).spec
    task = step.given(params.parse(step.params, first.get("params", {}))).task

    spec = chained(chains, first, {"type": "look"})

    assert spec.paid
    assert callable(spec.task.then)
    assert (spec.task.service, spec.task.request, spec.task.files) == (task.service, task.request, task.files)
    assert names(spec.outputs) == ["looked"]
    chosen = params.parse(chains.params, {"steps": [first, {"type": "look"}]})
    assert set(spec.needs(chosen)) == {
        service_need(task.service), processor_need(first["type"]), processor_need("look")
    }  # fmt: skip


def test_the_rest_of_a_chain_takes_the_primary_file_of_what_came(chains, tmp_path):
    files = {name: write_tone(tmp_path / f"{name}.wav", seconds=seconds) for name, seconds in (("a", 0.1), ("b", 0.2))}
    came = {"instrumental": files["a"], "vocals": files["b"]}
    task: RemoteTask = chained(chains, {"type": "lalal"}, {"type": "look"}, {"type": "look"}).task

    outcome = task.then(came, RecordingContext(tmp_path))

    assert SEEN == [(["mix"], "b.wav"), (["mix"], "looked.wav")]
    assert set(outcome.files) == {"looked"}
    assert [one["type"] for one in outcome.data["steps"]] == ["look", "look"]
    assert as_input(outcome.files["looked"]).sha256 == as_input(files["b"]).sha256


def test_a_chain_of_local_steps_has_no_task(chains):
    spec = chained(chains, {"type": "enhance"}, {"type": "look"})
    assert (spec.task, spec.paid) == (None, False)


@pytest.mark.parametrize(
    "later",
    [
        {"type": "lalal"},
        {"type": "auphonic"},
        {"type": "separate", "params": {"engine": "lalal"}},
        {"type": "enhance", "params": {"engine": "auphonic"}},
    ],
    ids=["lalal", "auphonic", "separate", "enhance"],
)
@pytest.mark.parametrize("first", [{"type": "look"}, {"type": "lalal"}], ids=["local", "paid"])
def test_only_the_first_step_may_be_elsewhere(chains, first, later):
    with pytest.raises(InvalidParamsError) as caught:
        chained(chains, first, {"type": "look"}, later)
    (violation,) = caught.value.violations
    assert violation.pointer == "/params/steps/2/type"
    assert "first step only" in violation.detail


# ── the schema ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("enhance", "engine", ["local", "auphonic"]),
        ("separate", "engine", ["local", "lalal"]),
        ("auphonic", "format", ["wav-24bit", "wav", "flac"]),
        ("auphonic", "compressor", ["auto", "off", "soft", "medium", "hard"]),
        ("auphonic", "targetLufs", list(TARGETS)),
        ("auphonic", "maxPeakDbtp", list(PEAKS)),
        ("auphonic", "denoiseAmount", [-1, 0, *AMOUNTS]),
        ("auphonic", "dehum", [0, 50, 60]),
        ("lalal", "task", ["split", "voice_clean", "demuser"]),
        ("lalal", "splitter", ["auto", "andromeda", "perseus", "orion", "phoenix", "lyra", "lynx"]),
        ("lalal", "noiseCancelling", [0, 1, 2]),
        ("lalal", "format", ["wav", "flac"]),
    ],
)
def test_a_choice_is_told_by_the_schema(catalog, name, key, values):
    properties = params.schema(catalog.get(name).spec.params)["properties"]

    assert properties[key]["enum"] == values
    assert properties[key]["default"] in values
    assert properties[key]["description"]
