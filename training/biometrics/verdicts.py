"""Verdicts: a similarity judged by the measured thresholds of its matcher."""

from ..faces.embedders import CHILD, Thresholds

SAME, LIKELY, UNLIKE = "same person", "likely", "not alike"
MEANINGS = {
    SAME: "same person (stricter than FMR 0.1 %)",
    LIKELY: "likely (stricter than FMR 1 %)",
    UNLIKE: "not alike (below the threshold of FMR 1 %)",
}


def verdict(similarity: float | None, thresholds: Thresholds | None) -> str | None:
    """Returns SAME, LIKELY or UNLIKE; None without a similarity or without measured thresholds.

    The thresholds apply to a single comparison. A mean over several photos varies less and so has a lower FMR at the
    same threshold, which makes the verdict stricter.
    """
    if similarity is None or thresholds is None:
        return None
    if similarity >= thresholds.fmr_01:
        return SAME
    return LIKELY if similarity >= thresholds.fmr_1 else UNLIKE


def provenance(thresholds: Thresholds) -> list[str]:
    """Returns sentences that explain the verdicts and how their thresholds were measured."""
    return [
        f"Verdicts: {SAME} at a similarity of {thresholds.fmr_01:.3f} or more (FMR at most 0.1 %), {LIKELY} at "
        f"{thresholds.fmr_1:.3f} or more (FMR at most 1 %), otherwise {UNLIKE}. These thresholds were measured on "
        f"{thresholds.comparisons} comparisons of different people ({thresholds.source}).",
        f"For pairs of different children under {CHILD}, the FMR at {thresholds.fmr_01:.3f} is "
        f"{100 * thresholds.children:.0f} %. Verdicts that compare a child with a photo of a child are not reliable.",
    ]
