"""LoRA over layers that stay somebody else's."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from training.models.inplace import Lora, blocks, copy_norm_inputs, wrap_block, wrap_layer


@contextmanager
def weight_of(layer, dtype, device):
    yield layer.weight.to(device, dtype)


def layer_and_input(kind):
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Linear(6, 5), torch.randn(2, 3, 6)
    if kind == "convolution":
        return nn.Conv2d(4, 5, 3, stride=2, padding=1), torch.randn(2, 4, 7, 7)
    return nn.Conv3d(4, 5, (1, 3, 3), padding=(0, 1, 1)), torch.randn(2, 4, 1, 6, 6)


def trained(lora):
    nn.init.normal_(lora.up)
    return lora


@pytest.mark.parametrize("kind", ["linear", "convolution", "convolution of videos"])
@pytest.mark.parametrize("cast", [weight_of, None], ids=["frozen", "run twice"])
def test_gradients_are_those_of_the_merged_weight(kind, cast):
    layer, x = layer_and_input(kind)
    layer.requires_grad_(False)
    lora = trained(Lora(layer, 2, 3.0, torch.Generator().manual_seed(1)))
    change = 1.5 * (lora.up.flatten(1) @ lora.down.flatten(1)).reshape(layer.weight.shape)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    merged = torch.func.functional_call(layer, {"weight": layer.weight + change, "bias": layer.bias}, one)
    expected = torch.autograd.grad(merged.square().sum(), [one, lora.down, lora.up])
    undo = wrap_layer(layer, lora, cast)
    y = layer(other)
    torch.testing.assert_close(y, merged)
    for found, wanted in zip(torch.autograd.grad(y.square().sum(), [other, lora.down, lora.up]), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    undo()
    assert "forward" not in layer.__dict__


def test_no_cast_weight_is_kept_for_the_backward_pass():
    layer = nn.Linear(64, 64, bias=False).to(torch.bfloat16).requires_grad_(False)
    plain = layer.forward
    layer.forward = lambda x: nn.functional.linear(x, layer.weight.float())  # as ComfyUI casts

    def kept(run):
        sizes = []
        x = torch.randn(1, 64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()), lambda none: none):
            run(x)
        return max(sizes, default=0)

    assert kept(layer.forward) == 64 * 64
    wrap_layer(layer, None, weight_of)
    assert kept(layer.forward) < 64 * 64
    assert plain is not layer.forward


class InPlaceBlock(nn.Module):
    """As Flux has it: it adds to the stream that its norm has read."""

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
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_what_was_over_a_layer_before_is_back_afterwards():
    layer = nn.Linear(2, 2)
    before = layer.forward = lambda x: x + 1
    wrap_layer(layer, None, weight_of)()
    assert layer.forward is before
