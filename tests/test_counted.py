"""Nouns and verbs agree with how many there are."""

from __future__ import annotations

from dqpipe.data.wording import many, plural
from dqpipe.results import diff


def test_one_is_one() -> None:
    assert [
        many(1, "sample"),
        many(2, "class"),
        many(0, "row"),
        plural(1, "has"),
        plural(2, "has"),
    ] == ["1 sample", "2 classes", "0 rows", "has", "have"]
    counts = dict.fromkeys((*diff.KINDS, "new", "gone", "added", "removed"), 1)
    told = diff.summary(counts)
    assert "1 has another label" in told
    assert told.endswith(
        "1 new sample was made, 1 made sample is gone; 1 sample is new in the input and 1 is gone "
        "from it."
    )
    assert not [word for word in ("1 have", "1 are", "1 samples", "1 were") if word in told]
    assert "2 have another label" in diff.summary(dict.fromkeys(counts, 2))
