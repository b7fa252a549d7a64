"""The shipped embedders and age estimators, on people outside their training."""

import re

import pytest
import torch

from lab.world.verify import verification
from tests.tiny import tiny_checkpoint
from training.ages import AGE_CLASSES
from training.config import TrainingConfig
from training.data.dataset import RegularizationSet, SubjectSet
from training.errors import DamagedFile, MissingFile
from training.faces.observation import Observer
from training.models.stable_diffusion.families import SD1
from training.pictures.photos import Photo
from training.runs.build import FaceNetworks, build_trainer
from training.world.render.face import draw
from training.world.render.photos import age_set, photos
from training.world.render.place import face_crops, known_place
from training.world.render.traits import DISGUISES, IDENTITY_TRAITS, disguised, identities, views
from training.world.shipped import FOLDER, SHA256, age_estimator, shipped, world_embedder

PEOPLE, PER_PERSON = 30, 3


@pytest.fixture(scope="module")
def faces():
    """Renders thirty held-out people at 9, 30 and 70 years, in three disguises and views."""
    seeds = range(700_000, 700_000 + PEOPLE * PER_PERSON)
    rows = disguised(identities(range(300, 300 + PEOPLE)).repeat_interleave(PER_PERSON, 0), seeds)
    return face_crops(draw(rows, torch.tensor([9.0, 30, 70]).repeat(PEOPLE), views(seeds)))


def test_shipped_files_are_small_and_have_the_recorded_hash():
    for name in SHA256:
        assert (FOLDER / name).stat().st_size <= 4 * 2**20 or name == "base.safetensors"
        assert shipped(name)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFile, match=re.escape(str(tmp_path / "age.safetensors"))):
        shipped("age.safetensors", tmp_path)
    content = bytearray((FOLDER / "age.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "age.safetensors").write_bytes(content)
    with pytest.raises(DamagedFile, match=SHA256["age.safetensors"]):
        shipped("age.safetensors", tmp_path)


@pytest.mark.parametrize("kind", ["loss", "score"])
def test_embedders_tell_people_apart_over_sixty_years_and_in_disguise(faces, kind):
    vectors = world_embedder(kind)(faces)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(faces)))
    result = verification(vectors, torch.arange(PEOPLE).repeat_interleave(PER_PERSON))
    assert result["EER"] < 0.12
    assert result["mated_mean"] > result["non_mated_mean"] + 0.3


@pytest.mark.parametrize("kind", ["loss", "score"])
def test_similarity_depends_on_identity_and_not_on_the_view(kind):
    network = world_embedder(kind)
    seen, ages = views(range(12)), torch.full((12,), 30.0)
    first, other = (network(face_crops(draw(identities([n] * 12), ages, seen))) for n in (401, 402))
    same_view_other_person = (first * other).sum(1).mean()
    same_person_other_view = (first[:-1] * first[1:]).sum(1).mean()
    assert same_person_other_view > 0.6 > 0.3 > same_view_other_person


@pytest.mark.parametrize("kind", ["loss", "score"])
def test_hair_beard_and_glasses_alone_do_not_identify(kind):
    people = identities(range(600, 640))
    places = [IDENTITY_TRAITS.index(name) for name in DISGUISES]
    people[:, places] = people[0, places]
    vectors = world_embedder(kind)(face_crops(draw(people, torch.full((40,), 30.0), views(range(40)))))
    assert (vectors[1:] @ vectors[0]).mean() < 0.2


@pytest.mark.parametrize("kind", ["age", "age-judge"])
def test_estimates_follow_age(kind):
    estimator = age_estimator(kind)
    years = torch.tensor([6.0, 16, 30, 48, 65, 85])
    estimates = torch.stack([
        estimator(face_crops(draw(identities([n] * 6), years, views([n] * 6)))) for n in range(500, 512)
    ])  # fmt: skip
    assert (estimates - years).abs().mean() < 9
    assert estimates.mean(0).diff().min() > 4


def test_gradients_reach_the_crops_but_no_weights(faces):
    network = world_embedder("loss")
    crops = faces[:2].clone().requires_grad_()
    network(crops)[:, 0].sum().backward()
    assert crops.grad.any() and not any(weight.requires_grad for weight in network.parameters())


def test_an_observer_finds_and_embeds_faces_at_the_known_place():
    picture = photos(7, 30, 1)[0]
    observer = Observer(known_place, world_embedder("score"))
    observed = observer.observe("photo", picture)
    assert observed.face == known_place(picture)[0] and observed.vector.shape == (96,)
    assert observed.vector @ observer.observe("larger", picture.resize((256, 256))).vector > 0.9


def test_the_trainer_accepts_the_worlds_images_and_embedder():
    from training.models.stable_diffusion.checkpoint import model_from_state_dict

    model = model_from_state_dict(tiny_checkpoint(SD1, tiny_vae=True), "tiny.safetensors")
    subject = [Photo(f"{n}.png", picture) for n, picture in enumerate(photos(9, 30, 2))]
    others = [Photo(f"{name}.png", faces[0]) for name, faces in age_set(1).items()]
    trainer = build_trainer(
        model,
        SubjectSet(subject, [known_place(photo.image())[0] for photo in subject], []),
        RegularizationSet(others, list(AGE_CLASSES)),
        TrainingConfig(resolution=128, max_train_steps=4, loss="triplet"),
        FaceNetworks(known_place, world_embedder("loss")),
    )
    trainer.run()
    assert any("triplet" in losses for losses in trainer.history)
