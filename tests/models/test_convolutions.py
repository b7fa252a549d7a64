"""Convolutions of small pictures on the CPU."""

import pytest
import torch

from training.models.convolutions import fast_convolutions


@pytest.mark.parametrize(("deepest", "reordered"), [(2, False), (4, True)])
def test_small_maps_are_convolved_without_reordered_kernels(deepest, reordered):
    before = torch.backends.mkldnn.enabled
    with fast_convolutions(torch.device("cpu"), deepest):
        assert torch.backends.mkldnn.enabled == (before and reordered)
    assert torch.backends.mkldnn.enabled == before
