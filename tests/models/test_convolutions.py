"""Convolutions of small images on the CPU."""

import pytest
import torch

from training.models.convolutions import fast_convolutions


@pytest.mark.parametrize(("deepest", "uses_onednn"), [(2, False), (4, True)])
def test_only_small_feature_maps_are_convolved_without_onednn(deepest, uses_onednn):
    before = torch.backends.mkldnn.enabled
    with fast_convolutions(torch.device("cpu"), deepest):
        assert torch.backends.mkldnn.enabled == (before and uses_onednn)
    assert torch.backends.mkldnn.enabled == before
