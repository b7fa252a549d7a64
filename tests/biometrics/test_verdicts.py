import pytest

from training.biometrics.verdicts import LIKELY, SAME, UNLIKE, provenance, verdict
from training.catalogue import DLIB, MOBILEFACENET
from training.faces import dlib_resnet, mobilefacenet
from training.faces.embedders import Thresholds

THRESHOLDS = Thresholds(0.4, 0.6, 1000, 0.2, "nowhere")


@pytest.mark.parametrize(
    ("similarity", "expected"), [(0.6, SAME), (0.59, LIKELY), (0.4, LIKELY), (0.39, UNLIKE), (-1, UNLIKE), (None, None)]
)
def test_a_threshold_accepts_what_reaches_it(similarity, expected):
    assert verdict(similarity, THRESHOLDS) == expected


def test_without_thresholds_nobody_knows():
    assert verdict(0.9, None) is None


def test_provenance_names_thresholds_support_source_and_children():
    told = " ".join(provenance(THRESHOLDS))
    assert all(part in told for part in ("0.600", "0.400", "1000 comparisons", "nowhere", "under 10", "20 %"))


@pytest.mark.parametrize("facts", [dlib_resnet.FACTS, mobilefacenet.FACTS], ids=[DLIB, MOBILEFACENET])
def test_recorded_thresholds_support_the_rates_that_they_name(facts):
    from training.biometrics.rates import supports

    assert facts.thresholds.fmr_1 < facts.thresholds.fmr_01 < 1
    assert supports(facts.thresholds.comparisons, 0.001)
