"""Age estimators: CLIP zero-shot against transformers, the synthetic world's estimator on faces of known age."""

import json
import re
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.parts import FACE, picture
from training.ages import AGE_CLASSES, CLASS_YEARS, AgeEstimate, age_is_right, class_middle, class_of, years_off
from training.catalogue import load_age_estimator
from training.errors import DamagedFile, MissingFile, ModelMismatch
from training.faces.age_estimators import CLIP_MARGIN, CLIP_SIDE, PROMPTS, ZeroShotAgeEstimator
from training.faces.find import cut_square


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a tiny random CLIP whose vocabulary is single letters."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    folder.mkdir()
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789-"]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77).save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(vocabulary), "bos_token_id": len(vocabulary) - 2,
            "eos_token_id": len(vocabulary) - 1, "max_position_embeddings": 77}  # fmt: skip
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 224, "patch_size": 56}, projection_dim=16
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    return folder


def test_zero_shot_matches_the_classification_of_transformers(clip):
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    estimator, image = load_age_estimator(str(clip)), picture(3)
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    pixels = CLIPImageProcessor.from_pretrained(clip)(
        cut_square(image, FACE, CLIP_SIDE, CLIP_MARGIN)[0], return_tensors="pt"
    )
    words = tokenizer([prompt for age in AGE_CLASSES for prompt in PROMPTS[age]], padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(**words, pixel_values=pixels.pixel_values)
    classes = torch.nn.functional.normalize(out.text_embeds.reshape(6, 2, -1).mean(1), dim=-1)
    expected = (model.logit_scale.detach().exp() * out.image_embeds @ classes.T).softmax(-1)[0]
    torch.testing.assert_close(estimator.probabilities(image, FACE), expected, rtol=1e-4, atol=1e-5)
    estimate = estimator(image, FACE)
    assert estimate.age_class == AGE_CLASSES[int(expected.argmax())]
    middles = torch.tensor([class_middle(age) for age in AGE_CLASSES])
    assert estimate.years == pytest.approx(float(expected @ middles), abs=1e-2)
    assert "tiny-clip" in estimator.name


@pytest.mark.parametrize("damage", ["half", "code", "another model"])
def test_an_incomplete_clip_is_refused(clip, tmp_path, damage):
    folder, file = shutil.copytree(clip, tmp_path / "clip"), tmp_path / "clip" / "model.safetensors"
    if damage == "half":
        file.write_bytes(file.read_bytes()[:5000])
    elif damage == "code":
        file.unlink()
        (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    else:
        save_file({"vision_model.embeddings.class_embedding": torch.zeros(32)}, file, {"format": "pt"})
    with pytest.raises(DamagedFile, match=re.escape(str(folder))):
        load_age_estimator(str(folder))


@pytest.mark.parametrize("age", AGE_CLASSES)
def test_an_image_with_the_embedding_of_a_class_gets_that_class(age):
    axes = dict(zip(AGE_CLASSES, torch.eye(6), strict=True))
    meanings = {prompt: axes[name] for name, prompts in PROMPTS.items() for prompt in prompts}
    estimator = ZeroShotAgeEstimator(
        "ideal", lambda image: 3 * axes[age], lambda prompts: torch.stack([meanings[prompt] for prompt in prompts])
    )
    estimate = estimator(picture(1), FACE)
    assert estimate.age_class == age and class_of(estimate.years) == age
    assert estimate.years == pytest.approx(class_middle(age))


def test_encoders_of_different_clip_models_are_refused():
    estimator = ZeroShotAgeEstimator("mixed", lambda image: torch.ones(5), lambda prompts: torch.ones(len(prompts), 4))
    with pytest.raises(ModelMismatch, match=r"mixed\D+5\D+4"):
        estimator(picture(1), FACE)


def test_a_folder_without_a_clip_is_refused(tmp_path):
    with pytest.raises(MissingFile, match=re.escape(str(tmp_path)) + r".*config\.json"):
        load_age_estimator(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DamagedFile, match=re.escape(str(tmp_path))):
        load_age_estimator(str(tmp_path))


def test_the_estimator_of_the_synthetic_world_has_the_same_interface():
    from training.pictures.photos import to_image
    from training.world.render.face import draw
    from training.world.render.place import face_crops, known_place
    from training.world.render.traits import identities, views
    from training.world.shipped import age_estimator

    pictures = draw(identities([600, 601]), torch.tensor([8.0, 80]), views(range(2)))
    images = [to_image(pixels) for pixels in pictures]
    estimator = load_age_estimator("drawn-age")
    estimates = [estimator(image, known_place(image)[0]) for image in images]
    assert [estimate.years for estimate in estimates] == pytest.approx(
        age_estimator()(face_crops(pictures)).tolist(), abs=1
    )
    assert estimates[0].years < 25 < 55 < estimates[1].years


def test_years_off_and_right():
    assert [years_off(years, "teenager") for years in (10, 13, 19.9, 25)] == [3, 0, 0, 5]
    assert years_off(30, 45) == 15
    assert age_is_right(AgeEstimate(52, "middleaged"), 45) and not age_is_right(AgeEstimate(56, "elderly"), 45)
    assert age_is_right(AgeEstimate(15, "teenager"), "teenager") and not age_is_right(AgeEstimate(15, "child"), "old")
    assert all(class_of(class_middle(age)) == age for age in CLASS_YEARS)


def test_the_image_encoder_gets_a_square_around_the_face():
    encoded = []
    estimator = ZeroShotAgeEstimator(
        "recording", lambda image: encoded.append(image) or torch.ones(4), lambda prompts: torch.eye(4)[: len(prompts)]
    )
    estimator(Image.new("RGB", (300, 200)), FACE)
    assert encoded[0].size == (CLIP_SIDE, CLIP_SIDE)
