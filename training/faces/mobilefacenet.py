"""MobileFaceNet (Chen et al. 2018), read from a published TensorFlow Lite file."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..published import Published
from .crops import AlignedCrop
from .embedders import Facts, Thresholds

MOBILEFACENET = Published(
    "MobileFaceNet.tflite",
    "https://raw.githubusercontent.com/syaringan357/Android-MobileFaceNet-MTCNN-FaceAntiSpoofing/"
    "d635649e711f5e16e6cd3dc06cbb329cd8d1d3b7/app/src/main/assets/MobileFaceNet.tflite",
    "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
    "MIT",
    5_233_396,
)
# ArcFace's five points in 112 px (Deng et al. 2019).
CROP = AlignedCrop(
    112,
    (
        (0.341916, 0.461574),
        (0.656534, 0.459835),
        (0.500225, 0.640505),
        (0.370976, 0.824692),
        (0.631517, 0.823250),
    ),
)
FACTS = Facts(
    "MobileFaceNet with ArcFace's loss, trained on MS-Celeb-1M as far as its authors say",
    Thresholds(0.4198, 0.5404, 137_313, 0.176, "FairFace, 538 people"),
    smallest=40,
)
# Width inside, width after it, stride, repetitions; Chen et al., table 1, with a halved fifth row.
STAGES = ((128, 64, 2, 1), (128, 64, 1, 4), (256, 128, 2, 1), (256, 128, 1, 6), (512, 128, 2, 1), (256, 128, 1, 2))


class MobileFaceNet(nn.Sequential):
    """Crops [B, 3, 112, 112] in [-1, 1] to [B, 192]."""

    def __init__(self):
        layers: list[nn.Module] = [*_convolution(3, 64, 3, 2), *_convolution(64, 64, 3, 1, 64), _conv(64, 64, 1)]
        width = 64
        for inside, after, stride, count in STAGES:
            for _ in range(count):
                layers.append(_Bottleneck(width, inside, after, stride))
                width = after
        layers += [*_convolution(128, 512, 1), nn.Conv2d(512, 512, 7, groups=512), _conv(512, 512, 1)]
        super().__init__(*layers, _conv(512, 192, 1), nn.Flatten())

    def forward(self, input: Tensor) -> Tensor:
        """It reads (x - 127.5) / 128 as FaceNet does, which is 127.5 / 128 of our range."""
        return super().forward(input * (127.5 / 128))


class _Bottleneck(nn.Sequential):
    def __init__(self, before: int, inside: int, after: int, stride: int):
        self.residual = stride == 1
        super().__init__(
            *_convolution(before, inside, 1), *_convolution(inside, inside, 3, stride, inside), _conv(inside, after, 1)
        )

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return input + result if self.residual else result


class _SameConv2d(nn.Conv2d):
    """TensorFlow's padding: where it is odd, the larger half comes last."""

    def forward(self, input: Tensor) -> Tensor:
        step, kernel = self.stride[0], self.kernel_size[0]
        sides = [max(0, (-(-side // step) - 1) * step + kernel - side) for side in (input.shape[3], input.shape[2])]
        return super().forward(functional.pad(input, [part for pad in sides for part in (pad // 2, pad - pad // 2)]))


def _conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return _SameConv2d(before, after, kernel, stride, groups=groups)


def _convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    return _conv(before, after, kernel, stride, groups), nn.PReLU(after)


def read_mobilefacenet(path: Path) -> MobileFaceNet:
    """The network in a verified file; its shapes must be the network's, or ValueError is raised."""
    network = MobileFaceNet()
    constants = [value for value in _constants(path.read_bytes()) if value.is_floating_point()]
    state = network.state_dict()
    if len(constants) != len(state):
        raise ValueError(f"{path.name} has {len(constants)} weights, not {len(state)}")
    modules = dict(network.named_modules())
    for (name, expected), value in zip(state.items(), constants, strict=True):
        module = modules[name.rsplit(".", 1)[0]]
        if value.ndim == 4:  # [out, h, w, in], or [1, h, w, channels] of a depthwise one
            value = value.permute((3, 0, 1, 2) if len(value) == 1 else (0, 3, 1, 2))
        elif isinstance(module, nn.PReLU):
            value = 2 * value  # the file has relu(x) + value * (x - |x|)
        if value.shape != expected.shape:
            raise ValueError(f"{name} in {path.name} has shape {tuple(value.shape)}, not {tuple(expected.shape)}")
        state[name] = value.contiguous()
    network.load_state_dict(state)
    return network


def _constants(content: bytes) -> Iterator[Tensor]:
    """The constants of a TensorFlow Lite model, in the order in which its operators use them."""
    model = _Table.root(content)
    buffers, graph = model.tables(4), model.tables(2)[0]
    tensors = graph.tables(0)
    for operator in graph.tables(3):
        for index in operator.numbers(1):
            shape, kind, buffer = tensors[index].numbers(0), tensors[index].scalar(1), tensors[index].scalar(2)
            if data := buffers[buffer].bytes(0):
                yield torch.from_numpy(np.frombuffer(data, {0: "<f4", 2: "<i4"}[kind]).reshape(shape).copy())


class _Table:
    """A table of a FlatBuffer, whose fields are found by their numbers in TensorFlow Lite's schema.

    At a table's place stands the way back to its list of fields; a field's entry there is its distance, 0 for none.
    """

    def __init__(self, content: bytes, place: int):
        self.content, self.place = content, place
        self.fields = place - self._number("<i", place)

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content)[0])

    def scalar(self, field: int) -> int:
        """A number of at most 32 bits: an enumeration's byte, or an index."""
        place = self._field(field)
        return 0 if place is None else self._number("<b" if field == 1 else "<I", place)

    def numbers(self, field: int) -> list[int]:
        start, count = self._vector(field)
        return list(struct.unpack_from(f"<{count}i", self.content, start))

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field)
        return self.content[start : start + count]

    def tables(self, field: int) -> list["_Table"]:
        start, count = self._vector(field)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.content, place + self._number("<I", place)) for place in places]

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._field(field)
        if place is None:
            return 0, 0
        start = place + self._number("<I", place)
        return start + 4, self._number("<I", start)

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry >= self._number("<H", self.fields):
            return None
        distance = self._number("<H", self.fields + entry)
        return self.place + distance if distance else None

    def _number(self, kind: str, place: int) -> int:
        return struct.unpack_from(kind, self.content, place)[0]
