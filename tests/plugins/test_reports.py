"""The page: it stands alone, shows what was found, runs nothing that comes from the data, and
survives a broken section.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dqpipe_images.picture import Header, Picture
from dqpipe_images.previews import PictureView, shrunk
from dqpipe_reports.html import Html
from dqpipe_reports.page import anchor, linked, seconds, share, significant
from dqpipe_reports.record import Json

from dqpipe.api import Pipeline
from dqpipe.cli.main import main
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples, claim, figure, table_of
from dqpipe.errors import MediaError
from dqpipe.plugin.registry import Registry, discover
from dqpipe.plugin.stage import Preview, Section, extension
from dqpipe.results.report import record
from dqpipe.results.report.embedding import Embedding
from dqpipe.testing import small_images

SCRIPT = "<script>window.planted=1;document.title='planted'</script>"
BREAK = "\"'><img src=x onerror=\"document.title='planted'\">"
PLANTED = f"{SCRIPT}{BREAK}{{{{7*7}}}}]]></style></script>"
BROKEN = "cat/broken.png"
IDS = sorted(
    [*(f"cat/{n}.png" for n in range(8)), *(f"dog/{n}.png" for n in range(8)), BROKEN, PLANTED]
)
FILES = {"ledger.parquet", "report.json", "relabel.csv", "run.json"}
VOID = {"meta", "link", "img", "input", "br", "path"}


class Page(HTMLParser):
    """What a browser would see of a page.

    Elements with their attributes, and the text outside of scripts and styles.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.elements, self.text, self.inside = text, [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.inside):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def told(*, media: bool = True, planted: str = PLANTED, **run: Any) -> dict[str, Any]:
    """The record of a result of each kind, with something planted wherever data can stand."""
    ids = pa.array(IDS)
    labels = [planted if i == PLANTED else i.split("/")[0] for i in IDS]
    samples = {
        "id": ids,
        "label": labels,
        "split": ["train"] * len(IDS),
        "group": labels,
        "note": [planted if n % 2 else None for n in range(len(IDS))],
    }
    found = [
        claim(
            "duplicates.near",
            ["cat/1.png", "cat/2.png"],
            severity="warning",
            match="cat/0.png",
            confidence=[0.99, 0.95],
            detail="Nearly the same.",
        ),
        claim(
            "duplicates.near",
            [PLANTED],
            severity="warning",
            match=PLANTED,
            detail=planted,
            part=planted,
        ),
        claim(
            "label_noise.likely_wrong",
            ["cat/3.png", "dog/3.png"],
            severity="warning",
            suggestion=["dog", planted],
            confidence=[0.9, 0.8],
            detail=planted,
        ),
        claim("files.unreadable", [BROKEN], severity="error", detail="The file ends too early."),
        claim(
            "diversity.rare_class",
            [None],
            severity="warning",
            value=3.0,
            threshold=10.0,
            detail=planted,
        ),
    ]
    decided = {"cat/1.png": ("drop", None, ["duplicates.near"])}
    decided |= {
        "cat/3.png": ("relabel", "dog", ["label_noise.likely_wrong"]),
        BROKEN: ("review", None, [planted]),
    }
    rows = [
        dict(
            zip(
                ("id", "decision", "new_label", "because"),
                (i, *decided.get(i, ("keep", None, []))),
                strict=True,
            )
        )
        for i in IDS
    ]
    figures = [
        {**figure("diversity.score", 3.5, low=3, high=4, detail=planted), "of": of}
        for of in ("raw", "curated")
    ]
    figures += [{**figure("diversity.size", 3.5, scope="class", key=planted), "of": "raw"}]
    kept = [i for i in IDS if i != "cat/1.png"]
    curated = {
        "id": [*kept, "dog/new.png"],
        "label": [*(i.split("/")[0] for i in kept), "dog"],
        "parent": pa.array([None] * len(kept) + ["dog/0.png"]),
    }
    error = pa.array(
        ["The file ends too early." if i == BROKEN else None for i in IDS], pa.string()
    )
    return record(
        samples=Samples(pa.table(samples | ({"media": ids} if media else {}))),
        facts=Facts(
            pa.table({"q.sharpness": np.arange(len(IDS), dtype=float), "media.error": error})
        ),
        findings=Findings(table_of(Findings.columns, found)),
        figures=Figures(table_of(Figures.columns, figures)),
        decisions=Decisions(pa.Table.from_pylist(rows, pa.schema(list(Decisions.columns.items())))),
        curated=Samples(pa.table(curated)),
        embedding=Embedding(
            planted,
            np.ones(len(IDS), bool),
            lambda rows: np.random.default_rng(1).normal(size=(len(IDS), 8))[rows],
        ),
        gates=[{"gate": planted, "passed": True, "value": 1.0, "said": planted}],
        run={
            "id": planted,
            "seed": 3,
            "started": planted,
            "config": {"dataset": {"path": planted}},
            "versions": {planted: planted},
            "stages": [
                {
                    "name": planted,
                    "stage": "x",
                    "version": 1,
                    "options": {planted: planted},
                    "summary": planted,
                    "claims": {"nothing": {"severity": "info", "help": planted}},
                }
            ],
            "timings": [{"step": planted, "seconds": 1.5, "samples": 3, "measured": 3}],
            "failures": [{"stage": planted, "samples": [planted], "reason": planted}],
            **run,
        },
    )


@cache
def flower() -> np.ndarray:
    """One of scikit-learn's photographs."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("flower.jpg"))


class Photographs:
    """The `pixels` of samples that are tiles of a photograph."""

    def __call__(self, ids: list[str], rendition: str = "full") -> list[Picture]:
        return tiles(ids)

    def preview(self, sample: str, side: int, quality: int, *, parts: object = ()) -> Preview:
        return PictureView().preview(tiles([sample])[0], side, quality)

    def difference(self, sample: str, match: str, side: int, quality: int) -> Preview | None:
        return PictureView().difference(*tiles([sample, match]), side, quality)


pixels = Photographs()


def tiles(ids: list[str]) -> list[Picture]:
    """Tiles of scikit-learn's photographs, one for each id; the broken file has none."""
    if BROKEN in ids:
        raise MediaError("The file ends too early.")
    photograph = flower()
    corners = [int(hashlib.sha256(i.encode()).hexdigest()[:4], 16) % 200 for i in ids]
    parts = [np.ascontiguousarray(photograph[c : c + 200, c : c + 160]) for c in corners]
    return [Picture(Header("PNG", 160, 200, "RGB"), tile) for tile in parts]


def sections() -> list[Section]:
    """The built-in sections."""
    return [cls() for cls in discover("dqpipe_reports") if issubclass(cls, Section)]


def written(
    folder: Path,
    content: dict[str, Any] | None = None,
    parts: list[Section] | None = None,
    **options: Any,
) -> Page:
    """The page of a record."""
    Html(**options).write(content or told(), folder, parts or sections(), pixels)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the result with everything planted."""
    return written(tmp_path_factory.mktemp("report"))


def test_nothing_from_the_data_becomes_markup(page: Page) -> None:
    assert [script.get("type") for script in page.all("script")][-2:] == [None, None]
    assert {script.get("type") for script in page.all("script")[:-2]} == {"application/json"}
    assert [a for _, attributes in page.elements for a in attributes if a.startswith("on")] == []
    assert {image["src"][:11] for image in page.all("img")} == {"data:image/"}
    assert {link["href"] for link in page.all("a") if not link["href"].startswith("#")} == FILES
    assert page.text.count(SCRIPT) > 10
    assert page.text.count("{{7*7}}") > 10
    assert len(page.all("style")) == 2


def test_the_page_forbids_itself_every_request_and_every_other_script(page: Page) -> None:
    policy = page.all("meta")[1]["content"]
    script = page.source.rpartition("<script>")[2].partition("</script>")[0]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert (
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    )
    assert [
        a
        for name, a in page.elements
        if name in {"iframe", "object", "embed", "base"}
        or (name == "link" and a["href"] != "data:,")
    ] == []


def test_the_verdict_stands_on_top_then_failures_numbers_issues_and_what_to_do(page: Page) -> None:
    order = [
        "Published with failures",
        "failed on 1 sample",
        "18read",
        "From raw to curated",
        "Top issues",
        "What was not checked",
        "What to do next",
        "18 samples in 3 classes were read",
        "Confidence by issue",
    ]
    text = page.text.replace("\n", "")
    places = [text.index(words) for words in order if words != "18read"]
    assert places == sorted(places)


def test_numbers_say_what_changed_since_the_last_version(tmp_path: Path) -> None:
    before = {"version": "v", "samples": 20, "kept": 17, "dropped": 0, "relabelled": 1}
    page = written(tmp_path, told(planted="x", before={**before, "review": 1, "added": 1}))
    numbers = re.search(r'<dl class="numbers">(.*?)</dl>', page.source, re.DOTALL)
    assert numbers
    text = re.sub(r"<[^>]+>", " ", numbers[1]).split()
    assert " ".join(text) == (
        "read 18 \N{MINUS SIGN}2 kept 17 unchanged dropped 1 +1 relabelled 1 unchanged "
        "need review 1 unchanged added 1 unchanged"
    )


def test_a_failed_gate_and_an_open_question_are_the_verdict(tmp_path: Path) -> None:
    def first(**run: Any) -> str:
        page = written(tmp_path, {**told(planted="x"), **run})
        return re.search(r'<div class="verdict[^>]*>(.*?)</div>', page.source)[1]

    failed = [{"gate": "g", "passed": False, "value": 1.0, "said": "too many"}]
    assert "<strong>Not published</strong><span>1 gate: 1 failed.</span>" in first(gates=failed)
    waits = {**told(planted="x")["run"], "asks": ["samples is 18, which is >= 0"]}
    assert "<strong>Waiting for approval</strong>" in first(run=waits)


def test_the_way_from_raw_to_curated_adds_up(tmp_path: Path) -> None:
    page = written(tmp_path, told(planted="x"))
    drawn = re.search(r'<svg class="way"[^>]*aria-label="([^"]*)"', page.source)
    assert drawn
    assert drawn[1] == (
        "From raw to curated: read 18, kept as they are 15, relabelled 1, need review 1, "
        "dropped 1, added 1, curated set 18, Near 1"
    )


def test_a_duplicate_stands_beside_its_match_and_a_wrong_label_beside_both_classes(
    page: Page,
) -> None:
    alts = [image["alt"] for image in page.all("img")]
    at = alts.index("Sample cat/1.png, labelled cat")
    assert alts[at + 1] == "Compared with cat/0.png, labelled cat"
    at = alts.index("Sample cat/3.png, labelled cat")
    assert alts[at + 1 : at + 7] == ["A sound sample of cat"] * 3 + ["A sound sample of dog"] * 3


def test_a_broken_file_has_a_box_with_the_reason(page: Page) -> None:
    box = page.source.index(f'aria-label="Sample {BROKEN}, labelled cat: no picture"')
    assert "The file ends too early." in page.source[box : box + 300]


def test_a_picture_is_embedded_once(page: Page) -> None:
    counts = Counter(re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", page.source))
    assert set(counts.values()) == {1}
    shown = {image["data-picture"] for image in page.all("img") if "data-picture" in image}
    assert shown == set(re.findall(r'\[data-picture="(\d+)"\]{', page.source))


def test_headings_tables_pictures_and_ids_are_accessible(page: Page) -> None:
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(after - before for before, after in pairwise(levels)) == 1
    assert all(head.get("scope") in {"col", "row", "rowgroup"} for head in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [i for i, count in Counter(ids).items() if count > 1] == []
    targets = {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")}
    assert targets <= set(ids)


def test_the_same_record_gives_the_same_page(page: Page, tmp_path: Path) -> None:
    assert written(tmp_path, parts=sections()[::-1]).source == page.source


def test_thumbnails_stay_within_their_budget_and_the_page_says_what_it_left_out(
    tmp_path: Path,
) -> None:
    small = written(tmp_path, budget=0.005)
    assert sum(len(url) for url in set(re.findall(r"data:image/webp[^\")]+", small.source))) <= 5000
    assert re.search(r"\d+ pictures were left out to keep this page small", small.text)


def test_a_section_that_raises_is_named_in_its_place_and_the_rest_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        text = written(tmp_path, parts=[*sections(), Fragile()]).text
    assert f"The section fragile could not be made: ValueError: no {SCRIPT}." in text
    assert "18 samples in 3 classes were read" in text
    assert [entry.message for entry in caplog.records] == [
        "section fragile of the report failed; the others stand"
    ]


def test_a_third_party_adds_a_section_where_its_order_says(tmp_path: Path) -> None:
    page = written(tmp_path, parts=[Greeting(), *sections()])
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == [
        "account",
        "findings",
        "greeting",
        "classes",
        "losses",
        "examples",
        "labels",
        "map",
        "figures",
        "limits",
        "made",
        "plan",
    ]
    assert 'src="data:image/webp' in page.source[page.source.index("Hello") :][:200]


def test_a_table_without_media_shows_its_examples_as_rows(tmp_path: Path) -> None:
    page = written(tmp_path, told(media=False))
    assert page.all("img") == []
    assert len([a for a in page.all("tr") if "data-example" in a]) == 7
    assert "note \N{EN DASH} against <script>" in page.text


def test_an_empty_result_has_a_page(tmp_path: Path) -> None:
    nothing = record(
        samples=Samples(pa.table({"id": ["a"]})),
        facts=Facts(pa.table({"q.x": [1.0]})),
        findings=Findings(table_of(Findings.columns, [])),
        figures=Figures(table_of(Figures.columns, [])),
        decisions=Decisions(pa.table({"id": ["a"], "decision": ["keep"]})),
        curated=None,
        run={},
    )
    text = written(tmp_path, nothing).text
    assert "1 sample was read; none carries a warning or an error" in text
    assert "Nothing was found." in text


def test_the_json_report_is_the_record(tmp_path: Path) -> None:
    Json().write(told(), tmp_path, sections(), pixels)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == told()
    assert json.loads(text)["schema"] == "dqpipe.report/1"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1000, 500), (144, 72)),
        ((32, 32), (128, 128)),
        ((100, 80), (100, 80)),
        ((5000, 1), (144, 1)),
        ((1, 1), (144, 144)),
    ],
)
def test_thumbnails_shrink_and_tiny_pictures_grow_by_whole_pixels(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shrunk(np.zeros((*shape, 3), np.uint8), 144).shape == (*expected, 3)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (share(0.0), "0 %"),
        (share(0.0004), "0.04 %"),
        (share(0.9996), "99.96 %"),
        (share(0.999999), "> 99.99 %"),
        (share(1.0), "100 %"),
        (share(-0.12), "-12 %"),
        (significant(0.123456), "0.1235"),
        (significant(12.0), "12"),
        (significant(1234567.8), "1.23e+06"),
        (significant(None), "\N{EN DASH}"),
        (seconds(0.041), "0.04 s"),
        (seconds(192), "3 min 12 s"),
        (seconds(7500), "2 h 5 min"),
    ],
)
def test_numbers_are_written_for_people(actual: str, expected: str) -> None:
    assert actual == expected


def test_codes_in_a_sentence_lead_to_their_examples() -> None:
    said = linked("1 for a.b, 2 for a.bc and <b>", {"a.b": True, "a.bc": False})
    assert said == (
        f'1 for <a href="#code-{anchor("a.b")}"><code>a.b</code></a>, 2 for <code>a.bc</code> '
        f"and &lt;b&gt;"
    )


@pytest.mark.parametrize("codes", [{}, {"a.b": True}])
def test_what_stands_in_backticks_is_code(codes: dict[str, bool]) -> None:
    assert (
        linked("by `imagenet` & `<b>x`, one ` alone", codes)
        == "by <code>imagenet</code> &amp; <code>&lt;b&gt;x</code>, one ` alone"
    )
    assert linked("`a.b c`", codes) == "<code>a.b c</code>"
    assert linked("`a.b`", {"a.b": True}) == '<a href="#code-a-b"><code>a.b</code></a>'


def test_no_backtick_of_an_account_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_images(tmp_path / "images")
    stages = "stages: [files, duplicates, embeddings: {embedder: auto}]"
    (tmp_path / "p.yaml").write_text(
        f"dataset: {{path: images}}\n{stages}\noutputs: {{path: out, reports: [html]}}\n"
    )
    monkeypatch.setattr(
        "sys.argv", ["dqpipe", "run", str(tmp_path / "p.yaml"), "--executor", "serial"]
    )
    with pytest.raises(SystemExit):
        main()
    assert "pictures became vectors by patches" in (told := capsys.readouterr().out).lower()
    assert "`" not in told
    page = (tmp_path / "out/report.html").read_text()
    assert "by <code>patches</code>" in page
    assert "`" not in re.sub(r"(?s)<(script|style)\b.*?</\1>", "", page)
    assert (
        "by <code>patches</code>" in Pipeline.from_yaml(tmp_path / "p.yaml").check()._repr_html_()
    )


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_is_readable_in_light_and_in_dark(page: Page, scheme: int) -> None:
    colours = dict(
        re.findall(
            r"--(\w+): (#\w+);", re.findall(r":root {(.*?)}", page.source, re.DOTALL)[scheme]
        )
    )
    pairs = [
        (text, ground)
        for text in ("ink", "soft", "accent", "error", "warning", "info", "passed")
        for ground in ("bg", "panel")
    ]
    assert {
        pair: ratio
        for pair in pairs
        if (ratio := contrast(colours[pair[0]], colours[pair[1]])) < 4.5
    } == {}


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_of_the_map_stand_out_in_light_and_in_dark(page: Page, scheme: int) -> None:
    colours = dict(
        re.findall(
            r"--(\w+): (#\w+);", re.findall(r":root {(.*?)}", page.source, re.DOTALL)[scheme]
        )
    )
    shades = [name for name in colours if re.fullmatch(r"c\d", name)]
    assert len(shades) == 10
    assert [
        name
        for name in [*shades, "relabel", "review", "drop"]
        if contrast(colours[name], colours["panel"]) < 3
    ] == []


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2.2, 1 to 21."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        light = np.array([int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)])
        return float(
            np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
            @ [0.2126, 0.7152, 0.0722]
        )

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


@extension
class Fragile(Section):
    """A section that fails."""

    name = "fragile"
    order = 250

    def render(self, record: Any, thumbnail: Any) -> str:
        """Fail."""
        raise ValueError(f"no {SCRIPT}")


@extension
class Greeting(Section):
    """A section of somebody else."""

    name = "greeting"
    order = 250

    def render(self, record: Any, thumbnail: Any) -> str:
        """A word and a picture."""
        return f'<p>Hello</p><img alt="a cat" src="{thumbnail("cat/7.png")}">'


def test_no_two_sections_have_one_title(registry: Registry) -> None:
    titles = [
        getattr(cls, "title", cls.name.replace("_", " ").capitalize())
        for cls in registry.all(Section)
    ]
    assert sorted(titles) == sorted(set(titles))
