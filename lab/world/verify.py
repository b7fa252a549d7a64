"""Measures the world's embedders and age estimators on held-out people: python -m lab.world.verify."""

import json

import numpy as np
import torch
from torch import Tensor

from training.ages import class_of
from training.biometrics.rates import equal_error_rate, fnmr_at_fmr
from training.world.render.face import draw
from training.world.render.place import face_crops
from training.world.render.population import HELD_OUT, some_ages
from training.world.render.traits import disguised, identities, views
from training.world.shipped import AGE_NETWORKS, EMBEDDERS, age_estimator, world_embedder


def verification(vectors: Tensor, people: Tensor) -> dict[str, float | None]:
    """Returns EER, and FNMR at FMR 1 % and 0.1 %, over all pairs of unit ``vectors`` [N, D].

    Values are None for an FMR that the number of non-mated pairs cannot support.
    """
    similarity = (vectors @ vectors.T).numpy()
    same = (people[:, None] == people[None]).numpy()
    pairs = np.triu(np.ones_like(same), 1)
    mated, non_mated = similarity[same & pairs], similarity[~same & pairs]
    result: dict[str, float | None] = {
        "mated_comparisons": len(mated),
        "non_mated_comparisons": len(non_mated),
        "mated_mean": float(mated.mean()),
        "non_mated_mean": float(non_mated.mean()),
        "EER": equal_error_rate(mated, non_mated).value,
    }
    for target in (0.01, 0.001):
        point = fnmr_at_fmr(mated, non_mated, target)
        numbers = (point.threshold, point.fnmr) if point.supported else (None, None)
        result |= dict(zip((f"threshold@FMR{target:g}", f"FNMR@FMR{target:g}"), numbers, strict=True))
    return result


@torch.no_grad()
def report(people: int = 200, per_person: int = 6) -> dict:
    """Measures each network on held-out people at ``per_person`` ages each.

    "disguised" is the same with other hair, beards and glasses.
    """
    count = people * per_person
    who = torch.arange(count) // per_person
    seeds = range(900_000, 900_000 + count)
    rows = identities((HELD_OUT + who).tolist())
    ages = some_ages(seeds)
    result: dict = {}
    for name, traits in (("plain", rows), ("disguised", disguised(rows, seeds))):
        crops = face_crops(draw(traits, ages, views(seeds)))
        result[name] = {kind: verification(world_embedder(kind)(crops), who) for kind in EMBEDDERS}
        for kind in AGE_NETWORKS:
            years = age_estimator(kind)(crops)
            classes = np.mean([class_of(a) == class_of(b) for a, b in zip(years.tolist(), ages.tolist(), strict=True)])
            error = (years - ages).abs()
            result[name][kind] = {"MAE": float(error.mean()), "class_accuracy": float(classes)}
    return result


if __name__ == "__main__":
    print(json.dumps(report(), indent=2))
