"""The probe, with a toy embedder, and on real faces if FAIRFACE and TAESD are set."""

import os
from pathlib import Path

import pytest
import torch

from lab.__main__ import main
from lab.gradient_probe import probe
from tests.parts import ToyEmbedder, known_place, picture, tiny_model
from training.data.dataset import SubjectSet, find_faces
from training.errors import NoFaceFound, UnsupportedModel
from training.pictures.photos import Photo

FAIRFACE, TAESD = os.environ.get("FAIRFACE"), os.environ.get("TAESD")  # folders


def person(*seeds):
    return find_faces([Photo(f"{seed}.png", picture(seed)) for seed in seeds], known_place)


class Shrunk:
    """A minimal autoencoder: latents are the image at an eighth of its size."""

    is_tiny = False
    factor = 8

    def encode(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 8), None

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents, scale_factor=8, mode="bilinear")


class Blind(ToyEmbedder):
    """Returns the same embedding for every face, so it has no gradient."""

    name = "blind"

    def forward(self, crops):
        return torch.nn.functional.normalize(torch.ones(len(crops), 6) + 0 * crops.mean(), dim=1)


def test_a_gradient_moves_a_photo_towards_the_target_and_a_zero_gradient_does_not():
    codec = Shrunk()
    (pull,) = probe(codec, [ToyEmbedder(), Blind()], person(1, 2), person(3), side=64, steps=15, photos=1)
    before, after = pull.to_target["toy"]
    assert after > before + 0.1 and pull.name == "1.png"
    assert pull.to_target["blind"] == pytest.approx((1, 1)) and pull.before.size == (64, 64)
    (still,) = probe(codec, [Blind(), ToyEmbedder()], person(1), person(3), side=64, steps=15, photos=1)
    assert still.to_target["toy"][1] == pytest.approx(still.to_target["toy"][0], abs=1e-5)


def test_photos_without_a_face_are_refused():
    faceless = SubjectSet([Photo("wall.png", picture(1))], [None], [])
    with pytest.raises(NoFaceFound, match=r"wall\.png"):
        probe(tiny_model(tiny_vae=True).codec, [ToyEmbedder()], person(1), faceless, 64, 1, 1)


def test_a_tiny_vae_without_encoder_is_refused():
    codec = tiny_model(tiny_vae=True).codec
    codec.vae.encoder = torch.nn.Identity()
    with pytest.raises(UnsupportedModel, match=r"taesd_encoder\.safetensors"):
        probe(codec, [ToyEmbedder()], person(1), person(2), 64, 1, 1)


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ([], ["--checkpoint", "--tiny-vae"]),
        (["--tiny-vae", "x", "--embedder", "dlib", "--judge", "dlib"], ["dlib", "--judge"]),
    ],
)
def test_contradictory_options_are_refused(tmp_path, capsys, options, values):
    assert main(["probe", "--subject", str(tmp_path), "--target", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert all(value in error for value in values)


@pytest.mark.skipif(not (FAIRFACE and TAESD), reason="FAIRFACE and TAESD do not name folders with real faces and TAESD")
def test_dlibs_gradient_moves_identity_for_mobilefacenet_too(judges, dlib_weights, tmp_path, capsys):
    for folder, number in (("a", 4), ("b", 1)):
        (tmp_path / folder).mkdir()
        photo = Path(FAIRFACE) / f"fairface_{number:04}.jpg"
        (tmp_path / folder / photo.name).write_bytes(photo.read_bytes())
    people = ["--subject", f"{tmp_path}/a", "--target", f"{tmp_path}/b", "--out", f"{tmp_path}/probe.png"]
    weights = ["--embedder", "dlib", "--embedder-weights", str(judges), "--tiny-vae", TAESD]
    assert main(["probe", *people, *weights]) == 0
    last = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mean of 1, mobilefacenet"))
    before, after = (float(value) for value in last.split("to the other ")[1].split(",")[0].split(" -> "))
    assert after > before + 0.2 and (tmp_path / "probe.png").is_file()
