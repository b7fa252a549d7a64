import math

import numpy as np
import pytest
import torch
from torch import nn

from training.dreambooth.losses import biometric, contrastive, cosine, decode_probability, reconstruction, triplet


def latents(seed, batch=3):
    return torch.randn(batch, 4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(seed, batch=5, dimensions=16):
    vector = torch.randn(batch, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector / vector.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_contrastive_equals_a_loop_over_pairs(batch, temperature):
    prediction, target = latents(0, batch).numpy(), latents(1, batch).numpy()

    def similarity(a, b):
        return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b)) / temperature

    channels = []
    for channel in range(4):
        views = [*prediction[:, channel], *target[:, channel]]
        terms = []
        for i in range(2 * batch):
            partner = i + batch if i < batch else i - batch
            others = sum(math.exp(similarity(views[i], views[k])) for k in range(2 * batch) if k != i)
            terms.append(-math.log(math.exp(similarity(views[i], views[partner])) / others))
        channels.append(sum(terms) / len(terms))
    expected = sum(channels) / len(channels)
    loss = contrastive(torch.tensor(prediction), torch.tensor(target), temperature).item()
    assert loss == pytest.approx(expected, abs=1e-9)


def test_contrastive_is_lower_for_matching_pairs_than_for_shuffled_ones():
    target = latents(0, 4)
    assert contrastive(target, target) < contrastive(target.roll(1, 0), target)


def test_cosine_equals_pytorchs_embedding_loss_per_channel():
    prediction, target = latents(0), latents(1)
    rows = [tensor.flatten(2).flatten(0, 1) for tensor in (prediction, target)]
    expected = nn.CosineEmbeddingLoss()(*rows, torch.ones(len(rows[0])))
    torch.testing.assert_close(cosine(prediction, target), expected)


@pytest.mark.parametrize("margin", [1.0, 0.2])
def test_triplet_equals_pytorchs_triplet_loss(margin):
    anchor, positive, negative = vectors(0), vectors(1), vectors(2)
    pytorch_loss = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: 1 - nn.functional.cosine_similarity(a, b), margin=margin, reduction="none"
    )
    torch.testing.assert_close(triplet(anchor, positive, negative, margin), pytorch_loss(anchor, positive, negative))


def test_biometric_is_the_sum_of_absolute_differences_for_facenet():
    one, other = vectors(0, dimensions=512), vectors(1, dimensions=512)
    found, expected = biometric(one, other), np.abs(one.numpy() - other.numpy()).sum(axis=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("dimensions", [96, 128, 192, 512])
def test_biometric_pulls_equally_hard_in_any_number_of_dimensions(dimensions):
    """Between random faces it is 2 sqrt(512 / pi), the mean of the half-normal distribution, 512 times."""
    embedding, reference = vectors(0, 2000, dimensions).requires_grad_(), vectors(1, 2000, dimensions)
    loss = biometric(embedding, reference)
    loss.sum().backward()
    assert loss.mean().item() == pytest.approx(2 * math.sqrt(512 / math.pi), rel=0.01)
    torch.testing.assert_close(embedding.grad.norm(dim=1), torch.full((2000,), math.sqrt(512), dtype=torch.float64))


def test_reconstruction_is_the_mean_squared_error():
    prediction, target = latents(0), latents(1)
    assert reconstruction(prediction, target).item() == pytest.approx(((prediction - target).numpy() ** 2).mean())


def test_the_losses_of_a_perfect_prediction_are_zero():
    assert cosine(latents(0), latents(0)).item() == pytest.approx(0, abs=1e-12)
    assert not biometric(vectors(0), vectors(0)).any()
    assert reconstruction(latents(0), latents(0)) == 0


def test_decode_probability_equals_the_weight_that_it_replaces():
    t = torch.tensor([0, 250, 500, 1000])
    assert decode_probability(t, 1000).tolist() == pytest.approx([1, 0.5625, 0.25, 0])


def test_weights_focus_the_reconstruction_and_every_image_counts_equally():
    prediction, target = torch.randn(2, 4, 1, 8, 8), torch.randn(2, 4, 1, 8, 8)
    weight = torch.full((2, 8, 8), 0.1)
    weight[0, :, :4] = 1
    squares = (prediction - target)[:, :, 0].square()
    left, right = squares[0, :, :, :4].mean(), squares[0, :, :, 4:].mean()
    expected = ((left + 0.1 * right) / 1.1 + squares[1].mean()) / 2
    assert torch.isclose(reconstruction(prediction, target, weight), expected)
    uniform = reconstruction(prediction, target, torch.full((2, 8, 8), 0.1))
    assert torch.isclose(uniform, reconstruction(prediction, target))
