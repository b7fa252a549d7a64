"""Aspect ratio buckets: their shapes, the crops for them, and the order of the batches."""

import math
import re
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from tests.parts import SHAPED, SHAPED_SIDE, picture, resume, run, shaped_subject, tiny_trainer, weights
from training.data.dataset import SubjectSet
from training.dreambooth.order import Order
from training.dreambooth.trainer import StopTraining
from training.faces.find import Face, cut_shape
from training.pictures.buckets import bucket_of, bucket_shapes
from training.pictures.photos import Photo

BUCKETS = [(128, 256), (192, 192), (128, 256), (256, 128)]  # of shaped_subject


@pytest.mark.parametrize("resolution", [64, 192, 512, 768, 1024, 1536])
def test_shapes_are_the_largest_of_their_width_and_no_larger_than_the_square(resolution):
    """Compares with a search over all shapes."""
    possible = [
        (width, height)
        for width, height in product(range(64, 2 * resolution + 1, 64), repeat=2)
        if width * height <= resolution**2 and max(width, height) <= 2 * min(width, height)
    ]
    assert bucket_shapes(resolution) == [
        (width, height) for width, height in possible if width * (height + 64) > resolution**2
    ]
    assert (resolution, resolution) in bucket_shapes(resolution)


def test_shapes_at_512_are_those_of_other_trainers():
    assert bucket_shapes(512) == [(384, 640), (448, 576), (512, 512), (576, 448), (640, 384)]


@pytest.mark.parametrize("size", [(3000, 4000), (4000, 3000), (1080, 1920), (800, 800), (100, 1000), (2, 3)])
def test_a_photo_gets_the_bucket_with_the_nearest_aspect_ratio(size):
    width, height = bucket_of(size, 1024)
    aspect = size[0] / size[1]
    distances = (max(aspect * h / w, w / (aspect * h)) for w, h in bucket_shapes(1024))
    assert max(aspect * height / width, width / (aspect * height)) == pytest.approx(min(distances))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (253, 251), (90, 500)])
@pytest.mark.parametrize("shape", [(448, 576), (640, 384), (512, 512)])
@pytest.mark.parametrize("corner", [(0.1, 0.1), (0.9, 0.9), (0.5, 0.2)])
def test_a_crop_is_as_large_as_possible_and_reports_where_the_face_is(size, shape, corner):
    x, y = (20 + place * (side - 60) for place, side in zip(corner, size, strict=True))
    face = Face((x, y, x + 20, y + 20))
    image = Image.new("RGB", size, "grey")
    image.paste("red", tuple(map(round, face.box)))
    part, moved = cut_shape(image, replace(face, box=tuple(map(round, face.box))), shape)
    assert part.size == shape
    pixels = np.asarray(part).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 64)
    red = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    enlarged = max(shape[0] / size[0], shape[1] / size[1])  # the smallest scale that covers the shape
    assert np.abs(np.array(red) - moved.box).max() <= 1 + enlarged
    assert (moved.box[2] - moved.box[0], moved.box[3] - moved.box[1]) == pytest.approx((20 * enlarged,) * 2)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_a_batch_has_one_bucket_and_each_photo_is_used_equally_often(total):
    order, count = Order(5), len(BUCKETS)
    batches = [order.alike(BUCKETS, number, total) for number in range(6 * count)]
    assert all(len(batch) == total and len({BUCKETS[index] for index in batch}) == 1 for batch in batches)
    for rounds in range(1, 7):
        seen = Counter(index for batch in batches[: rounds * count] for index in batch)
        assert seen == dict.fromkeys(range(count), rounds * total)
    assert len({tuple(BUCKETS[batch[0]] for batch in batches[n : n + count]) for n in range(0, 24, count)}) > 1


def test_photos_of_one_shape_have_the_order_of_training_without_buckets():
    order = Order(3)
    for number in range(20):
        places = range(2 * number, 2 * number + 2)
        assert order.alike(["square"] * 5, number, 2) == order.shuffled("instance", 5, places)


def shaped(**options):
    """A tiny trainer with four photos in three shapes and no reward for ages."""
    options = {"max_train_steps": 8, "train_batch_size": 2, "reward_age": 0.0} | options
    return tiny_trainer(subject=shaped_subject(), crop="aspect", resolution=SHAPED_SIDE, **options)


def test_batches_have_the_shapes_of_their_photos_and_contain_the_faces():
    remarks = []
    data = shaped(say=lambda *sentences: remarks.extend(sentences)).data
    assert [instance.shape for instance in data.instances] == BUCKETS
    assert re.findall(r"(\d+) x (\d+) px \((\d+)\)", remarks[-1]) == [
        ("128", "256", "2"), ("192", "192", "1"), ("256", "128", "1")
    ]  # fmt: skip
    seen = set()
    for number in range(40):
        batch = data.sample(number)
        height, width = (8 * side for side in batch.x_0.shape[-2:])
        seen.add((width, height))
        assert batch.x_0.shape == batch.noise.shape and len(batch.x_0) == 4
        for square in batch.squares:
            left, top, right, bottom = square.tolist()
            assert 0 < left < right < width and 0 < top < bottom < height
    assert seen == set(BUCKETS)


def test_masks_have_the_shapes_of_their_photos():
    mask = Image.new("L", SHAPED[0])
    mask.paste(255, (0, 0, 200, 200))
    photo = Photo("0.png", picture(0).resize(SHAPED[0]), mask=mask)
    trainer = tiny_trainer(subject=SubjectSet([photo], [None], []), crop="aspect", resolution=SHAPED_SIDE, loss="none")
    expected = torch.full((32, 16), 0.1)
    expected[:16] = 1
    assert torch.allclose(trainer.data.sample(0).weight[0], expected, atol=0.02)  # resizing blurs the edge


def test_regularization_images_have_the_shape_of_their_batch(monkeypatch):
    encoded, data = [], shaped().data
    encode = data.codec.encode
    monkeypatch.setattr(data.codec, "encode", lambda pixels: encoded.append(tuple(pixels.shape[2:])) or encode(pixels))
    for number in range(8):
        before = len(encoded)
        batch = data.sample(number)
        assert set(encoded[before:]) <= {tuple(8 * side for side in batch.x_0.shape[-2:])}
    assert len(set(encoded)) == 3


@pytest.mark.parametrize("reward", [0, 2])
def test_a_resumed_run_with_buckets_is_bit_identical_to_an_uninterrupted_one(tmp_path, reward):
    options = {"reward_every": reward, "reward_start": 0.0}
    whole = shaped(**options)
    whole.run()
    assert any("biometric" in losses for losses in whole.history)
    assert bool(reward) == any("reward identity" in losses for losses in whole.history)
    assert all(math.isfinite(value) for losses in whole.history for value in losses.values())

    def stop(progress):
        if progress.step == 3:
            raise StopTraining

    with pytest.raises(StopTraining):
        run(shaped(**options), tmp_path / "state.pt", [stop])
    resumed = shaped(**options)
    resume(resumed, tmp_path / "state.pt")
    resumed.run()
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


def test_the_reward_does_not_depend_on_the_shape_of_the_batch():
    trainer = shaped(reward_every=1, reward_start=0.0, loss="none")
    reward_batch = trainer.reward.generate(0)
    narrow = next(batch for n in range(8) if (batch := trainer.data.sample(n)).x_0.shape[-1] != batch.x_0.shape[-2])
    with_reward = trainer.terms(narrow, reward_batch).losses
    without_reward = trainer.terms(narrow).losses
    assert torch.equal(with_reward["reconstruction"], without_reward["reconstruction"])
    square = next(batch for n in range(8) if (batch := trainer.data.sample(n)).x_0.shape[-1] == batch.x_0.shape[-2])
    with_square = trainer.terms(square, reward_batch).losses
    assert with_square["reward identity"].item() == pytest.approx(with_reward["reward identity"].item(), rel=1e-4)
