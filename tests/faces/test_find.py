from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from training.faces.find import Face, MTCNNDetector, crop_squares, main_first, upright

FACE = Face((20.0, 10.0, 60.0, 70.0), ((30, 30), (50, 30), (40, 45), (32, 60), (48, 60)))


@pytest.fixture(scope="module")
def detector():
    return MTCNNDetector()


def test_the_face_in_a_real_photo_is_detected(detector, astronaut):
    (face,) = detector(astronaut)
    left, top, right, bottom = face.box
    assert 165 < left < 200 and 245 < right < 285
    assert 50 < top < 100 and 160 < bottom < 220
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def square_face(side, center):
    x, y = center
    return Face((x - side / 2, y - side / 2, x + side / 2, y + side / 2))


@pytest.mark.parametrize(
    ("faces", "main"),
    [
        ({"bystander in the middle": (23, (500, 400)), "subject": (301, (180, 180))}, "subject"),
        ({"subject": (156, (500, 150)), "print on the shirt": (120, (500, 400))}, "subject"),
        ({"at the edge": (205, (900, 400)), "in the middle": (200, (480, 380))}, "in the middle"),
        ({"at the edge": (205, (900, 400)), "in the middle": (160, (480, 380))}, "at the edge"),
        ({"alone": (30, (20, 20))}, "alone"),
    ],
)
def test_the_main_face_is_the_largest_or_the_most_central_of_nearly_equal_ones(faces, main):
    boxes = {name: square_face(*face) for name, face in faces.items()}
    ordered = main_first(list(boxes.values()), (1000, 800))
    assert ordered[0] == boxes[main]
    assert sorted(ordered[1:], key=lambda face: -face.side) == ordered[1:] and len(ordered) == len(faces)
    assert main_first(list(boxes.values())[::-1], (1000, 800)) == ordered


def test_a_large_face_at_the_edge_comes_before_a_small_one_in_the_middle(detector, astronaut):
    head = astronaut.crop((100, 0, 356, 256))
    canvas = Image.new("RGB", (1200, 800), "grey")
    canvas.paste(head.resize((500, 500)), (0, 0))
    canvas.paste(head.resize((80, 80)), (560, 360))
    first, second = detector(canvas)
    assert first.side > 150 > 50 > second.side
    assert first.center[0] < 500 and abs(second.center[0] - 600) < 40


def test_the_larger_and_more_central_face_comes_first(detector, astronaut):
    canvas = Image.new("RGB", (900, 520), "grey")
    canvas.paste(astronaut.crop((100, 0, 356, 256)).resize((128, 128)), (0, 390))
    canvas.paste(astronaut.crop((100, 0, 356, 256)).resize((400, 400)), (300, 60))
    first, second = detector(canvas)
    assert 300 < first.center[0] < 700
    assert second.center[0] < 128 and first.side > 2 * second.side


@pytest.mark.parametrize("size", [(400, 300), (30, 30)])
def test_no_face_is_detected_in_a_flat_image(detector, size):
    assert detector(Image.new("RGB", size, "grey")) == []


def test_the_face_in_a_large_photo_is_at_the_same_place(detector, astronaut):
    (small,), (large,) = detector(astronaut), detector(astronaut.resize((2048, 2048)))
    assert np.abs(np.array(large.box) / 4 - small.box).max() < 6


def test_the_square_is_centred_on_the_box():
    left, top, right, bottom = FACE.square(1.5)
    assert ((left + right) / 2, (top + bottom) / 2) == (40, 40)
    assert right - left == bottom - top == 90


def test_cutting_and_resizing_move_the_face():
    moved = FACE.moved(10, 5, 2)
    assert moved.box == (20, 10, 100, 130)
    assert moved.landmarks[0] == (40, 50)


def test_mirroring_swaps_left_and_right_landmarks():
    mirrored = FACE.mirrored(100)
    assert mirrored.box == (40, 10, 80, 70)
    assert mirrored.landmarks == ((50, 30), (70, 30), (60, 45), (52, 60), (68, 60))
    assert mirrored.mirrored(100) == FACE


def ramp(height=40, width=50):
    """Returns an image that is linear in its pixel coordinates. Bilinear sampling reproduces it exactly."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, 2 * x - y]).double()[None]


@pytest.mark.parametrize("square", [(10, 8, 26, 24), (5.25, 3.5, 21.75, 20.0), (12.0, 10.0, 20.0, 18.0)])
def test_crop_samples_the_square_at_pixel_centres(square):
    size, (left, top, right, _) = 16, square
    crop = crop_squares(ramp(), torch.tensor([square]), size)
    centres = (torch.arange(size) + 0.5) / size * (right - left)
    torch.testing.assert_close(crop[0, 0], (left + centres).double().expand(size, size))
    torch.testing.assert_close(crop[0, 1], (top + centres).double()[:, None].expand(size, size))


def test_rows_and_columns_are_not_swapped():
    image = torch.zeros(1, 1, 30, 50)
    image[:, :, 5, 30] = 1
    crop = crop_squares(image, torch.tensor([[26.0, 1.0, 42.0, 17.0]]), 16)
    assert (crop[0, 0] > 0.01).nonzero().tolist() == [[4, 4]]


def test_edge_pixels_repeat_outside_the_image():
    crop = crop_squares(ramp(), torch.tensor([[-20.0, 10.0, -4.0, 26.0]]), 16)
    torch.testing.assert_close(crop[0, 0], torch.full((16, 16), 0.5).double())


def test_large_squares_are_averaged():
    checks = torch.tensor([(x + y) % 2 for y, x in product(range(64), repeat=2)]).reshape(1, 1, 64, 64).double()
    crop = crop_squares(checks, torch.tensor([[0.0, 0.0, 64.0, 64.0]]), 16)
    torch.testing.assert_close(crop, torch.full_like(crop, 0.5))


def test_each_image_in_a_batch_has_its_own_square():
    images = ramp().repeat(2, 1, 1, 1)
    squares = torch.tensor([[1.0, 2, 9, 10], [20.0, 12, 28, 20]])
    both = crop_squares(images, squares, 8)
    for index in range(2):
        torch.testing.assert_close(both[index], crop_squares(ramp(), squares[index][None], 8)[0])


def test_gradient_agrees_with_finite_differences():
    image = torch.rand(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    square = torch.tensor([[0.7, 1.1, 4.9, 5.3]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda pixels: crop_squares(pixels, square, 4), image)


@pytest.mark.parametrize("degrees", [-20, 0, 15])
def test_a_tilted_face_is_rotated_until_the_eyes_are_level(detector, astronaut, degrees):
    tilted = astronaut.rotate(degrees, center=(222, 115), resample=Image.Resampling.BICUBIC).crop((60, 0, 400, 300))
    straight, face = upright(tilted, detector(tilted)[0])
    assert face.landmarks[0][1] == pytest.approx(face.landmarks[1][1], abs=1e-3)
    detected = detector(straight)[0]
    (x0, y0), (x1, y1) = detected.landmarks[:2]
    assert abs(np.degrees(np.arctan2(y1 - y0, x1 - x0))) < 4  # the accuracy of the detector
    assert detected.center == pytest.approx(face.center, abs=8)
    assert np.subtract(detected.landmarks, face.landmarks) == pytest.approx(0, abs=6)


def test_an_image_without_landmarks_is_not_rotated(astronaut):
    face = Face((10.0, 10.0, 50.0, 50.0))
    assert upright(astronaut, face) == (astronaut, face)


@pytest.mark.parametrize(("nose", "side"), [(40, False), (31, False), (28, True), (52, True)])
def test_a_face_with_the_nose_beyond_an_eye_is_from_the_side(nose, side):
    eyes, mouth = ((30.0, 30.0), (50.0, 30.0)), ((32.0, 60.0), (48.0, 60.0))
    face = Face(FACE.box, (*eyes, (float(nose), 45.0), *mouth))
    assert face.from_the_side is side and face.mirrored(80).from_the_side is side
    assert not Face(FACE.box).from_the_side
