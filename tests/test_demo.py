"""The demo on the base model that comes with the project: fewer steps, the same way."""

from PIL import Image

from training.demo import run
from training.world.photos import SUBJECT


def test_a_trained_subject_is_more_alike_than_an_untrained_one(tmp_path):
    before, after = run(tmp_path, SUBJECT, steps=30).values()
    gained = after.summary()["mean_similarity"] - before.summary()["mean_similarity"]
    assert gained > 0.15  # in cosine, of six ages, judged by the embedder that did not train
    assert [row.age for row in after.images] == ["child", "teenager", "youngadults", "middleaged", "elderly", "old"]
    assert Image.open(tmp_path / "sheet.png").width > 1000
    assert {path.name for path in tmp_path.iterdir()} >= {"photos", "ages", "sheet", "sheet.png", "subject.safetensors"}
