"""The score command with real face embedders and age estimators on real faces."""

import json
import os
from pathlib import Path

import pytest

from training.__main__ import main
from training.biometrics.verdicts import MEANINGS, SAME

FAIRFACE = os.environ.get("FAIRFACE")  # a folder in the layout of lab/judges.py


@pytest.fixture
def photos(tmp_path, astronaut):
    """Two folders with images of one person; one also has a small face and an image without a face."""
    for folder, shifts in (("photos", (0, 8)), ("pictures", (16,))):
        (tmp_path / folder).mkdir()
        for shift in shifts:
            astronaut.crop((100 + shift, shift, 340 + shift, 240 + shift)).save(tmp_path / folder / f"{shift}.png")
    cut = astronaut.crop((100, 0, 340, 240))
    cut.resize((80, 80)).save(tmp_path / "pictures" / "small.png")
    cut.crop((0, 0, 40, 40)).save(tmp_path / "pictures" / "faceless.png")
    return tmp_path


def score(folder, *options):
    (folder / "none").mkdir(exist_ok=True)
    report = folder / "report.json"
    paths = ["--reference", f"{folder}/photos", "--images", f"{folder}/pictures", "--report", str(report)]
    assert main(["score", *paths, "--embedder-weights", f"{folder}/none", *options]) == 0
    return json.loads(report.read_text())


def test_with_dlib_photos_are_scored_without_a_download(photos, dlib_weights, capsys):
    report = score(photos)
    printed = capsys.readouterr().out
    assert report["matcher"] == "dlib" and "dlib" in printed.splitlines()[0]
    rows = {row["image"]: row for row in report["images"]}
    assert (rows["16.png"]["verdict"], rows["16.png"]["doubt"]) == (SAME, None)
    assert (rows["faceless.png"]["verdict"], rows["faceless.png"]["doubt"]) == (None, None)
    assert not rows["faceless.png"]["face_found"]
    assert "px" in rows["small.png"]["doubt"], "it names the size of the face"
    assert MEANINGS[SAME] in printed and "FairFace" in printed


def test_the_embedder_of_the_loss_is_not_the_default_matcher(photos, judges, dlib_weights):
    weights = ["--embedder-weights", str(judges)]
    assert score(photos, *weights)["matcher"] == "mobilefacenet"
    report = score(photos, *weights, "--trained-with", "mobilefacenet")
    assert report["matcher"] == "dlib" and report["trained_with"] == "mobilefacenet"
    assert "MS-Celeb-1M" in report["remarks"][0] and "ResNet-29" in report["remarks"][0]
    assert report["ages"]["estimator"] == "face-api" and report["ages"]["errors"]["faces"] == 538


@pytest.mark.skipif(not FAIRFACE, reason="needs FAIRFACE, a folder of real faces with their ages")
def test_recorded_thresholds_and_age_errors_match_fairface(judges, dlib_weights):
    import numpy as np

    from lab.judges import bins_of, faces_in, read
    from training.ages import class_of
    from training.biometrics.comparisons import against
    from training.biometrics.rates import fmr
    from training.catalogue import load_age_estimator, load_embedder
    from training.faces.embedders import CHILD
    from training.faces.find import MTCNNDetector
    from training.faces.observation import Observer

    bins = bins_of(Path(FAIRFACE))
    faces = faces_in(Path(FAIRFACE), bins)
    child = np.array([bins[name][1] < CHILD for name, _, _ in faces])
    first, second = np.triu_indices(len(faces), 1)
    both = child[first] & child[second]
    for name in ("dlib", "mobilefacenet"):
        embedder = load_embedder(name, judges)
        people = read(Observer(MTCNNDetector(), embedder), faces)
        pairs, thresholds = against(people, people).matrix[first, second], embedder.facts.thresholds
        assert (~both).sum() == thresholds.comparisons
        assert fmr(pairs[~both], thresholds.fmr_1) == pytest.approx(0.01, rel=0.05)
        assert fmr(pairs[~both], thresholds.fmr_01) == pytest.approx(0.001, rel=0.1)
        assert fmr(pairs[both], thresholds.fmr_01) == pytest.approx(thresholds.children, abs=0.01)
    estimator = load_age_estimator("face-api", judges)
    assert estimator.errors.faces == len(faces)
    infants = [estimator(image, face).years for name, image, face in faces if bins[name] == (0, 2)]
    assert np.mean([class_of(years) == "child" for years in infants]) > 0.9
