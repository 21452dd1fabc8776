"""Names of the columns of SCORES, as in the DESI data model: what, of which stage, of which arm (SUM_RAW_COUNT_R)."""

from __future__ import annotations

from collections.abc import Iterable

STAGE_WORDS = {"frame": "RAW", "fframe": "FFLAT", "sframe": "SKYSUB", "cframe": "CALIB"}
"""Words in the names by stage of the frame, in the order of the stages."""
_OF_THE_LAST = "TSNR2_"
"""How columns begin that are made of calibrated spectra alone."""


def stage_word(stage: str) -> str:
    """The word of a stage in the names of its columns."""
    return STAGE_WORDS.get(stage, stage.upper())


def until(stage: str, names: Iterable[str]) -> list[str]:
    """Those of these columns that are of a stage or of one before it; all for a stage that is not known."""
    stages = list(STAGE_WORDS)
    if stage not in stages:
        return list(names)
    later = [STAGE_WORDS[s] for s in stages[stages.index(stage) + 1 :]]
    return [n for n in names if not (set(n.split("_")) & set(later) or (later and n.startswith(_OF_THE_LAST)))]
