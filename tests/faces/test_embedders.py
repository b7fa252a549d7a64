import re

import pytest
import torch
from facenet_pytorch import InceptionResnetV1

from training.catalogue import UNTRAINED_FACENET, load_embedder
from training.errors import DamagedFile, UserError
from training.faces.crops import SquareCrop
from training.faces.embedders import UNKNOWN
from training.faces.facenet import FACENET, FaceNet
from training.faces.find import Face
from training.faces.observation import Observation, Observer

FILE = FACENET["vggface2"].name
CASIA = FACENET["casia-webface"].name


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return InceptionResnetV1().eval()


def test_facenet_scales_its_input_as_published(network):
    pixels = torch.randint(0, 256, (1, 3, 160, 160)).float()
    ours = FaceNet("test", network)(pixels / 127.5 - 1)
    torch.testing.assert_close(ours, network((pixels - 127.5) / 128), atol=1e-5, rtol=0)
    assert ours.norm(dim=1).item() == pytest.approx(1, abs=1e-5)


def test_pixels_get_a_gradient_and_weights_do_not(network):
    pixels = torch.rand(1, 3, 160, 160, requires_grad=True)
    FaceNet("test", network)(pixels).sum().backward()
    assert pixels.grad.any()
    assert all(weight.grad is None for weight in network.parameters())


def test_weights_in_the_published_layout_are_read(network, tmp_path):
    torch.save({**network.state_dict(), "logits.weight": torch.zeros(10575, 512)}, tmp_path / CASIA)
    loaded = load_embedder("casia-webface", tmp_path)
    assert loaded.name == "FaceNet casia-webface"
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.network.state_dict().items())


def test_another_file_under_a_recorded_name_is_refused(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / FILE)
    with pytest.raises(UserError, match=rf"{re.escape(FILE)}.*[0-9a-f]{{64}}.*281ceb"):
        load_embedder("vggface2", tmp_path)


def test_the_error_on_missing_weights_names_file_source_folder_licence_and_option(tmp_path):
    with pytest.raises(UserError) as error:
        load_embedder("vggface2", tmp_path)
    published = FACENET["vggface2"]
    parts = (published.name, published.url, published.licence, str(tmp_path), "download")
    assert all(part in str(error.value) for part in parts)


class Code:
    def __reduce__(self):
        return (print, ("code in the weights was run",))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"conv2d_1a.conv.weight": torch.zeros(2, 2)}, DamagedFile),
        ({"weight": Code()}, UserError),
        ({}, UserError),
    ],
    ids=["another network", "code", "empty"],
)
def test_wrong_weights_are_refused(tmp_path, content, error, capsys):
    torch.save(content, tmp_path / CASIA)
    with pytest.raises(error, match=re.escape(CASIA)):
        load_embedder("casia-webface", tmp_path)
    assert "code in the weights was run" not in capsys.readouterr().out


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / CASIA).write_bytes(b"half a file")
    with pytest.raises(UserError, match=re.escape(CASIA)):
        load_embedder("casia-webface", tmp_path)


def test_untrained_facenet_is_deterministic_and_named_untrained():
    first, second = (load_embedder(UNTRAINED_FACENET) for _ in range(2))
    assert "untrained" in first.name
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_only_the_face_square_is_embedded(astronaut):
    received = []

    class Recorder:
        name, crop, facts = "recorder", SquareCrop(8), UNKNOWN

        def __call__(self, crops):
            received.append(crops)
            return crops.flatten(1)

    face = Face((180.0, 70.0, 260.0, 190.0))
    assert Observer(lambda image: [face], Recorder()).observe("one", astronaut).face is face
    side, (x, y) = 120 * 1.1, face.center
    half = side / 2
    expected = astronaut.resize((8, 8), 4, box=(x - half, y - half, x + half, y + half))  # 4: box filter
    crop = ((received[0][0].permute(1, 2, 0) + 1) * 127.5).numpy()
    assert abs(crop - expected).mean() < 12
    assert Observer(lambda image: [], Recorder()).observe("none", astronaut) == Observation("none", None)
