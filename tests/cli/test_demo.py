"""The demo on the base model that comes with the project: fewer steps, the same way."""

import json

from PIL import Image

from training.__main__ import main


def test_a_trained_subject_is_more_alike_than_an_untrained_one(tmp_path):
    assert main(["demo", "--out", str(tmp_path), "--steps", "40"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    similarity = {row["name"]: row["mean_similarity"] for row in report["rows"]}
    assert similarity["subject, drawn"] - similarity["base model, untrained"] > 0.05  # in cosine, over six ages
    assert [row["age"] for row in report["images"]] == ["child", "elderly", "middleaged", "old", "teenager",
                                                        "youngadults"]  # fmt: skip
    assert Image.open(tmp_path / "sheet.png").width > 1000
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"photos", "ages", "before", "after", "subject.safetensors", "sheet.png", "losses.png",
                    "report.html", "report.json"}  # fmt: skip
    assert main(["demo", "--out", str(tmp_path), "--steps", "0"]) == 2
