"""The memory that a training needs, counted before its first step.

Runs one step at three small sizes and records the bytes alive after each operation. Each count is a polynomial in the
number of latents: constant for text, linear for activations, quadratic where attention keeps its matrix. Extrapolating
each operation to the real size gives the peak. Not counted: what GPU libraries allocate beside tensors, such as cuDNN's
workspace, and the images that the reward generates.
"""

import gc
import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from ..config import TrainingConfig
from ..data.instances import faces_in
from ..dreambooth.batches import Batch
from ..dreambooth.face_reader import FaceReader
from ..dreambooth.trainer import Trainer
from ..faces.crops import landmarks_of
from ..models.levels import TIMESTEPS

SMALL = ((16, 16), (16, 24), (16, 32))  # latents; networks need whole patches, some in groups of 32
WINDOWS = ((8, 8), (12, 12), (16, 16))  # latents that are decoded or encoded
Counted = tuple[Tensor, int]  # bytes alive after each operation, and the last operation of the forward pass
RESOLUTIONS = range(256, 4096, 64)  # px, to suggest


class Ledger(TorchDispatchMode):
    """Records the bytes alive after each operation, counting tensors created inside the context."""

    def __init__(self):
        super().__init__()
        self.alive = 0
        self.moments: list[int] = []
        self._storages: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        """Runs ``func``. Operations on quantised tensors are first broken down into plain ones."""
        if any(hasattr(tensor_type, "__tensor_flatten__") for tensor_type in types):
            return NotImplemented
        if args and isinstance(args[0], Tensor):  # its memory is not new if the result is a view or in place
            self._note(args[0], new=False)
        with torch._C.DisableTorchFunctionSubclass():  # the caller makes the result a subclass, if it is one
            result = func(*args, **(kwargs or {}))
        for value in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(value, Tensor):
                self._note(value)
        self.moments.append(self.alive)
        return result

    def _note(self, tensor: Tensor, new: bool = True) -> None:
        if is_traceable_wrapper_subclass(tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if new else 0

        def forget(_: Any) -> None:
            del self._storages[key]
            self.alive -= size

        if key not in self._storages:
            self._storages[key] = weakref.ref(storage, forget)
            self.alive += size

    def __enter__(self) -> "Ledger":
        """Starts after collecting unreachable tensors."""
        gc.collect()
        return super().__enter__()

    @property
    def result(self) -> Tensor:
        """Bytes alive after each of M operations, float64 [M]."""
        return torch.tensor(self.moments, dtype=torch.float64)


@dataclass(frozen=True)
class Growth:
    """Bytes alive after each operation [M], by size in latents.

    ``turn`` is the last operation of the forward pass.
    """

    moments: dict[int, Tensor]
    turn: int = -1

    def at(self, size: int) -> Tensor:
        """Bytes alive at any size: the Lagrange polynomial through the counted sizes, per operation."""
        return torch.stack(
            [
                alive * math.prod((size - other) / (counted - other) for other in self.moments if other != counted)
                for counted, alive in self.moments.items()
            ]
        ).sum(0)

    def peak(self, size: int) -> int:
        """The most bytes alive at any time."""
        return int(self.at(size).max())


@dataclass(frozen=True)
class Memory:
    """The memory of a training on its device, in bytes."""

    resolution: int  # px
    factor: int  # px per latent
    weights: int  # network, VAE and face embedder in their own number formats, and the trained weights
    optimizer: int
    update: int  # temporaries of the optimizer step
    step: dict[bool, Growth]  # forward and backward pass, by gradient checkpointing
    window: int  # side of a decoded face window, latents
    face: dict[bool, Growth]  # decoding faces with gradient, by gradient checkpointing; empty without an identity loss
    embedding: int  # embedding faces
    image: Growth  # encoding a photo and decoding a preview

    def needed(self, checkpointing: bool, resolution: int | None = None) -> int:
        """The peak at the training's resolution or at ``resolution``."""
        latents = ((resolution or self.resolution) // self.factor) ** 2
        step = self.step[checkpointing].at(latents)
        peak = max(int(step.max()), int(step[-1]) + self.update, self.image.peak(latents))
        if self.face:  # decoded, forward and backward, while the network's activations are kept
            window = math.ceil(self.window * (resolution or self.resolution) / self.resolution)
            face, activations = self.face[checkpointing].at(window**2), int(step[self.step[checkpointing].turn])
            at_turn = int(face[self.face[checkpointing].turn])
            peak = max(peak, activations + int(face.max()), activations + at_turn + self.embedding)
        return self.weights + self.optimizer + peak

    def sentence(self, checkpointing: bool) -> str:
        """A sentence for the report."""
        current, other = ("on", "off") if checkpointing else ("off", "on")
        return (
            f"Memory: about {_text(self.needed(checkpointing))} at {self.resolution} px with gradient_checkpointing "
            f"{current} ({other}: {_text(self.needed(not checkpointing))}), including {_text(self.weights)} of weights."
        )

    def advice(self, checkpointing: bool, free: int | None) -> str | None:
        """What to do if ``free`` bytes beside the weights are too few; None if they suffice or ``free`` is unknown."""
        needed, available = self.needed(checkpointing), (free or 0) + self.weights
        if free is None or needed <= available:
            return None
        fitting = [side for side in RESOLUTIONS if side < self.resolution and self.needed(True, side) <= available]
        if self.needed(True) <= available:
            remedy = f"Turn on gradient_checkpointing: {_text(self.needed(True))}."
        elif fitting:
            lower = _text(self.needed(True, fitting[-1]))
            remedy = f"Turn on gradient_checkpointing and set resolution to {fitting[-1]}: {lower}."
        else:
            remedy = "Lower train_batch_size, or load the model in a smaller number format (fp8, int8, GGUF)."
        return f"Training needs about {_text(needed)} of memory, and {_text(available)} are available. {remedy}"


def memory_remarks(trainer: Trainer) -> tuple[str, str | None]:
    """The memory that a training needs, as a sentence, and what to do if less is available."""
    memory, checkpointing = count_memory(trainer), trainer.config.gradient_checkpointing
    return memory.sentence(checkpointing), memory.advice(checkpointing, free_memory(trainer.accelerator.device))


def out_of_memory(config: TrainingConfig, done: int) -> str:
    """The error for a device that ran out of memory in the step after ``done``."""
    where = f"at step {done + 1}; the steps before it are saved" if done else "before the first step"
    remedies = ["close other programs that use it"]
    if not config.gradient_checkpointing:
        remedies.append("turn on gradient_checkpointing")
    restart = "lower resolution or train_batch_size"
    if config.method == "full" and not config.use_8bit_adam:
        restart = f"turn on use_8bit_adam, {restart}"
    return (
        f"The GPU ran out of memory {where}. To continue, {' or '.join(remedies)}. To start again with less, {restart}."
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still allocate on ``device``; None if unknown."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available if device.type == "cpu" else None


def count_memory(trainer: Trainer) -> Memory:
    """Counts the memory of ``trainer``. Call it before the first step; the weights do not change."""
    model, reader, resolution = trainer.model, trainer.face_reader, trainer.data.resolution
    config, device, factor = trainer.config, trainer.accelerator.device, trainer.model.codec.factor
    step, face = {}, {}
    for on in (False, True):
        model.checkpoint_blocks(on)
        with model.stepping(resolution):
            step[on] = _growth(partial(_step, trainer), SMALL, resolution // factor)
            if reader:
                face[on] = _growth(partial(_face, trainer, reader), WINDOWS, reader.window)
    model.checkpoint_blocks(config.gradient_checkpointing)
    with model.stepping(resolution), torch.no_grad():
        image = _growth(partial(_image, trainer), WINDOWS, resolution // factor)
    trained = sum(weight.numel() for weight in trainer.trainable.values())
    return Memory(
        resolution=resolution,
        factor=factor,
        weights=_size([*model.held(), *([reader.embedder, reader.codec] if reader else [])], device),
        optimizer=trained * (2 if config.use_8bit_adam else 8),  # AdamW's two moments
        update=4 * trained if device.type == "cuda" else 0,  # AdamW computes all square roots at once there
        step=step,
        window=reader.window if reader else 0,
        face=face,
        embedding=_embedding(trainer, reader) if reader else 0,
        image=image,
    )


def _text(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _step(trainer: Trainer, height: int, width: int) -> Counted:
    """Counts a step that decodes no face."""
    batch = _batch(trainer, height, width)
    with Ledger() as ledger:
        loss = trainer.total(trainer.terms(batch).losses)
        turn = len(ledger.moments) - 1
        loss.backward()
    trainer.optimizer.zero_grad()
    return ledger.result, turn


def _batch(trainer: Trainer, height: int, width: int) -> Batch:
    """A dummy noise batch with training's shapes."""
    data, device, none = trainer.data, trainer.accelerator.device, torch.empty(0)
    instances = trainer.config.train_batch_size
    prompts = [*islice(cycle(instance.prompt for instance in data.instances), instances)]
    if data.regularization:
        prompts += islice(cycle(reversed(data.prompts())), instances)
    codec, count = trainer.model.codec, len(prompts)
    shape = codec.shape(codec.factor * width, codec.factor * height)
    x_0 = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    return Batch(
        x_0=x_0,
        noise=x_0.flip(-1),
        t=torch.full((count,), TIMESTEPS // 2, device=device),
        prompts=prompts,
        weight=None,
        instances=instances,
        decode=torch.empty(0, dtype=torch.int64),
        squares=none,
        landmarks=none,
        references=none,
        negatives=none,
    )


def _face(trainer: Trainer, reader: FaceReader, height: int, width: int) -> Counted:
    """Counts decoding the faces of all instances in windows of this size."""
    codec, count, device = trainer.model.codec, trainer.config.train_batch_size, trainer.accelerator.device
    shape = codec.shape(codec.factor * width, codec.factor * height)
    latents = torch.zeros(count, *shape, device=device, requires_grad=True)
    with Ledger() as ledger:
        with torch.autocast(device.type, torch.bfloat16, enabled=reader.bf16):
            pixels = reader.codec.decode(latents)
        turn = len(ledger.moments) - 1
        pixels.backward(torch.ones_like(pixels))
    return ledger.result, turn


def _embedding(trainer: Trainer, reader: FaceReader) -> int:
    """The most bytes that embedding the faces of all instances takes beside their pixels."""
    count, side = trainer.config.train_batch_size, trainer.data.resolution
    face = faces_in(trainer.data.instances)[0]
    crop, squares = reader.embedder.crop, torch.tensor([reader.embedder.crop.square(face)]).repeat(count, 1)
    pixels = torch.zeros(count, 3, side, side, device=trainer.accelerator.device, requires_grad=True)
    with Ledger() as ledger:
        reader.embedder(crop(pixels, squares, landmarks_of([face]).repeat(count, 1, 1))).sum().backward()
    return int(ledger.result.max())


def _image(trainer: Trainer, height: int, width: int) -> Counted:
    """Counts encoding a photo and decoding a preview."""
    codec, device = trainer.model.codec, trainer.accelerator.device
    width, height = codec.factor * width, codec.factor * height
    with Ledger() as ledger:
        codec.encode(torch.zeros(1, 3, height, width, device=device))
        turn = len(ledger.moments) - 1
        codec.decode(torch.zeros(1, *codec.shape(width, height), device=device))
    return ledger.result, turn


def _growth(count: Callable[[int, int], Counted], sizes: Iterable[tuple[int, int]], side: int) -> Growth:
    """Counts at small sizes, or at the real ``side`` if that is small too."""
    small = {height * width: (height, width) for height, width in sizes}
    chosen = small if side**2 > max(small) else {side**2: (side, side)}
    counted = {size: count(*sides) for size, sides in chosen.items()}
    (turn,) = {turn for _, turn in counted.values()}
    return Growth({size: moments for size, (moments, _) in counted.items()}, turn)


def _size(modules: Iterable[Any], device: torch.device) -> int:
    """Bytes of the weights of ``modules`` on ``device``, each counted once and in its own number format."""
    sizes = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.device.type == device.type:
                sizes |= {part.untyped_storage()._cdata: part.untyped_storage().nbytes() for part in kept(tensor)}
    return sum(sizes.values())


def kept(tensor: Tensor) -> list[Tensor]:
    """The tensors inside a quantised tensor, or the tensor itself."""
    tensor = tensor.data
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in kept(getattr(tensor, name))]
