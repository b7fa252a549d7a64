"""The demo command with fewer steps, on the base model that ships with the project."""

import json

from PIL import Image

from training.__main__ import main
from training.files import ours


def test_training_raises_the_similarity_to_the_subject(tmp_path):
    assert main(["demo", "--out", str(tmp_path), "--steps", "40"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    similarities = [row["mean_similarity"] for row in report["rows"]]  # of the photos, the base model, the subject
    assert similarities[-1] - similarities[1] > 0.05  # mean cosine similarity over six ages
    assert [row["age"] for row in report["images"]] == ["child", "elderly", "middleaged", "old", "teenager",
                                                        "youngadults"]  # fmt: skip
    assert Image.open(tmp_path / "sheet.png").width > 1000
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"photos", "ages", "before", "after", "subject.safetensors", "sheet.png", "losses.png",
                    "report.html", "report.json"}  # fmt: skip
    assert all(ours(path) for path in tmp_path.rglob("*.*") if path.is_file()), "the same command may run again"
    assert main(["demo", "--out", str(tmp_path), "--steps", "0"]) == 2
