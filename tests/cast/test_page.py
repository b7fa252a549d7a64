import re
import threading

from training.cast import view
from training.cast.entry import FAILED, FINISHED, TRAINING, Entry, read_entry
from training.cast.page import page
from training.cast.view import View
from training.errors import Unavailable

SUBJECT, SIMILARITY, AGES, VERDICT, TIME = range(5)  # the columns that a click sorts


def finished(folder, similarity, **changes):
    summary = {"images": 6, "failures_to_detect": 0, "memorised": 0, "matched": None, "ages_right": 1.0} | changes
    return Entry(folder, FINISHED, seconds=60.0, summary=summary | {"mean_similarity": similarity})


def test_a_click_on_a_heading_sorts_the_worst_first_and_missing_values_last(tmp_path):
    text = page(
        tmp_path,
        [
            Entry(tmp_path / "waits"),
            finished(tmp_path / "good", 0.9),
            Entry(tmp_path / "trains", TRAINING, step=3, steps=8, seconds=30.0),
            finished(tmp_path / "unlike", -0.05, ages_right=0.5),
            finished(tmp_path / "copied", 0.95, memorised=1),
            Entry(tmp_path / "poor", FAILED, seconds=90.0, sentence="There is no folder photos/poor."),
        ],
    )
    rows = [
        (re.search(r">(\w+)<br>", row)[1], [float(key) for key in re.findall(r'data-key="([^"]+)"', row)])
        for row in re.findall(r"<tr><td.*?</tr>", text, re.DOTALL)
    ]

    def order(column):
        return [name for name, keys in sorted(rows, key=lambda row: row[1][column])]

    assert order(SUBJECT) == ["waits", "good", "trains", "unlike", "copied", "poor"]
    assert order(SIMILARITY)[:3] == ["unlike", "good", "copied"]
    assert order(AGES)[0] == "unlike" and set(order(AGES)[3:]) == {"waits", "trains", "poor"}
    assert order(VERDICT)[:2] == ["poor", "copied"] and set(order(VERDICT)[4:]) == {"waits", "trains"}
    assert order(TIME)[0] == "poor" and order(TIME)[-1] == "waits"
    assert "location.reload()" in text, "some subjects have not ended"
    assert re.search(r"training.*\b3 of 8\b", text) and "There is no folder photos/poor." in text


def test_the_view_survives_a_temporary_disk_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(view, "EVERY", 0.01)
    folder, refreshed = tmp_path / "anna", threading.Event()
    Entry(folder).save(state=TRAINING, steps=8)
    refresh = View.refresh

    def away(self):
        monkeypatch.setattr(View, "refresh", lambda self: (refresh(self), refreshed.set()))
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(View, "refresh", away)
    with View(tmp_path, {"anna": read_entry(folder)}):
        assert refreshed.wait(10)
        Entry(folder).save(state=FAILED, sentence="There is no folder photos/anna.")
        for _ in range(2):  # the first may have started before
            refreshed.clear()
            assert refreshed.wait(10)
        assert "There is no folder photos/anna." in (tmp_path / "index.html").read_text()
