"""Compares the memory counted before the first step with PyTorch's allocator during the step."""

import gc
import re
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.parts import tiny_trainer, weights
from training.config import TrainingConfig
from training.runs.memory import Growth, Ledger, Memory, count_memory, out_of_memory

MIB = 2**20


def allocated(run) -> int:
    """The peak of bytes allocated by ``run``."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    alive = peak = 0
    for _, size in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        alive += size
        peak = max(peak, alive)
    return peak


def test_the_ledger_counts_the_bytes_alive_after_each_operation():
    with Ledger() as ledger:
        zeros = torch.zeros(1000)
        view = zeros[:10]
        ones = zeros + 1
        del zeros
        ones.add_(1)
        del view
        torch.zeros(1)
    assert ledger.moments == [4000, 4000, 8000, 8000, 4004]


class Packed(torch.Tensor):
    """Like ComfyUI-GGUF's tensors, which cannot be made without the number format."""

    def __new__(cls, values, number_format):
        return super().__new__(cls, values)

    def __init__(self, values, number_format):
        super().__init__()


def test_operations_on_a_tensor_class_give_the_same_classes_while_memory_is_counted():
    weight, x = Packed(torch.ones(4, 8), "Q8_0"), torch.ones(2, 8)

    def classes():
        y = torch.nn.functional.linear(x, weight)
        return type(y), type(torch.Tensor(y))

    expected = classes()
    with Ledger() as ledger:
        assert classes() == expected == (Packed, torch.Tensor)
    assert ledger.result.max() == 2 * 4 * 4  # float32


def test_a_step_takes_the_memory_that_was_extrapolated_from_smaller_sizes():
    trainer = tiny_trainer(method="lora", loss="biometric", resolution=192, train_batch_size=1)
    before = weights(trainer)
    memory = count_memory(trainer)
    assert memory.resolution // memory.factor > 16 and memory.window > 16, "larger than every counted size"
    assert memory.optimizer == 8 * sum(weight.numel() for weight in trainer.trainable.values())
    for name, weight in trainer.trainable.items():
        assert torch.equal(weight, before[name]) and weight.grad is None
    batch = next(batch for batch in map(trainer.data.sample, range(50)) if len(batch.decode))

    def step():
        with trainer.model.stepping(192):
            trainer.total(trainer.terms(batch).losses).backward()
        trainer.optimizer.zero_grad()

    step()
    for checkpointing in (False, True):
        trainer.model.checkpoint_blocks(checkpointing)
        counted = memory.needed(checkpointing) - memory.weights - memory.optimizer
        assert counted == pytest.approx(allocated(step), rel=0.02)
    assert memory.needed(True) < memory.needed(False)


def memory(step=1.0, checkpointed=0.1) -> Memory:
    """100 MiB of weights; ``step`` and ``checkpointed`` in KiB per latent."""
    moments_by_mode = {on: {1: torch.tensor([1024.0 * size]), 2: torch.tensor([2048.0 * size])} for on, size in
             ((False, step), (True, checkpointed))}  # fmt: skip
    nothing = Growth({1: torch.zeros(1)})
    step_growth = {on: Growth(moments) for on, moments in moments_by_mode.items()}
    return Memory(512, 8, 100 * MIB, 0, 0, step_growth, 0, {}, 0, nothing)


def test_the_memory_grows_with_the_resolution():
    assert memory().needed(False) == 104 * MIB
    assert memory().needed(False, 1024) == 116 * MIB
    assert re.findall(r"(\d+) (MiB|px)", memory().sentence(False)) == [
        ("104", "MiB"), ("512", "px"), ("100", "MiB"), ("100", "MiB")
    ]  # fmt: skip


def test_the_advice_names_what_fits_into_the_free_memory():
    small = memory()
    assert small.advice(False, 4 * MIB) is None
    assert small.advice(False, None) is None
    advice = small.advice(False, 3 * MIB)
    assert "104 MiB" in advice and "103 MiB" in advice and "gradient_checkpointing" in advice and "448" not in advice
    large = replace(small, step={False: small.step[False], True: small.step[False]})
    assert re.search(r"448\b.*103 MiB", large.advice(True, 4 * MIB - 1))
    assert "train_batch_size" in large.advice(True, 10)


def test_the_out_of_memory_error_names_only_settings_that_can_still_help():
    message = out_of_memory(TrainingConfig(), 0)
    assert not re.search(r"step \d|saved", message)
    assert all(setting in message for setting in ("gradient_checkpointing", "resolution", "train_batch_size"))
    full = TrainingConfig(method="full", gradient_checkpointing=True)
    message = out_of_memory(full, 7)
    assert re.search(r"\b8\b.*saved", message) and "gradient_checkpointing" not in message
    assert "use_8bit_adam" in message
    assert "8bit" not in out_of_memory(replace(full, use_8bit_adam=True), 7)
