import numpy as np
import pytest
import torch
from PIL import Image

from tests.nodes.pack import module

images = module("nodes.ui.images")
InvalidData = module("training.errors").InvalidData


def test_8_bit_images_survive_the_round_trip_through_a_batch():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    batch = images.to_batch([Image.fromarray(pixels), Image.fromarray(255 - pixels)])
    assert batch.shape == (2, 16, 16, 3) and batch.dtype == torch.float32
    assert torch.equal(batch[0], torch.from_numpy(pixels) / 255)
    back = images.to_pictures([batch])
    assert [np.asarray(picture).tolist() for picture in back] == [pixels.tolist(), (255 - pixels).tolist()]


def test_values_are_clipped_and_alpha_is_dropped():
    (picture,) = images.to_pictures([torch.tensor([[[[-0.5, 0.5, 1.5, 0.2]]]])])
    assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((2, 4, 6, 1), [(6, 4)] * 2),
        ((2, 4, 6, 2), [(6, 4)] * 2),
        ((4, 6, 3), [(6, 4)]),
        ((4, 6, 1), [(6, 4)]),
        ((2, 4, 6), [(6, 4)] * 2),
    ],
)
def test_grey_images_single_images_and_masks_are_accepted(shape, sizes):
    pictures = images.to_pictures([torch.full(shape, 0.2)])
    assert [picture.size for picture in pictures] == sizes
    assert {picture.getpixel((5, 3)) for picture in pictures} == {(51, 51, 51)}


@pytest.mark.parametrize(("sizes", "batches"), [([(8, 8), (8, 8)], [2]), ([(8, 8), (16, 8)], [1, 1])])
def test_images_of_one_size_become_one_batch_and_others_one_batch_each(sizes, batches):
    result = images.to_batches([Image.new("RGB", size) for size in sizes])
    assert [len(batch) for batch in result] == batches


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_and_masks_with_values_that_are_no_numbers_are_refused_by_number(value):
    broken = torch.zeros(1, 4, 4, 3)
    broken[0, 1, 2, 0] = value
    for convert, tensor in ((images.to_pictures, broken), (images.to_masks, broken[..., 0])):
        with pytest.raises(InvalidData, match=r"\b1 of 3\b.*\b2\b"):
            convert([torch.zeros_like(tensor), tensor, torch.zeros_like(tensor)])
