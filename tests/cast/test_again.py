"""A cast that is given again, and a cast in which the files of one subject are broken."""

import csv
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.cast.entry import FAILED, FILE, FINISHED, read_entry
from training.cli import cast as command
from training.errors import MissingInput
from training.runs import lease
from training.runs.lease import leased
from training.world.render.photos import photos

pytestmark = pytest.mark.usefixtures("alone")
STEPS = ("--max-train-steps", "1")


def table(out):
    with (out / "cast.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def mine(studio, tmp_path):
    """Returns a copy of the studio that a test may change."""
    return shutil.copytree(studio, tmp_path / "mine")


@pytest.fixture
def row(mine):
    """Returns the cells of a subject whose files a test may change."""
    return {"subject": f"{mine}/anna", "checkpoint": f"{mine}/tiny.safetensors", "impostors": f"{mine}/bert"}


def test_a_default_that_is_spelled_out_equals_leaving_it_out(cast, tmp_path, capsys):
    assert cast({"anna": {}}, *STEPS) == 0
    before = contents(tmp_path / "out" / "anna")
    assert cast({"anna": {"rank": 16, "save_precision": "fp16"}}, *STEPS, "--preset", "fast", "--seed", "0") == 0
    assert cast({"anna": {}}, *STEPS, "--gradient-checkpointing") == 0, "which changes no result"
    assert contents(tmp_path / "out" / "anna") == before


def other_weights(mine):
    state = load_file(mine / "tiny.safetensors")
    name = next(name for name in state if name.endswith("weight"))
    save_file(state | {name: torch.zeros_like(state[name])}, mine / "tiny.safetensors")


CHANGES = {  # what is changed, and the option that the message names
    "checkpoint": (other_weights, {}, "checkpoint"),
    "a photo more": (lambda mine: photos(3, 60, 1)[0].save(mine / "anna" / "60_x.png"), {}, "subject"),
    "an age in a name": (lambda mine: (mine / "anna" / "0.png").rename(mine / "anna" / "8_school.png"), {}, "subject"),
    "a caption": (lambda mine: (mine / "anna" / "0.txt").write_text("a 7-year-old person"), {}, "subject"),
    "an impostor less": (lambda mine: (mine / "bert" / "0.png").unlink(), {}, "impostors"),
    "other impostors": (lambda mine: None, {"impostors": "{mine}/cleo"}, "impostors"),
    "no impostors": (lambda mine: None, {"impostors": ""}, "impostors"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_finished_subject_is_compared_by_the_content_of_its_files(cast, mine, row, case, tmp_path, capsys):
    assert cast({"anna": row}, *STEPS) == 0
    before = contents(tmp_path / "out" / "anna")
    change, cells, option = CHANGES[case]
    change(mine)
    capsys.readouterr()
    assert cast({"anna": row | {key: value.format(mine=mine) for key, value in cells.items()}}, *STEPS) == 2
    error = capsys.readouterr().err
    assert "anna" in error and option in error
    assert contents(tmp_path / "out" / "anna") == before


def test_the_same_files_at_another_place_are_the_same(cast, mine, row, tmp_path):
    assert cast({"anna": row}, *STEPS) == 0
    moved = mine.rename(tmp_path / "moved")
    (moved / "tiny.safetensors").rename(moved / "base.safetensors")
    (moved / "anna" / ".DS_Store").touch()
    cells = {"subject": f"{moved}/anna", "checkpoint": f"{moved}/base.safetensors", "impostors": f"{moved}/bert"}
    assert cast({"anna": cells}, *STEPS) == 0


@pytest.mark.parametrize("gone", ["mine/anna", "mine/tiny.safetensors", "out/anna/anna.safetensors"])
def test_what_a_finished_subject_needs_and_is_gone_is_said(cast, mine, row, gone, tmp_path, capsys):
    rows = {"anna": row, "cleo": {}}
    assert cast({"anna": row}, *STEPS) == 0
    (tmp_path / gone).rename(tmp_path / "aside")
    assert cast(rows, *STEPS) == 1
    assert "1 of 2 finished, 1 failed" in capsys.readouterr().out
    verdicts = table(tmp_path / "out")
    assert str(tmp_path / gone) in verdicts["anna"]["verdict"] and verdicts["cleo"]["state"] == FINISHED
    (tmp_path / "aside").rename(tmp_path / gone)
    assert cast(rows, *STEPS) == 0, "nothing is lost"


def test_a_subject_that_is_trained_but_not_scored_is_not_finished_with_other_options(
    cast, tmp_path, monkeypatch, capsys
):
    def score(options):
        raise MissingInput("no judge")

    with monkeypatch.context() as patched:
        patched.setattr(command, "score", score)
        assert cast({"anna": {}}, *STEPS) == 1
    assert cast({"anna": {"learning_rate": 0.5}}, *STEPS) == 2
    error = capsys.readouterr().err
    assert "anna" in error and "learning_rate" in error and "0.5" in error
    assert cast({"anna": {"draw_seed": 7}}, *STEPS) == 0, "how it is generated may change: that was not done yet"


def as_file(folder):
    folder.write_text("mine")


def log_as_folder(folder):
    (folder / "log.txt").mkdir(parents=True)


def with_entry(content):
    def make(folder):
        folder.mkdir()
        (folder / FILE).write_text(content)

    return make


def with_photos(folder):
    folder.mkdir()
    photos(3, 28, 1)[0].save(folder / "ages.png")


def unfinished_summary(summary):
    return json.dumps({"state": FINISHED, "summary": summary})


BROKEN = {
    "a file": as_file,
    "a log that is a folder": log_as_folder,
    "no JSON": with_entry("{"),
    "a list": with_entry("[]"),
    "an unknown state": with_entry('{"state": "asleep"}'),
    "steps in words": with_entry('{"steps": "many"}'),
    "finished without numbers": with_entry(unfinished_summary({})),
    "finished with words": with_entry(unfinished_summary({"images": 6, "failures_to_detect": "none", "memorised": 0})),
    "a folder of the user's": with_photos,
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_broken_subject_costs_no_other(cast, case, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    BROKEN[case](out / "anna")
    before = contents(out)
    assert cast({"anna": {}, "cleo": {}}, *STEPS) == 1
    assert "1 of 2 finished, 1 failed" in capsys.readouterr().out
    rows = table(out)
    assert rows["cleo"]["state"] == FINISHED and rows["anna"]["state"] == FAILED
    assert str(out / "anna") in rows["anna"]["verdict"]
    assert before.items() <= contents(out).items(), "what was there is kept"
    assert cast({"anna": {}, "cleo": {}}, *STEPS) == 1


def test_photos_in_the_folder_of_their_own_row_cost_that_row(cast, mine, capsys):
    """The output folder holds a folder of photos for each row, named like the row."""
    before = contents(mine)
    assert cast({"bert": {"subject": f"{mine}/bert"}, "new": {"subject": f"{mine}/cleo"}}, *STEPS, out=mine) == 1
    rows = table(mine)
    assert rows["new"]["state"] == FINISHED and rows["bert"]["state"] == FAILED
    assert str(mine / "bert") in rows["bert"]["verdict"]
    assert before.items() <= contents(mine).items()


RESERVED = ("index.html", "Cast.CSV", "training.lease", "cast", "report", "ages", "run", "looks", "curves", "step_3")


@pytest.mark.parametrize("name", RESERVED)
def test_a_subject_cannot_have_the_name_of_a_file_of_the_cast(cast, studio, tmp_path, name, capsys):
    assert cast({name: {"subject": f"{studio}/anna"}}, *STEPS) == 2
    assert name in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_second_cast_in_the_same_folder_is_refused_while_the_first_runs_and_if_it_has_other_subjects(
    cast, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    monkeypatch.setattr(lease, "DURATION", 0.6)
    with leased(out, print):
        assert cast({"anna": {}}, *STEPS) == 2
        assert not (out / "anna").exists()
    assert cast({"anna": {}}, *STEPS) == 0
    before = contents(out)
    capsys.readouterr()
    assert cast({"cleo": {}}, *STEPS) == 2
    error = capsys.readouterr().err
    assert "anna" in error and str(out / "cast.csv") in error
    assert contents(out) == before
    assert cast({"anna": {}, "cleo": {}}, *STEPS) == 0, "a table may grow"
    assert read_entry(out / "anna").starts == 1
