"""dlib's face recognition network (King 2017, dlib_face_recognition_resnet_model_v1), read from its published file."""

import math
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import MissingFile
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
PACKAGE = "face_recognition_models"  # the Python package that contains the file

# dlib's mean face shape with a quarter of padding on each side: eyes, nose, corners of the mouth.
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
    "dlib's ResNet-29, trained on 3 million faces of 7,485 people from FaceScrub, VGGFace and the web",
    Thresholds(0.9252, 0.9432, 137_313, 0.054, "FairFace, 538 people"),
    smallest=40,
)
MEAN_COLOUR = (122.782, 117.001, 104.298)
BLOCKS = ((32, 1),) * 3 + ((64, 2),) + ((64, 1),) * 3 + ((128, 2),) + ((128, 1),) * 2 + ((256, 2),)
BLOCKS += ((256, 1),) * 2 + ((256, 2),)  # channels, stride


def find_weights(folder: Path) -> Path | None:
    """Returns the path of the weights, in the package or in ``folder``; None if they are in neither."""
    package = find_spec(PACKAGE)  # not imported: its code needs setuptools
    packaged = [Path(package.origin).parent / "models"] if package and package.origin else []
    return next((place / DLIB.name for place in (*packaged, folder) if (place / DLIB.name).is_file()), None)


def weights_file(folder: Path) -> Path:
    """Returns the verified path of the weights. Raises UserError if they are missing or not the published file."""
    path = find_weights(folder)
    if path is None:
        raise MissingFile(
            f"The dlib embedder has no weights. Install the Python package face-recognition-models 0.3.0 (this "
            f"project's extra dlib), or put its file {DLIB.name} ({DLIB.licence}) into {folder}."
        )
    DLIB.verify(path)
    return path


class DlibResNet(nn.Module):
    """A ResNet with 29 convolutions. The affine layer after each convolution is folded into it."""

    mean: Tensor

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, stride=2)
        channels = [32, *(width for width, _ in BLOCKS)]
        self.blocks = nn.ModuleList(
            _Block(in_channels, width, stride) for in_channels, (width, stride) in zip(channels, BLOCKS, strict=False)
        )
        self.last = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN_COLOUR).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Maps ``crops`` [B, 3, 150, 150] in [-1, 1] to [B, 128]. dlib compares these by Euclidean distance."""
        x = ((crops + 1) * 127.5 - self.mean) / 256
        x = functional.max_pool2d(self.first(x).relu(), 3, 2)
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=0 if stride == 2 else 1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result = self.conv2(self.conv1(x).relu())
        shortcut = functional.avg_pool2d(x, 2, 2) if self.stride == 2 else x
        # dlib pads the smaller of the two with zeros, in size and in channels.
        side, width = max(result.shape[2], shortcut.shape[2]), max(result.shape[1], shortcut.shape[1])
        return (_zero_padded(result, width, side) + _zero_padded(shortcut, width, side)).relu()


def _zero_padded(x: Tensor, width: int, side: int) -> Tensor:
    return functional.pad(x, (0, side - x.shape[3], 0, side - x.shape[2], 0, width - x.shape[1]))


def read_dlib(path: Path) -> DlibResNet:
    """Reads the network from a verified file. Raises ValueError if the layers or shapes in the file differ."""
    network, layers = DlibResNet(), _layers(path.read_bytes())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    layer_types = [layer_type for layer_type, _ in layers]
    if layer_types != ["con", "affine"] * len(convolutions) + ["fc"]:
        raise ValueError(f"{path.name} has unexpected layers: {layer_types}")
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
    """Returns the type and the parameters of every layer, starting at the image input.

    dlib writes each layer's name as a string (a 1, its length, its letters), then its parameters: the version 2, four
    sizes and the float32 values. In the last layer (fc), two more integers come between name and parameters.
    """
    layers = []
    for match in re.finditer(rb"\x01[\x04-\x07](con|affine|fc)_", content):
        offset = match.start() + 2 + content[match.start() + 1]
        layer_type = match[1].decode()
        for _ in range(2 if layer_type == "fc" else 0):
            _, offset = _read_integer(content, offset)
        version, offset = _read_integer(content, offset)
        sizes = []
        for _ in range(4):
            size, offset = _read_integer(content, offset)
            sizes.append(size)
        if version == 2:
            values = np.frombuffer(content, "<f4", math.prod(sizes), offset).copy()
            layers.append((layer_type, torch.from_numpy(values)))
    return layers


def _read_integer(content: bytes, offset: int) -> tuple[int, int]:
    """Returns an integer as dlib writes it (a byte with sign and length, then its bytes) and the offset after it."""
    length = content[offset] & 0x0F
    value = int.from_bytes(content[offset + 1 : offset + 1 + length], "little")
    return (-value if content[offset] & 0x80 else value), offset + 1 + length


def _split(parameters: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    if parameters.numel() != first + second:
        raise ValueError(f"A layer has {parameters.numel()} parameters instead of {first} + {second}")
    return parameters[:first], parameters[first:]
