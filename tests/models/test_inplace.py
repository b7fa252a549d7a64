"""LoRA and gradient checkpointing on layers of another program."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from training.models.inplace import Lora, blocks, copy_norm_inputs, wrap_block, wrap_layer


@contextmanager
def weight_of(layer, dtype, device):
    yield layer.weight.to(device, dtype)


def layer_and_input(layer_type):
    torch.manual_seed(0)
    if layer_type == "linear":
        return nn.Linear(6, 5), torch.randn(2, 3, 6)
    if layer_type == "convolution":
        return nn.Conv2d(4, 5, 3, stride=2, padding=1), torch.randn(2, 4, 7, 7)
    return nn.Conv3d(4, 5, (1, 3, 3), padding=(0, 1, 1)), torch.randn(2, 4, 1, 6, 6)


def with_random_weights(lora):
    nn.init.normal_(lora.up)
    return lora


@pytest.mark.parametrize("layer_type", ["linear", "convolution", "video convolution"])
@pytest.mark.parametrize("cast", [weight_of, None], ids=["frozen", "run twice"])
def test_gradients_equal_those_of_the_merged_weight(layer_type, cast):
    layer, x = layer_and_input(layer_type)
    layer.requires_grad_(False)
    lora = with_random_weights(Lora(layer, 2, 3.0, torch.Generator().manual_seed(1)))
    change = 1.5 * (lora.up.flatten(1) @ lora.down.flatten(1)).reshape(layer.weight.shape)
    x_merged, x_wrapped = x.clone().requires_grad_(), x.clone().requires_grad_()
    merged = torch.func.functional_call(layer, {"weight": layer.weight + change, "bias": layer.bias}, x_merged)
    expected = torch.autograd.grad(merged.square().sum(), [x_merged, lora.down, lora.up])
    undo = wrap_layer(layer, lora, cast)
    y = layer(x_wrapped)
    torch.testing.assert_close(y, merged)
    gradients = torch.autograd.grad(y.square().sum(), [x_wrapped, lora.down, lora.up])
    torch.testing.assert_close(gradients, expected, atol=1e-4, rtol=1e-4)
    undo()
    assert "forward" not in layer.__dict__


def test_cast_weights_are_not_kept_for_the_backward_pass():
    layer = nn.Linear(64, 64, bias=False).to(torch.bfloat16).requires_grad_(False)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight.float())  # casts like ComfyUI

    def largest_saved(run):
        sizes = []
        x = torch.randn(1, 64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()), lambda size: size):
            run(x)
        return max(sizes, default=0)

    assert largest_saved(layer.forward) == 64 * 64
    wrap_layer(layer, None, weight_of)
    assert largest_saved(layer.forward) < 64 * 64


class InPlaceBlock(nn.Module):
    """Like Flux's blocks, it adds in place to the tensor that its norm has read."""

    def __init__(self):
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        y = self.inner(self.norm(x))
        x += y
        return x


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.double_blocks = nn.Linear(4, 4), nn.ModuleList([InPlaceBlock(), InPlaceBlock()])

    def forward(self, x):
        x = self.first(x)
        for block in self.double_blocks:
            x = block(x)
        return x


def test_blocks_that_add_in_place_train_with_and_without_checkpointing():
    x = torch.randn(3, 4)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Network()(x).square().sum().backward()
    results = []
    for checkpointing in (False, True):
        network = Network()
        copy_norm_inputs(network)
        if checkpointing:
            assert len([wrap_block(block) for block in blocks(network)]) == 2
        network(x).square().sum().backward()
        results.append([weight.grad for weight in network.parameters()])
    torch.testing.assert_close(*results)


def test_undo_restores_an_earlier_replacement_of_forward():
    layer = nn.Linear(2, 2)
    before = layer.forward = lambda x: x + 1
    wrap_layer(layer, None, weight_of)()
    assert layer.forward is before
