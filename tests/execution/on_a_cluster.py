"""One pipeline on worker processes and on an executor by name, with a shard that kills its workers.

`python -m tests.execution.on_a_cluster ray:2 FOLDER`.
"""

import sys
from pathlib import Path

from dqpipe.api import Pipeline
from dqpipe.execution.prefect import tasks
from dqpipe.plugin import registry
from dqpipe.results.outcome import Outcome
from dqpipe.testing import small_images
from tests.execution import trying
from tests.test_engine import tables

KILLING = ("china/05.png", "china/06.png", "china/07.png")


def pipeline(images: Path, out: Path) -> Pipeline:
    stages = f"files, image_quality, duplicates, {{deadly: {{samples: [{', '.join(KILLING)}]}}}}"
    text = (
        f"dataset: {{path: {images}}}\noutputs: {{path: {out}, reports: [json]}}\nstages: "
        f"[{stages}]\n"
    )
    return Pipeline.from_text(text, registry=registry.load(extra={"trying": trying}))


def compare(executor: str, folder: Path) -> Outcome:
    """The run on the executor, after it was found to be the same as that on worker processes but
    for the words of the system.
    """
    small_images(folder / "images")
    ran = pipeline(folder / "images", folder / "one").drive(executor, flow=True, shard_size=16)
    other = pipeline(folder / "images", folder / "other").drive("processes:2", shard_size=16)
    one, two = tables(ran), tables(other)
    assert one.keys() == two.keys()
    for name, frame in one.items():
        assert frame.drop(columns="detail", errors="ignore").equals(
            two[name].drop(columns="detail", errors="ignore")
        ), name
    assert one["findings"].query("code == 'measure.failed'")["id"].isin(KILLING).sum() == len(
        KILLING
    )
    return ran


if __name__ == "__main__":
    tasks.DELAYS[:] = [0.0, 0.0]
    compare(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.write("the same\n")
