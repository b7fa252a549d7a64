"""Reads the project's own files after they were damaged, edited, or written by a later version."""

import json
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file

from lab.study.trials import read as read_trials
from tests.hostile.results import refused
from tests.parts import resume, tiny_trainer
from training.cli.generate import GenerateOptions, generate
from training.errors import DamagedFile, MissingFile, RunMismatch
from training.models.subject import HEADER, Subject, read_subject, subject_file
from training.records import from_json, parse_json
from training.runs.evaluations import Evaluation, read_evaluations
from training.runs.files import RunFiles, finished
from training.runs.session import finish

SUBJECT_FIELDS = {
    "token": "sks",
    "class_word": "person",
    "ages": ["child"],
    "family": "Stable Diffusion 1.x",
    "prediction_type": "epsilon",
    "base_model": "base.safetensors",
    "base_sha256": "0",
    "method": "lora",
    "loss": "none",
    "loss_weight": 0.1,
    "prior_loss_weight": 1,
    "steps": 3,
    "seed": 0,
    "resolution": 64,
}


def subject_with(header, path):
    save_file({"a": torch.zeros(1)}, path, metadata={HEADER: header})
    return path


HEADERS = {  # the header, or fields that are changed or (...) removed; and what the message names besides the file
    "empty": ("", ["JSON"]),
    "no JSON": ("{token: sks}", ["JSON"]),
    "deep": ("[" * 100_000, ["JSON"]),
    "a list": ("[]", ["list"]),
    "a field short": ({"token": ...}, ["token"]),
    "null": ({"token": None}, ["token", "None"]),
    "number": ({"class_word": 3}, ["class_word", 3]),
    "text for a list": ({"ages": "child"}, ["ages", "child", "list"]),
    "numbers in a list": ({"ages": [3]}, ["ages", "[3]", "list"]),
    "fraction": ({"steps": 1.5}, ["steps", 1.5]),
    "true": ({"steps": True}, ["steps", "True"]),
    "nan": ({"loss_weight": float("nan")}, ["loss_weight", "nan"]),
    "huge": ({"loss_weight": 10**400}, ["loss_weight", "1000000"]),
    "later method": ({"method": "hypernetwork"}, ["hypernetwork", "epsilon"]),
    "later prediction": ({"prediction_type": "score"}, ["lora", "score"]),
    "no side": ({"resolution": 0}, [0]),
    "odd side": ({"resolution": -63}, [-63]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_damaged_header_is_refused(tmp_path, case):
    change, values = HEADERS[case]
    if isinstance(change, dict):
        change = json.dumps({key: value for key, value in (SUBJECT_FIELDS | change).items() if value is not ...})
    path = subject_with(change, tmp_path / "anna.safetensors")
    with refused(path, *values) as raised:
        read_subject(path)
    assert (raised.value.__cause__ is not None) == (values == ["JSON"]), "only text that is not JSON has a cause"


def test_unknown_fields_of_a_later_version_are_ignored(tmp_path):
    path = subject_with(
        json.dumps(SUBJECT_FIELDS | {"mood": ["calm"], "version": "9.0"}), tmp_path / "anna.safetensors"
    )
    assert read_subject(path) == Subject(**SUBJECT_FIELDS, version="9.0")


def test_a_renamed_folder_still_opens(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    path = subject_with(json.dumps(SUBJECT_FIELDS), folder / "anna.safetensors")
    subject_with(json.dumps(SUBJECT_FIELDS), folder / "step_250.safetensors")
    assert subject_file(folder) == path
    renamed = folder.rename(tmp_path / "anna at home")
    assert subject_file(renamed) == renamed / "anna.safetensors"
    assert read_subject(renamed).token == "sks"
    subject_with(json.dumps(SUBJECT_FIELDS), renamed / "bert.safetensors")
    with refused(renamed, "anna.safetensors", "bert.safetensors") as raised:
        subject_file(renamed)
    assert "step_250" not in str(raised.value)


LOOK = {"step": 1, "similarities": [0.5, None, 0, 1, 0.1, 0.2], "years": [None] * 6}
SHEETS = {  # what looks.json holds, and what the message names besides the file
    "no list": ({}, [6]),
    "a step short": ([{key: LOOK[key] for key in ("similarities", "years")}], ["step"]),
    "text": ([LOOK | {"similarities": ["a"] * 6}], ["similarities", "'a'"]),
    "five": ([LOOK | {"similarities": [0.5] * 5}], [6]),
    "none": ([LOOK | {"years": []}], [6]),
    "null": ([None], []),
}


@pytest.mark.parametrize("case", SHEETS)
def test_damaged_looks_are_refused(case):
    evaluations, values = SHEETS[case]
    with refused("looks.json", *values):
        read_evaluations(evaluations, "looks.json")


def test_looks_of_a_later_version_are_read():
    assert read_evaluations([LOOK | {"smile": 1}], "looks.json") == [Evaluation(**LOOK)]


@dataclass
class Choice:
    name: str
    size: int | None = None
    parts: dict[str, float] | None = None


def test_missing_fields_of_a_record_get_their_default():
    assert from_json(Choice, {"name": "a"}, "x") == Choice("a")
    assert from_json(Choice, {"name": "a", "parts": {"b": 1}}, "x") == Choice("a", parts={"b": 1})
    with refused("x.json", "size", "'b'"):
        from_json(Choice, {"name": "a", "size": "b"}, "x.json")
    with refused("x.json", "JSON"):
        parse_json(b"\xff\xfe", "x.json")


RUNS = {"empty": "", "no JSON": "{", "a list": "[]", "null": '{"checkpoint": null}', "lacking": "{}", "binary": "\x00"}


@pytest.mark.parametrize("case", RUNS)
def test_a_damaged_run_file_is_refused(tmp_path, case):
    (tmp_path / "anna").mkdir()
    subject_with(json.dumps(SUBJECT_FIELDS), tmp_path / "anna" / "anna.safetensors")
    (tmp_path / "anna" / "run.json").write_text(RUNS[case])
    with refused(tmp_path / "anna" / "run.json"):
        generate(GenerateOptions(subject=tmp_path / "anna", out=tmp_path / "out"))


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"trial": 3}'])
def test_a_damaged_row_of_a_study_is_refused_with_its_line_number(tmp_path, line):
    (tmp_path / "trials.jsonl").write_text('{"trial": "a", "new": 1}\n' + line + "\n")
    with refused(2, tmp_path / "trials.jsonl"):
        read_trials(tmp_path / "trials.jsonl")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The files of a finished run and its state."""
    files = RunFiles(tmp_path_factory.mktemp("run") / "3_steps.safetensors")
    trainer = tiny_trainer()
    finish(trainer, files, keeps_state=True)
    return files, torch.load(files.state, weights_only=True)


RECORDS = ("", "[]", "{}", '{"losses": {}, "looks": []}', '{"losses": [], "looks": [{}]}', '{"losses": 1, "looks": []}')


@pytest.mark.parametrize("text", RECORDS)
def test_a_damaged_record_is_refused(run, tmp_path, text):
    files = RunFiles(tmp_path / run[0].subject.name)
    files.subject.touch()
    files.record.write_text(text)
    with refused(files.record):
        finished(files)


def test_a_record_of_a_later_version_is_read(run):
    files, _ = run
    before = finished(files)
    files.record.write_text(json.dumps(json.loads(files.record.read_text()) | {"mood": 1}))
    assert finished(files) == before


FIELDS = ("run", "step", "history", "weights", "optimizer", "scheduler", "scaler")
STATES = {
    **{f"no {name}": (name, ...) for name in FIELDS},
    **{f"{name} is text": (name, "a") for name in FIELDS},
    "no weight": ("weights", {}),
    "no moments": ("optimizer", {}),
    "moments of another": ("optimizer", {"state": {}, "param_groups": [{"params": [0]}]}),
    "fewer than no steps": ("step", -5),
    "more steps than losses": ("step", 2),
}


@pytest.mark.parametrize("case", STATES)
def test_a_damaged_state_is_refused(run, tmp_path, case):
    name, value = STATES[case]
    state = {key: part for key, part in (run[1] | {name: value}).items() if part is not ...}
    torch.save(state, tmp_path / "training-state.pt")
    with refused(tmp_path / "training-state.pt") as raised:
        resume(tiny_trainer(), tmp_path / "training-state.pt")
    assert not isinstance(raised.value, MissingFile | RunMismatch)


def test_a_state_of_a_later_version_can_be_resumed(run, tmp_path):
    torch.save(run[1] | {"mood": 1}, tmp_path / "training-state.pt")
    trainer = tiny_trainer()
    resume(trainer, tmp_path / "training-state.pt")
    assert trainer.step_number == 3


def test_shapes_that_would_broadcast_are_refused(run, tmp_path):
    _, state = run
    name, weight = next(iter(state["weights"].items()))
    one = weight[:1, :1]
    moments = state["optimizer"]["state"]
    for changed in (
        state | {"weights": state["weights"] | {name: one}},
        state | {"optimizer": state["optimizer"] | {"state": moments | {0: moments[0] | {"exp_avg": one}}}},
    ):
        torch.save(changed, tmp_path / "training-state.pt")
        with refused(tmp_path / "training-state.pt", error=DamagedFile):
            resume(tiny_trainer(), tmp_path / "training-state.pt")


def test_a_flipped_bit_in_a_state_is_refused_or_changes_nothing(run, tmp_path):
    """Every place is tried in turn that is a multiple of a step; most of the file are weights and moments."""
    files, state = run
    content, path = files.state.read_bytes(), tmp_path / "training-state.pt"
    refusals = 0
    for place in range(0, len(content), len(content) // 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        trainer = tiny_trainer()
        try:
            resume(trainer, path)
        except DamagedFile as error:
            refusals += 1
            assert str(path) in str(error)
            continue
        resumed = trainer.state_dict()
        assert resumed["step"] == state["step"] and resumed["history"] == state["history"]
        assert all(torch.equal(weight, state["weights"][name]) for name, weight in resumed["weights"].items())
        for number, moments in resumed["optimizer"]["state"].items():
            assert all(torch.equal(value, state["optimizer"]["state"][number][key]) for key, value in moments.items())
    assert refusals > 30


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no state", None])
def test_a_file_that_is_no_state_is_refused_as_one(run, tmp_path, content):
    """``None``: half a state. A training state cannot be downloaded again."""
    path = tmp_path / "training-state.pt"
    path.write_bytes(run[0].state.read_bytes()[:20_000] if content is None else content)
    with refused(path, "delete", error=DamagedFile) as raised:
        resume(tiny_trainer(), path)
    assert "download" not in str(raised.value).lower()
