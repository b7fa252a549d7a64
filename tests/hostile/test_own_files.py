"""What we wrote, read back damaged, by another hand, or of a later version: a sentence, or the value."""

import json
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file

from lab.study.trials import read as read_trials
from tests.parts import tiny_trainer
from training.cli.generate import GenerateOptions, generate
from training.errors import UserError
from training.models.subject import HEADER, Subject, read_subject, subject_file
from training.records import from_json, parse_json
from training.runs.files import RunFiles, finish, finished
from training.runs.looks import Look, read_looks

SAID = {
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


HEADERS = {
    "empty": ("", "JSON"),
    "no JSON": ("{token: sks}", "JSON"),
    "deep": ("[" * 100_000, "JSON"),
    "a list": ("[]", "a list"),
    "a field short": ({"token": ...}, "'token'"),
    "null": ({"token": None}, "'token' is 'None'.* text"),
    "number": ({"class_word": 3}, "'class_word' is '3'.* text"),
    "text for a list": ({"ages": "child"}, "'ages' is 'child'.* a list"),
    "numbers in a list": ({"ages": [3]}, "'ages' is .* a list"),
    "fraction": ({"steps": 1.5}, "'steps' is '1.5'.* a whole number"),
    "true": ({"steps": True}, "'steps' is 'True'.* a whole number"),
    "nan": ({"loss_weight": float("nan")}, "'loss_weight' is 'nan'.* a number"),
    "huge": ({"loss_weight": 10**400}, "'loss_weight' is .* a number"),
    "later method": ({"method": "hypernetwork"}, "needs a later version: it is a hypernetwork for epsilon"),
    "later prediction": ({"prediction_type": "score"}, "needs a later version: it is a lora for score"),
    "no side": ({"resolution": 0}, "no picture is 0 px large"),
    "odd side": ({"resolution": -63}, "no picture is -63 px large"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_damaged_header_is_told_in_a_sentence(tmp_path, case):
    change, sentence = HEADERS[case]
    if isinstance(change, dict):
        change = json.dumps({key: value for key, value in (SAID | change).items() if value is not ...})
    path = subject_with(change, tmp_path / "anna.safetensors")
    with pytest.raises(UserError, match=sentence) as told:
        read_subject(path)
    assert "anna.safetensors" in str(told.value)


def test_fields_of_a_later_version_do_no_harm(tmp_path):
    path = subject_with(json.dumps(SAID | {"mood": ["calm"], "version": "9.0"}), tmp_path / "anna.safetensors")
    assert read_subject(path) == Subject(**SAID, version="9.0")


def test_a_renamed_folder_still_opens(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    path = subject_with(json.dumps(SAID), folder / "anna.safetensors")
    subject_with(json.dumps(SAID), folder / "step_250.safetensors")
    assert subject_file(folder) == path
    renamed = folder.rename(tmp_path / "anna at home")
    assert subject_file(renamed) == renamed / "anna.safetensors"
    assert read_subject(renamed).token == "sks"
    subject_with(json.dumps(SAID), renamed / "bert.safetensors")
    with pytest.raises(UserError, match=r"holds several files: anna\.safetensors, bert\.safetensors\. Name one"):
        subject_file(renamed)


LOOK = {"step": 1, "similarities": [0.5, None, 0, 1, 0.1, 0.2], "years": [None] * 6}
LOOKS = {
    "no list": {},
    "a step short": [{key: LOOK[key] for key in ("similarities", "years")}],
    "text": [LOOK | {"similarities": ["a"] * 6}],
    "five": [LOOK | {"similarities": [0.5] * 5}],
    "none": [LOOK | {"years": []}],
    "null": [None],
}


@pytest.mark.parametrize("case", LOOKS)
def test_damaged_looks_are_told_in_a_sentence(case):
    with pytest.raises(UserError, match=r"looks\.json is damaged"):
        read_looks(LOOKS[case], "looks.json")


def test_looks_of_a_later_version_are_read():
    assert read_looks([LOOK | {"smile": 1}], "looks.json") == [Look(**LOOK)]


@dataclass
class Choice:
    name: str
    size: int | None = None
    parts: dict[str, float] | None = None


def test_what_a_record_does_not_say_has_its_default():
    assert from_json(Choice, {"name": "a"}, "x") == Choice("a")
    assert from_json(Choice, {"name": "a", "parts": {"b": 1}}, "x") == Choice("a", parts={"b": 1})
    with pytest.raises(UserError, match=r"x is damaged: 'size' is 'b'.* a whole number or nothing"):
        from_json(Choice, {"name": "a", "size": "b"}, "x")
    with pytest.raises(UserError, match="x is damaged"):
        parse_json(b"\xff\xfe", "x")


RUNS = {"empty": "", "no JSON": "{", "a list": "[]", "null": '{"checkpoint": null}', "lacking": "{}", "binary": "\x00"}


@pytest.mark.parametrize("case", RUNS)
def test_a_damaged_run_file_is_told_in_a_sentence(tmp_path, case):
    (tmp_path / "anna").mkdir()
    subject_with(json.dumps(SAID), tmp_path / "anna" / "anna.safetensors")
    (tmp_path / "anna" / "run.json").write_text(RUNS[case])
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        generate(GenerateOptions(subject=tmp_path / "anna", out=tmp_path / "out"))


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"trial": 3}'])
def test_a_damaged_row_of_a_study_is_told_by_its_line(tmp_path, line):
    (tmp_path / "trials.jsonl").write_text('{"trial": "a", "new": 1}\n' + line + "\n")
    with pytest.raises(UserError, match=r"Line 2 of .*trials\.jsonl is damaged"):
        read_trials(tmp_path / "trials.jsonl")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and its state."""
    files = RunFiles(tmp_path_factory.mktemp("run") / "3_steps.safetensors")
    trainer = tiny_trainer()
    finish(trainer, files, keep_state=True)
    return files, torch.load(files.state, weights_only=True)


RECORDS = ("", "[]", "{}", '{"losses": {}, "looks": []}', '{"losses": [], "looks": [{}]}', '{"losses": 1, "looks": []}')


@pytest.mark.parametrize("text", RECORDS)
def test_a_damaged_record_is_told_in_a_sentence(run, tmp_path, text):
    files = RunFiles(tmp_path / run[0].subject.name)
    files.subject.touch()
    files.record.write_text(text)
    with pytest.raises(UserError, match=r"3_steps\.json is damaged"):
        finished(files)


def test_a_record_of_a_later_version_is_read(run):
    files, _ = run
    known = finished(files)
    files.record.write_text(json.dumps(json.loads(files.record.read_text()) | {"mood": 1}))
    assert finished(files) == known


FIELDS = ("run", "step", "history", "weights", "optimizer", "scheduler", "scaler")
STATES = {
    **{f"no {name}": (name, ...) for name in FIELDS},
    **{f"{name} is text": (name, "a") for name in FIELDS},
    "no weight": ("weights", {}),
    "no moments": ("optimizer", {}),
    "moments of another": ("optimizer", {"state": {}, "param_groups": [{"params": [0]}]}),
}


@pytest.mark.parametrize("case", STATES)
def test_a_damaged_state_is_told_in_a_sentence(run, tmp_path, case):
    name, value = STATES[case]
    state = {key: part for key, part in (run[1] | {name: value}).items() if part is not ...}
    torch.save(state, tmp_path / "training-state.pt")
    with pytest.raises(UserError, match=r"training-state\.pt is damaged"):
        tiny_trainer().resume(tmp_path / "training-state.pt")


def test_a_state_of_a_later_version_is_gone_on_from(run, tmp_path):
    torch.save(run[1] | {"mood": 1}, tmp_path / "training-state.pt")
    trainer = tiny_trainer()
    trainer.resume(tmp_path / "training-state.pt")
    assert trainer.step_number == 3
