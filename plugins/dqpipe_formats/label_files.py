"""Claims the pictures whose annotations no reader can make sense of, each with the file and the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dqpipe import Claim, Facts, Samples, Stage, claim, extension
from dqpipe_formats.annotated import PROBLEMS

if TYPE_CHECKING:
    import pandas as pd


@extension
class LabelFiles(Stage):
    """Claims every picture whose annotations are malformed: broken files, numbers that are none, ids that stand twice, with file and line."""

    name = "label_files"
    version = 1
    default = True
    needs = (PROBLEMS,)
    gives = (Claim("malformed", "warning", "annotations of the picture cannot be read as they stand: a broken file or line, no numbers, no such class"),)

    def detect(self, samples: Samples, facts: Facts) -> pd.DataFrame:
        """One claim per picture; the detail says what is wrong, in which file and line."""
        said = samples[PROBLEMS]
        rows = [row for row, text in enumerate(said) if text is not None]
        return claim("malformed", samples.ids[rows], confidence=1.0, detail=[said[row] for row in rows])
