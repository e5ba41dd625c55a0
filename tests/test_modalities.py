"""A modality is a plugin's affair.

Sounds are decoded, embedded, compared, judged and shown, and the engine knows nothing of sound.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dqpipe.api import Pipeline, Result
from dqpipe.plugin import registry as plugins
from dqpipe.plugin.registry import Registry
from dqpipe.plugin.stage import Decoder, View
from dqpipe.results.versions import Version
from dqpipe.review.sample_view import SampleView
from tests import sounds

EACH, WRONG, SVG = 30, ("hum_03.wav", "whistle_07.wav"), "data:image/svg+xml;base64,"
STAGES = (
    "[files, {embeddings: {embedder: spectrum}}, same_sound, {label_noise: {groups: "
    "same_sound.group}}, {outliers: {groups: same_sound.group}}]"
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return plugins.load(extra={"sound": sounds})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sounds of two classes with a table.

    Two labels are wrong, one sound is there twice (once softer), one file is cut, one is a text.
    """
    folder = tmp_path_factory.mktemp("sounds")
    rng, rows = np.random.default_rng(0), []
    for number, (name, (low, high)) in enumerate(sounds.CLASSES.items()):
        for seed in range(EACH):
            path = f"{name}_{seed:02d}.wav"
            sounds.recorded(folder / path, rng.uniform(low, high), 100 * number + seed)
            rows.append((path, name))
    sounds.recorded(folder / "tone.wav", 300.0, 7)
    sounds.recorded(folder / "tone_softer.wav", 300.0, 7, 0.2)
    whole = (folder / "hum_00.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "text.wav").write_text("no sound")
    rows += [(name, "hum") for name in ("tone.wav", "tone_softer.wav", "cut.wav", "text.wav")]
    other = {"hum": "whistle", "whistle": "hum"}
    told = [(path, other[label] if path in WRONG else label) for path, label in rows]
    pd.DataFrame(told, columns=["file", "label"]).to_csv(folder / "sounds.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path, registry: Registry) -> Result:
    config = f"""
dataset: {{path: sounds.csv, reader: manifest, roles: {{media: file, label: label}}}}
stages: {STAGES}
gates: []
policy: {{rules: {{same_sound.copy: drop, label_noise.likely_wrong: review}}}}
outputs: {{path: out}}
"""
    return Pipeline.from_text(config, base=folder, registry=registry).run("serial")


def of(result: Result, code: str) -> set[str]:
    return set(result.findings[result.findings["code"] == code]["id"].dropna())


def test_sounds_are_decoded_and_embedded(result: Result) -> None:
    facts = result.facts.set_index("id")
    assert facts.index[~facts["media.ok"].astype(bool)].tolist() == ["text.wav"]
    assert of(result, "files.unreadable") == {"text.wav"}
    assert facts.loc["cut.wav", "media.missing"] == pytest.approx(0.5, abs=0.01)


def test_copies_are_found_by_vectors_and_dropped(result: Result) -> None:
    assert of(result, "same_sound.copy") == {"tone_softer.wav"}
    assert "tone_softer.wav" not in set(result.curated["id"])
    assert "tone.wav" in set(result.curated["id"])


def test_wrong_labels_are_found(result: Result) -> None:
    assert of(result, "label_noise.likely_wrong") == set(WRONG)


def test_sounds_are_written_as_they_came(result: Result, folder: Path) -> None:
    curated = Path(str(result.path)) / "curated"
    assert (curated / "hum_00.wav").read_bytes() == (folder / "hum_00.wav").read_bytes()


def test_sounds_are_shown_in_the_report_in_notebooks_and_for_review(
    result: Result, folder: Path, registry: Registry
) -> None:
    assert SVG in (Path(str(result.path)) / "report.html").read_text(encoding="utf-8")
    assert SVG in result.show("label_noise.likely_wrong")._repr_html_()
    sight = SampleView(
        Version.open(folder / "out"), registry.instances(Decoder), registry.instances(View)
    )
    shown = sight.picture(sight.row["hum_00.wav"], 160)
    assert shown.type == "image/svg+xml"
    assert b"<polyline" in shown.data


def test_the_card_names_the_modality(result: Result) -> None:
    card = (Path(str(result.path)) / "card.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["task_categories"] == ["audio-classification"]
    assert head["dataset_info"]["features"][0] == {"name": "file", "dtype": "audio"}
