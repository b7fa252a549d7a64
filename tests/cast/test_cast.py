"""A cast without Ray: subjects run one after another in this process."""

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


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def test_each_subject_equals_a_separate_training(cast, studio, options, tmp_path, capsys):
    assert cast({"anna": {"max_train_steps": 3}, "bert": {"seed": 7}}, "--max-train-steps", "2") == 0
    out = tmp_path / "out"
    assert "2 of 2 finished" in capsys.readouterr().out
    train = [option for option in options if option not in ("--matcher", "drawn-score", "--num-inference-steps", "2")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, own in (("anna", ["--max-train-steps", "3"]), ("bert", ["--seed", "7", "--max-train-steps", "2"])):
            separate = tmp_path / "separate" / name
            assert main(["train", *train, "--subject", f"{studio}/{name}", "--out", str(separate), *own]) == 0
            assert equal(subject(out, name), load_file(separate / f"{name}.safetensors"))
    finally:
        torch.set_num_threads(threads)
    rows = table(out)
    assert {name: row["state"] for name, row in rows.items()} == {"anna": "finished", "bert": "finished"}
    assert all(-1 < float(row["similarity"]) < 1 and row["retries"] == "0" for row in rows.values())
    page = (out / "index.html").read_text()
    assert 'src="anna/ages.png"' in page and 'href="bert/report.html"' in page and "location.reload" not in page
    log = (out / "anna" / "log.txt").read_text()
    assert re.search(r"\b3\b.*photo", log) and "it/s" not in log and "step/s" not in log


def test_a_damaged_row_does_not_stop_others_and_alone_runs_again(cast, studio, tmp_path, capsys):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "a.png").write_bytes(b"no picture")
    rows = {"poor": {"subject": damaged}, "anna": {}}
    assert cast(rows, "--max-train-steps", "2") == 1
    out = tmp_path / "out"
    assert "1 of 2 finished, 1 failed" in capsys.readouterr().out
    assert table(out)["poor"]["state"] == "failed"
    assert str(damaged / "a.png") in table(out)["poor"]["verdict"]
    assert str(damaged / "a.png") in (out / "index.html").read_text()
    before = (out / "anna" / "anna.safetensors").stat().st_mtime_ns
    (damaged / "a.png").write_bytes((studio / "cleo" / "0.png").read_bytes())
    (damaged / "b.png").write_bytes((studio / "cleo" / "1.png").read_bytes())
    assert cast(rows, "--max-train-steps", "2") == 0
    assert (out / "anna" / "anna.safetensors").stat().st_mtime_ns == before
    assert (table(out)["poor"]["retries"], table(out)["anna"]["retries"]) == ("1", "0")


def test_after_ctrl_c_the_same_command_continues_with_identical_results(cast, tmp_path, monkeypatch, capsys):
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
    assert "0 of 2 finished, 2 waiting" in capsys.readouterr().out
    assert (out / "anna" / "training-state.pt").exists() and not (out / "bert" / "cast.json").exists()
    assert cast(rows, *steps) == 0
    assert all(equal(subject(out, name), subject(tmp_path / "whole", name)) for name in rows)
    assert [read_entry(out / name).starts for name in rows] == [2, 1]


def test_a_finished_subject_is_not_run_again_with_other_options(cast, tmp_path, capsys):
    assert cast({"anna": {}}, "--max-train-steps", "1") == 0
    assert cast({"anna": {"seed": 2}}, "--max-train-steps", "1") == 2
    error = capsys.readouterr().err
    assert re.search(r"\banna\b", error) and re.search(r"\bseed\b.*\b2\b", error)


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ({"resolution": 100}, ["resolution", "100", "64"]),
        ({"subject": ""}, ["subject", "--subject"]),
        ({"loss": "magic"}, ["loss", "magic", "biometric"]),
    ],
)
def test_an_invalid_row_is_named_before_any_work(cast, tmp_path, row, values, capsys):
    assert cast({"anna": row}) == 2
    error = capsys.readouterr().err
    assert all(value in error for value in ("anna", *values))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("trained", "scored"), [("auto", "names"), ("8, ?, 34", "8, ?, 34"), ("names", "names")])
def test_scoring_uses_the_photo_ages_of_training(tmp_path, monkeypatch, trained, scored):
    """Estimated ages are no ground truth, so scoring then uses the ages in file names."""
    scored_ages = []

    def score(options):
        scored_ages.append(options.photo_ages)
        options.report[0].write_text("{}")

    for step, replacement in (("train", lambda *_: 0), ("generate", lambda _: 0), ("score", score), ("_summary", dict)):
        monkeypatch.setattr(command, step, replacement)
    values = {"checkpoint": tmp_path, "subject": tmp_path, "photo_ages": trained, "age_estimator": "drawn-ages"}
    (tmp_path / "anna").mkdir()
    command._act(command.job_of(tmp_path / "anna", values))
    assert scored_ages == [scored]
