"""How good the world's own judges are, on people whom none of them has seen: python -m training.world.verify."""

import json

import numpy as np
import torch
from torch import Tensor

from .drawing import draw
from .place import face_crops
from .population import HELD_OUT, class_of, some_ages
from .shipped import EMBEDDERS, age_estimator, world_embedder
from .traits import disguised, identities, views


def error_rates(mated: np.ndarray, non_mated: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FMR and FNMR at every similarity taken as threshold, and these; at or above it is accepted (ISO/IEC 19795-1)."""
    thresholds = np.append(np.unique(np.concatenate([mated, non_mated])), np.inf)  # the last accepts nobody
    fmr = 1 - np.searchsorted(np.sort(non_mated), thresholds, side="left") / len(non_mated)
    fnmr = np.searchsorted(np.sort(mated), thresholds, side="left") / len(mated)
    return fmr, fnmr, thresholds


def verification(vectors: Tensor, people: Tensor) -> dict[str, float]:
    """EER, and FNMR where FMR is at most 1 % and 0.1 %, over all pairs of unit ``vectors`` [N, D]."""
    similarity = (vectors @ vectors.T).numpy()
    same = (people[:, None] == people[None]).numpy()
    pairs = np.triu(np.ones_like(same), 1)
    mated, non_mated = similarity[same & pairs], similarity[~same & pairs]
    fmr, fnmr, thresholds = error_rates(mated, non_mated)
    middle = np.abs(fmr - fnmr).argmin()
    result = {
        "mated_comparisons": len(mated),
        "non_mated_comparisons": len(non_mated),
        "mated_mean": float(mated.mean()),
        "non_mated_mean": float(non_mated.mean()),
        "EER": float((fmr[middle] + fnmr[middle]) / 2),
    }
    for limit in (0.01, 0.001):
        at = (fmr <= limit).argmax()
        result |= {f"threshold@FMR{limit:g}": float(thresholds[at]), f"FNMR@FMR{limit:g}": float(fnmr[at])}
    return result


@torch.no_grad()
def report(people: int = 200, per_person: int = 6) -> dict:
    """Every judge on held-out people, each at ``per_person`` ages; "disguised" changes hair, beard and glasses too."""
    count = people * per_person
    who = torch.arange(count) // per_person
    seeds = range(900_000, 900_000 + count)
    rows = identities((HELD_OUT + who).tolist())
    ages = some_ages(seeds)
    result: dict = {}
    for name, drawn in (("plain", rows), ("disguised", disguised(rows, seeds))):
        crops = face_crops(draw(drawn, ages, views(seeds)))
        result[name] = {kind: verification(world_embedder(kind)(crops), who) for kind in EMBEDDERS}
        years = age_estimator()(crops)
        classes = np.mean([class_of(a) == class_of(b) for a, b in zip(years.tolist(), ages.tolist(), strict=True)])
        error = (years - ages).abs()
        result[name]["age"] = {"MAE": float(error.mean()), "class_accuracy": float(classes)}
    return result


if __name__ == "__main__":
    print(json.dumps(report(), indent=2))
