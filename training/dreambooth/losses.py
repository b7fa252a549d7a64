"""The losses under the names of their papers: pure functions of tensors, each with its equation."""

import math

import torch
from torch import Tensor
from torch.nn import functional

PAPER_DIMENSIONS = 512  # of FaceNet's embeddings


def reconstruction(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error over all elements (Ho et al. 2020, eq. 14).

    With ``weight`` [B, h, w]: the weighted mean per image [B, C, ..., h, w], then the mean over images.
    """
    if weight is None:
        return functional.mse_loss(prediction, target)
    weight = weight.reshape(len(weight), *[1] * (prediction.ndim - 3), *weight.shape[1:])
    weight = weight / weight.mean(dim=(-2, -1), keepdim=True)
    return (weight * (prediction - target) ** 2).mean()


def biometric(embedding: Tensor, reference: Tensor) -> Tensor:
    """sqrt(512 / D) times the L1 distance [B] of unit vectors [B, D] (Banerjee et al., IJCB 2023, eq. 2, for D = 512).

    With the factor, a weight pulls equally hard for every D. A difference of length r in a random direction has D
    coordinates of about N(0, r^2 / D), so the expected sum of their magnitudes is D r sqrt(2 / (pi D)) =
    r sqrt(2 D / pi). Likewise the gradient, a vector of D signs, has length sqrt(D).
    """
    return math.sqrt(PAPER_DIMENSIONS / embedding.shape[1]) * (embedding - reference).abs().sum(dim=1)


def triplet(embedding: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin) [B] with d = 1 - cos, of vectors [B, D] (Tomasevic et al., ID-Booth 2025)."""
    to_positive = 1 - functional.cosine_similarity(embedding, positive)
    to_negative = 1 - functional.cosine_similarity(embedding, negative)
    return functional.relu(to_positive - to_negative + margin)


def contrastive(prediction: Tensor, target: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent between prediction and target [B, C, h, w], per latent channel, mean over channels.

    Each flattened channel of a prediction forms a positive pair with the same channel of its target, among the 2B of
    the batch (Chen et al. 2020, eq. 1; applied to latents by Banerjee et al., IJCB 2023, eq. 3). B must be at least 2:
    a single pair has no negatives, and its loss is always 0.
    """
    count = len(prediction)
    views = torch.cat([prediction, target]).flatten(2).transpose(0, 1)  # [C, 2B, hw]
    views = functional.normalize(views, dim=-1)
    similarity = views @ views.transpose(1, 2) / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    similarity = similarity.masked_fill(itself, float("-inf"))
    partner = torch.arange(2 * count, device=views.device).roll(count)
    return functional.cross_entropy(similarity.flatten(0, 1), partner.repeat(len(views)))


def cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - cos per flattened latent channel of [B, C, h, w], mean over all (Banerjee et al., published code)."""
    return (1 - functional.cosine_similarity(prediction.flatten(2), target.flatten(2), dim=-1)).mean()


def identity_hinge(embedding: Tensor, references: Tensor, threshold: float) -> Tensor:
    """max(0, threshold - mean cosine with the photos) [B].

    ``embedding`` [B, D] are unit vectors, ``references`` [B, D] means of unit vectors.
    """
    return functional.relu(threshold - (embedding * references).sum(dim=1))


def years_hinge(years: Tensor, ranges: Tensor) -> Tensor:
    """How many years ``years`` [B] lie outside ``ranges`` [B, 2], given as first and last whole year."""
    return functional.relu(ranges[:, 0] - years) + functional.relu(years - (ranges[:, 1] + 1))


def capped(value: Tensor, prediction: Tensor, gradient: Tensor, max_norm: Tensor | float) -> Tensor:
    """``value`` with ``gradient`` at ``prediction`` [B, ...] instead of its own, clipped per image to ``max_norm``."""
    norms = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    clipped = gradient * (max_norm / norms).clamp_max(1).view(-1, *[1] * (gradient.ndim - 1))
    product = (prediction * clipped).sum()
    return value.detach() + (product - product.detach())


def gradient_norm(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The norm of the reconstruction's gradient at the prediction, mean over images."""
    leaf = prediction.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruction(leaf, target, weight), leaf)
    return gradient.flatten(1).norm(dim=1).mean()


def decode_probability(t: Tensor, timesteps: int) -> Tensor:
    """(1 - t/T)^2, the weight of an identity loss at ``t``: at high t the predicted x_0 is a blur.

    Decoding with this probability instead of weighting has the same expected gradient for a third of the decodes.
    """
    return (1 - t / timesteps) ** 2
