"""A cast without Ray: one after the other in this process."""

import csv
import re
import signal

import pytest
import torch
from safetensors.torch import load_file

from tests.cast.conftest import subject
from training.__main__ import main
from training.cast.entry import Entry, read_entry
from training.cli import cast as command

pytestmark = pytest.mark.usefixtures("alone")


def table(out):
    with (out / "cast.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_every_subject_is_the_one_that_the_command_alone_trains(cast, studio, options, tmp_path, capsys):
    assert cast({"anna": {"max_train_steps": 3}, "bert": {"seed": 7}}, "--max-train-steps", "2") == 0
    out = tmp_path / "out"
    assert "2 of 2 finished." in capsys.readouterr().out
    train = [one for one in options if one not in ("--matcher", "drawn-score", "--num-inference-steps", "2")]
    with_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, own in (("anna", ["--max-train-steps", "3"]), ("bert", ["--seed", "7", "--max-train-steps", "2"])):
            lone = tmp_path / "lone" / name
            assert main(["train", *train, "--subject", f"{studio}/{name}", "--out", str(lone), *own]) == 0
            assert equal(subject(out, name), load_file(lone / f"{name}.safetensors"))
    finally:
        torch.set_num_threads(with_threads)
    rows = table(out)
    assert {name: row["state"] for name, row in rows.items()} == {"anna": "finished", "bert": "finished"}
    assert all(-1 < float(row["similarity"]) < 1 and row["retries"] == "0" for row in rows.values())
    page = (out / "index.html").read_text()
    assert 'src="anna/ages.png"' in page and 'href="bert/report.html"' in page and "reload" not in page
    log = (out / "anna" / "log.txt").read_text()
    assert "3 photos, 3 with a face" in log and "it/s" not in log and "step/s" not in log


def test_a_poisoned_row_costs_no_other_and_is_all_that_is_done_again(cast, studio, tmp_path, capsys):
    poisoned = tmp_path / "poisoned"
    poisoned.mkdir()
    (poisoned / "a.png").write_bytes(b"no picture")
    rows = {"poor": {"subject": poisoned}, "anna": {}}
    assert cast(rows, "--max-train-steps", "2") == 1
    out = tmp_path / "out"
    assert "1 of 2 finished, 1 failed." in capsys.readouterr().out
    assert table(out)["poor"]["state"] == "failed"
    assert "a.png cannot be read as an image" in table(out)["poor"]["verdict"]
    assert "a.png cannot be read as an image" in (out / "index.html").read_text()
    before = (out / "anna" / "anna.safetensors").stat().st_mtime_ns
    (poisoned / "a.png").write_bytes((studio / "cleo" / "0.png").read_bytes())
    (poisoned / "b.png").write_bytes((studio / "cleo" / "1.png").read_bytes())
    assert cast(rows, "--max-train-steps", "2") == 0
    assert (out / "anna" / "anna.safetensors").stat().st_mtime_ns == before
    assert (table(out)["poor"]["retries"], table(out)["anna"]["retries"]) == ("1", "0")


def test_ctrl_c_stops_all_and_the_same_command_goes_on_to_the_bit(cast, tmp_path, monkeypatch, capsys):
    rows, steps = {"anna": {}, "bert": {}}, ("--max-train-steps", "4")
    assert cast(rows, *steps, out=tmp_path / "whole") == 0
    progress = Entry.progress

    def pressed(entry, step, seconds):
        progress(entry, step, seconds)
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Entry, "progress", pressed)
        assert cast(rows, *steps) == 130
    out = tmp_path / "out"
    assert re.search(r"0 of 2 finished, 2 waiting", capsys.readouterr().out)
    assert (out / "anna" / "training-state.pt").exists() and not (out / "bert" / "cast.json").exists()
    assert cast(rows, *steps) == 0
    assert all(equal(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)
    assert [read_entry(out / name).starts for name in rows] == [2, 1]


def test_a_finished_subject_is_not_finished_in_another_way(cast, tmp_path, capsys):
    assert cast({"anna": {}}, "--max-train-steps", "1") == 0
    assert cast({"anna": {"seed": 2}}, "--max-train-steps", "1") == 2
    assert re.search(r"Error: anna\b.*\bseed\b.*\b2\b", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"resolution": 100}, r"anna: resolution is 100; it must be a multiple of 64"),
        ({"subject": ""}, r"anna: .*\bsubject\b.* --subject\b"),
        ({"loss": "magic"}, r"anna: loss cannot be 'magic'"),
    ],
)
def test_a_row_that_is_refused_is_named_before_any_work(cast, tmp_path, row, sentence, capsys):
    assert cast({"anna": row}) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("trained", "scored"), [("auto", "names"), ("8, ?, 34", "8, ?, 34"), ("names", "names")])
def test_what_is_scored_has_the_ages_that_were_trained_on(tmp_path, monkeypatch, trained, scored):
    """Estimated ages are no truth, so that scoring takes what the photos' names say."""
    told = []

    def score(options):
        told.append(options.photo_ages)
        options.report[0].write_text("{}")

    for step, does in (("train", lambda *_: 0), ("generate", lambda _: 0), ("score", score), ("_summary", dict)):
        monkeypatch.setattr(command, step, does)
    values = {"checkpoint": tmp_path, "subject": tmp_path, "photo_ages": trained, "age_estimator": "drawn-ages"}
    (tmp_path / "anna").mkdir()
    command._act(command._job(tmp_path / "anna", values))
    assert told == [scored]
