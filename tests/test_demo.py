"""The demo on the base model that comes with the project: fewer steps, the same way."""

import json

from PIL import Image

from training.__main__ import main

KINDS = ("mean_similarity", "untrained_mean_similarity")


def test_a_trained_subject_is_more_alike_than_an_untrained_one(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--steps", "30"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    print(report["rows"])
    assert Image.open(tmp_path / "sheet.png").width > 1000
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"photos", "ages", "before", "after", "subject.safetensors", "sheet.png", "losses.png",
                    "report.html", "report.json"}  # fmt: skip
