"""What a similarity means: who is accepted at the thresholds that were measured of its matcher."""

from ..faces.embedders import CHILD, Thresholds

SAME, LIKELY, UNLIKE = "same person", "likely", "not alike"
MEANINGS = {
    SAME: "same person (stricter than FMR 0.1 %)",
    LIKELY: "likely (stricter than FMR 1 %)",
    UNLIKE: "not alike (below the threshold of FMR 1 %)",
}


def verdict(similarity: float | None, thresholds: Thresholds | None) -> str | None:
    """SAME, LIKELY or UNLIKE; None without a similarity, or of a matcher whose thresholds nobody measured.

    The thresholds are those of one comparison. The mean over several photos spreads less, so at the same threshold it
    takes fewer strangers for the subject: the verdict is on the strict side.
    """
    if similarity is None or thresholds is None:
        return None
    if similarity >= thresholds.fmr_01:
        return SAME
    return LIKELY if similarity >= thresholds.fmr_1 else UNLIKE


def provenance(thresholds: Thresholds) -> list[str]:
    """Where the verdicts come from, in sentences."""
    return [
        f"Verdicts: {SAME} from {thresholds.fmr_01:.3f} on, which is stricter than FMR 0.1 %; {LIKELY} from "
        f"{thresholds.fmr_1:.3f} on, FMR 1 %; else {UNLIKE}. Measured on {thresholds.comparisons} comparisons of "
        f"different people ({thresholds.source}).",
        f"Of two children under {CHILD} the matcher takes {100 * thresholds.children:.0f} % for one person at that "
        "stricter threshold: between pictures and photos of a child, no verdict says much.",
    ]
