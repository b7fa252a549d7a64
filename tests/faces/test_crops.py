import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform, warp

from training.errors import UnsupportedModel
from training.faces import dlib_resnet, mobilefacenet
from training.faces.crops import AlignedCrop, SquareCrop, landmarks_of
from training.faces.find import Face
from training.pictures.photos import to_tensor

TILTED = Face((60.0, 40.0, 160.0, 190.0), ((80.0, 90.0), (130.0, 110.0), (96.0, 130.0), (66.0, 140.0), (108.0, 158.0)))


def smooth(width=220, height=200):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def cut(crop, image, face=TILTED):
    return crop(to_tensor(image), torch.tensor([crop.square(face)]), landmarks_of([face]))


def fitted(crop, face=TILTED):
    """Returns scikit-image's similarity transform from the image to the crop."""
    transform = SimilarityTransform()
    transform.estimate(np.array(face.landmarks), np.array(crop.template) * crop.size)
    return transform


@pytest.mark.parametrize("crop", [dlib_resnet.CROP, mobilefacenet.CROP], ids=["dlib", "mobilefacenet"])
def test_a_tilted_face_is_aligned_as_scikit_image_aligns_it(crop):
    image = smooth()
    half = SimilarityTransform(translation=(0.5, 0.5))  # integers are pixel centres in scikit-image, pixel edges here
    back = half.params @ np.linalg.inv(fitted(crop).params) @ half.params
    back[:2, 2] -= 1
    expected = warp(
        np.asarray(image) / 127.5 - 1, SimilarityTransform(back), output_shape=(crop.size,) * 2, mode="edge"
    )
    ours = cut(crop, image)[0].permute(1, 2, 0).numpy()
    assert abs(ours - expected).max() < 0.02


def test_landmarks_end_up_at_the_template():
    places = [(40.0, 50.0), (90.0, 50.0), (65.0, 80.0), (45.0, 105.0), (85.0, 105.0)]
    template = tuple((x / 130, y / 130) for x, y in places)
    image = Image.new("RGB", (520, 520), "black")
    face = Face((0.0, 0.0, 520.0, 520.0), tuple((4 * x, 4 * y) for x, y in places))
    for x, y in face.landmarks:
        image.paste((255, 255, 255), (int(x) - 8, int(y) - 8, int(x) + 8, int(y) + 8))
    crop = cut(AlignedCrop(130, template), image, face)[0].mean(0)
    assert all(crop[round(y), round(x)] > 0.9 for x, y in places) and crop.mean() < -0.9


def test_the_square_contains_the_whole_crop():
    crop = dlib_resnet.CROP
    corners = fitted(crop).inverse([(0, 0), (0, 150), (150, 0), (150, 150)])
    left, top, right, bottom = crop.square(TILTED)
    assert np.allclose([left, top], corners.min(0), atol=0.1) and np.allclose([right, bottom], corners.max(0), atol=0.1)


def test_only_pixels_inside_the_crop_get_a_gradient():
    image = to_tensor(smooth()).requires_grad_()
    crop = mobilefacenet.CROP
    crop(image, torch.zeros(1, 4), landmarks_of([TILTED])).sum().backward()
    assert image.grad is not None and image.grad[0, 0, 120, 95] > 0 and not image.grad[0, :, :, 210:].any()


def test_a_batch_gives_the_same_crops_as_single_images():
    images, faces = [smooth(), smooth().rotate(180)], [TILTED, TILTED.moved(-3, 5, 0.9)]
    batch = dlib_resnet.CROP(torch.cat([to_tensor(image) for image in images]), torch.zeros(2, 4), landmarks_of(faces))
    single = [cut(dlib_resnet.CROP, image, face) for image, face in zip(images, faces, strict=True)]
    torch.testing.assert_close(batch, torch.cat(single), atol=1e-4, rtol=0)


def test_a_face_without_landmarks_gets_a_square_crop_but_no_aligned_crop():
    bare = Face(TILTED.box)
    with pytest.raises(UnsupportedModel):
        dlib_resnet.CROP(to_tensor(smooth()), torch.zeros(1, 4), landmarks_of([bare]))
    assert cut(SquareCrop(32), smooth(), bare).shape == (1, 3, 32, 32)
