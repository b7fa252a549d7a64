import re

import pytest

from training.biometrics.verdicts import LIKELY, SAME, UNLIKE, provenance, verdict
from training.catalogue import DLIB, MOBILEFACENET
from training.faces import dlib_resnet, mobilefacenet
from training.faces.embedders import CHILD, Thresholds

THRESHOLDS = Thresholds(0.4, 0.6, 1000, 0.2, "nowhere")


@pytest.mark.parametrize(
    ("similarity", "expected"), [(0.6, SAME), (0.59, LIKELY), (0.4, LIKELY), (0.39, UNLIKE), (-1, UNLIKE), (None, None)]
)
def test_a_similarity_equal_to_a_threshold_reaches_its_verdict(similarity, expected):
    assert verdict(similarity, THRESHOLDS) == expected


def test_without_thresholds_there_is_no_verdict():
    assert verdict(0.9, None) is None


def test_provenance_names_thresholds_comparisons_source_and_children():
    text = " ".join(provenance(THRESHOLDS))
    assert all(part in text for part in ("0.600", "0.400", "1000", "nowhere", "20 %")) and re.search(
        rf"\b{CHILD}\b", text
    )


@pytest.mark.parametrize("facts", [dlib_resnet.FACTS, mobilefacenet.FACTS], ids=[DLIB, MOBILEFACENET])
def test_recorded_thresholds_have_enough_comparisons(facts):
    from training.biometrics.rates import supports

    assert facts.thresholds.fmr_1 < facts.thresholds.fmr_01 < 1
    assert supports(facts.thresholds.comparisons, 0.001)
