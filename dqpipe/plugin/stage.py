"""The kinds of extension that plugins bring, each with the one contract that the engine knows.

    Extension
    ├── Stage      measure · relate · detect · summarise · compare
    ├── Decide     findings to decisions
    ├── Augment    new samples from kept training samples
    ├── Reader     a source to a Dataset
    ├── Writer     curated samples to the format they came in
    ├── Decoder    bytes to a rendition
    ├── Encoder    what an augmentation made to the bytes of a file
    ├── View       a rendition to what a page shows of it
    ├── Embedder   renditions to vectors
    ├── Report     a result to files beside the curated set
    ├── Section    a part of the report page
    └── …          what is around a run, in `dqpipe.plugin.kinds`

Every extension is a frozen dataclass (`@extension`) whose fields are its options, made with
`option`.
"""

from __future__ import annotations

import base64
import dataclasses
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform

from dqpipe.data.dataset import Dataset
from dqpipe.data.media import Rendition
from dqpipe.data.tables import Decisions, Facts, Figures, Findings, Samples
from dqpipe.data.version_comparison import Since

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

T = TypeVar("T")
EVERY = "*?"
"""In `needs`: every column of the samples that is not named there, but for `id`, `content` and
`media`.
"""
SEED = "seed"
"""An option of this name, of any extension, is the run's seed where the config gives none."""
Phase = Literal["measure", "relate", "detect"]
PHASES: tuple[Phase, ...] = ("measure", "relate", "detect")


@dataclass(frozen=True)
class Preview:
    """What a page shows of a sample.

    The bytes of an image that browsers show, and its media type, such as image/webp.
    """

    data: bytes
    type: str

    @property
    def url(self) -> str:
        """As a data: URL."""
        return f"data:{self.type};base64,{base64.b64encode(self.data).decode('ascii')}"


class Pixels(Protocol):
    """Decodes a few named samples again, in the order asked for.

    Raises MediaError for one that cannot be read.
    """

    def __call__(self, ids: Sequence[str], rendition: Rendition = "full") -> list[Any]:
        """The renditions, one for each id."""
        ...

    def preview(
        self, sample: str, side: int, quality: int, *, parts: Collection[str] = ()
    ) -> Preview | None:
        """What a page shows of one sample (see `View`), with its objects, `parts` in question.

        None where no installed view shows such a rendition.
        """
        ...

    def difference(self, sample: str, match: str, side: int, quality: int) -> Preview | None:
        """Where a sample differs from its match.

        None where no view can tell, or where the two do not show the same.
        """
        ...

    def strip(self, ids: Sequence[str], side: int) -> Preview | None:
        """Some samples side by side; None where no installed view shows them so."""
        ...

    def cached_per_content(
        self, ids: Sequence[str], told: Callable[[Any], str], rendition: Rendition = "full"
    ) -> list[str]:
        """What a function says of each rendition by itself.

        Asked once for each content, and then kept in the store.
        """
        ...


def option(
    default: Any = dataclasses.MISSING,  # noqa: ANN401
    help: str = "",  # noqa: A002
    *,
    at: Phase = "detect",
    factory: Any = None,  # noqa: ANN401
    **bounds: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """An option of an extension: its default, what it means, and the earliest phase that reads it.

    `at="measure"` options are part of the key of cached facts, `at="relate"` ones of that of
    relations; a `detect` option can change without anything being measured again. `bounds` are
    pydantic's: ge, gt, le, lt, min_length …
    """
    metadata = {"description": help, "json_schema_extra": {"at": at}, **bounds}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
def extension(cls: type[T]) -> type[T]:
    """Make a class an extension: a frozen, slotted, keyword-only dataclass of options.

    Slots make the class anew, so that `super()` without arguments does not work inside it: name the
    parent instead.
    """
    fields = {
        name for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)
    }
    kinds = [base for base in cls.__mro__[1:] if base.__module__.startswith(f"{__package__}.")]
    declared = {
        name: value for kind in reversed(kinds) for name, value in vars(kind).items()
    }  # what an extension declares about itself; annotated in a subclass it would become an option
    taken = sorted(
        name for name in fields & declared.keys() if not isinstance(declared[name], property)
    )  # a property, such as `Decide.hold`, may be an option
    if taken:
        raise TypeError(
            f"{cls.__name__}: {taken[0]} is no option; assign it without an annotation ({taken[0]} "
            f"= …)"
        )
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


@dataclass(frozen=True)
class Fact:
    """A column that a stage gives.

    Its bare name, its type (see `model.fact_array`), and what it means, with its unit.

    A fact that is not `nullable` holds a value wherever the sample could be measured; a stage that
    needs it sees only the samples that have it.
    """

    name: str
    type: str
    help: str
    at: Literal["measure", "relate"] = "measure"
    nullable: bool = False
    becomes: str = ""
    """The column of the curated samples that it becomes (a split, a fold), and that the policy is
    shown; of `relate` only. Where it is null, the sample keeps what it has.
    """


@dataclass(frozen=True)
class Claim:
    """A code that a stage can claim.

    Bare, with its usual severity, a sentence a person understands, and the title that stands over
    such samples in report and summary ("Near duplicates").
    """

    code: str
    severity: str
    help: str
    title: str = ""

    @property
    def heading(self) -> str:
        """The title; without one, the code as words."""
        return self.title or self.code.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Figure:
    """A number that a stage can state about a whole set."""

    name: str
    help: str
    role: Literal["", "pooled_samples", "pooled_versions"] = ""
    """What the account makes of one that `compare` states.

    The samples that were compared as new, and of how many versions before some were taken along,
    where those of one run are too few.
    """


Gift = Fact | Claim | Figure


class Extension:
    """What every kind shares: a name, a version, and what it depends on."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "arbitrary_types_allowed": True}

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    """Raised whenever the same input would give another output.

    It is part of the key of what is cached.
    """
    requires: ClassVar[tuple[str, ...]] = ()
    """Optional distributions it cannot work without.

    A missing one is refused before the run, with the pip line.
    """
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version is part of the key of what is cached."""

    def artifacts(self) -> Mapping[str, str]:
        """Names and content hashes of the files (weights, filter banks) that its
        results depend on.
        """
        return {}

    def check(self) -> None:
        """Raise ConfigError or PlanError for options that cannot be meant together.

        Asked when a config is read.
        """

    def settled(self) -> tuple[Extension, str]:
        """What stands in its place in this environment, settled once before a run is planned, and a
        sentence for the account; itself, and nothing to say.
        """
        return self, ""

    @classmethod
    def summary(cls) -> str:
        """The first paragraph of the docstring, in one line."""
        return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (reached only when the attribute is absent)
        if name in {f.name for f in dataclasses.fields(self)}:  # type: ignore[arg-type]
            raise AttributeError(
                f"option {name!r} of {self.name} may not be read in this phase: declare it with "
                f"at='measure' or at='relate'"
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.options())

    def options(self) -> dict[str, Any]:
        """The options that are set, by name."""
        names = [f.name for f in dataclasses.fields(self)]  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names if _is_set(self, name)}

    def at(self, phase: Phase) -> Any:  # noqa: ANN401 (the same class, with fewer options)
        """A copy that holds only the options which this phase may read.

        Reading another raises AttributeError.
        """
        allowed = PHASES[: PHASES.index(phase) + 1]
        fields = {
            f.name: f.metadata.get("json_schema_extra", {}).get("at", "detect")
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        }
        return _restore(
            type(self),
            {name: value for name, value in self.options().items() if fields[name] in allowed},
        )


def _is_set(instance: Extension, name: str) -> bool:
    try:
        object.__getattribute__(instance, name)
    except AttributeError:
        return False
    return True


def _restore(cls: type[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
    instance = object.__new__(cls)
    for name, value in options.items():
        object.__setattr__(instance, name, value)
    return instance


@dataclass(frozen=True, eq=False)
class Shard:
    """Some samples and their media in the rendition the stage asked for, row by row, all of them
    readable.

    `media` holds what the decoder returned: headers for the rendition "header", the media
    themselves for "picture" and "full", nothing for None. `artifact` is what the stage's own `fit`
    returned, if it has one. How samples are cut into shards must not matter to a result.
    """

    samples: Samples
    media: Sequence[Any] = ()
    artifact: Mapping[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def pictures(self) -> Sequence[Any]:
        """The media of a stage whose rendition is "picture" or "full"."""
        return self.media

    @property
    def headers(self) -> Sequence[Any]:
        """The headers of the media, whatever the rendition."""
        return [getattr(item, "header", item) for item in self.media]


class Stage(Extension):
    """One stage: it overrides any of measure, relate, detect, summarise and compare, each a pure
    function of input and options.

    Columns of its own (facts, codes, figures) are bare names inside the stage; the engine prefixes
    them with the stage's name, or with its `as:` name. Columns of others stand under their full
    name, "<stage>.<fact>".
    """

    __slots__ = ()

    # Assigned in a class, or a property where they depend on the options: read-only to type
    # checkers, which so allow both.
    if TYPE_CHECKING:

        @property
        def gives(self) -> Sequence[Gift]:
            """The facts, claims and figures it can give."""

        @property
        def needs(self) -> Sequence[str]:
            """Columns it reads: "label", or "<stage>.<fact>".

            "label?" for a column of the samples used if it is there; EVERY for all the user's own.

            `id` and `content` are always given.
            """

        @property
        def remembers(self) -> Sequence[str]:
            """Facts of its own `relate` of which it is shown there, as `last.<fact>`, what the last
            published version holds.

            Null for a sample of which it holds nothing. So what was published can stay as it is.
            """

        @property
        def rendition(self) -> Rendition | None:
            """What `measure` sees of the media; None if it needs only the samples' columns."""

        @property
        def learns(self) -> bool:
            """Whether `fit` is called, where there is one."""
    else:
        gives, needs, remembers, rendition, learns = (), (), (), None, True

    rereads: ClassVar[bool] = False
    """Whether `relate` uses `pixels`."""
    default: ClassVar[bool] = False
    """Whether it belongs in the pipeline that `dqpipe init` proposes, where its needs are met."""
    summarise_curated: ClassVar[bool] = True
    """Whether it summarises the curated set as well as the raw one."""
    timeout: ClassVar[float | None] = None
    """Seconds that one `measure` (of some 32 samples) or one `relate` may take, None for any.

    See `dqpipe.execution.timeouts`. A `measure` that takes longer is tried sample by sample, and
    the culprits become `<stage>.failed`; a `relate` ends the run.
    """
    retries: ClassVar[int] = 0
    """How many more times a `measure` or `relate` that raised or timed out is tried as it is, where
    trying again may help.
    """

    media: ClassVar[bool | None] = None
    """Whether it is proposed for datasets with media alone, or for those without; None for both."""
    order: ClassVar[int] = 500
    """Where it stands among the proposed stages whose needs are met: the lowest comes first."""
    fallback: ClassVar[Mapping[str, Any]] = {}
    """Options with which it is proposed where its needs are not met as it is."""
    proposed_as: ClassVar[str] = ""
    """The `as:` name under which it is proposed where no other proposed stage has that name: what
    it gives then stands where the stages that build on it look by default. "" for its own name.
    """

    @classmethod
    def proposal(cls, samples: Samples) -> Mapping[str, Any] | None:  # noqa: ARG003 (for those who override it)
        """The options with which it is proposed for such a dataset.

        None where there is nothing that it could work on.
        """
        return {}

    def objection(self, samples: Samples) -> str | None:
        """Why it cannot work on such a dataset, as a sentence, or None.

        Asked before anything runs, contents not yet known.
        """
        return None

    def fit(self, samples: Samples, pixels: Pixels) -> Mapping[str, np.ndarray] | None:
        """Arrays learned from a seeded subset of the samples before the first measuring, frozen
        from then on.
        """
        return None

    def measure(self, shard: Shard) -> Facts | pd.DataFrame | Mapping[str, Any]:
        """What is seen in each sample.

        One row per row of the shard, columns as declared in `gives`.
        """
        raise NotImplementedError

    def relate(
        self, samples: Samples, facts: Facts, pixels: Pixels
    ) -> Facts | pd.DataFrame | Mapping[str, Any]:
        """What each sample means among the others.

        One row per row of `samples` (those with all needed facts).
        """
        raise NotImplementedError

    def detect(self, samples: Samples, facts: Facts) -> Findings | pd.DataFrame | list[Any]:
        """What is claimed, by thresholds only: see `model.claim`; a list of DataFrames is fine."""
        raise NotImplementedError

    def summarise(self, samples: Samples, facts: Facts) -> Figures | pd.DataFrame | list[Any]:
        """What is true of the whole set: see `model.figure`.

        Runs on the raw and again on the curated set.
        """
        raise NotImplementedError

    def compare(
        self, samples: Samples, facts: Facts, since: Since
    ) -> tuple[Figures | list[Any], Findings | list[Any]]:
        """What is different from the last published version, as figures and as claims.

        Asked only where there is one.
        """
        raise NotImplementedError

    def does(self, method: str) -> bool:
        """Whether this stage answers `measure`, `relate`, `detect`, `summarise`, `compare` or
        `fit`.
        """
        return getattr(type(self), method) is not getattr(Stage, method)

    def facts_at(self, phase: str) -> list[Fact]:
        """The facts that `measure` or `relate` gives."""
        return [gift for gift in self.gives if isinstance(gift, Fact) and gift.at == phase]


class Decide(Extension):
    """What to do about what was found."""

    __slots__ = ()
    reasons: ClassVar[Mapping[str, str]] = {}
    """Codes of its own among the reasons of a decision, each with why less was done than the claims
    asked for, in words that follow "since".
    """

    @property
    def hold(self) -> bool:
        """Whether samples that are decided to be reviewed are kept out of the curated set until
        then; usually an option.
        """
        return False

    def codes(self) -> Sequence[str]:
        """The codes, or patterns of codes, that its options speak of.

        One that no stage claims is refused before anything runs.
        """
        return ()

    def idle(self, findings: Findings) -> Sequence[str]:
        """What of its options changed nothing on these findings, as sentences for the account."""
        return ()

    def decide(self, samples: Samples, findings: Findings) -> Decisions | pd.DataFrame:
        """One row per sample: id, decision (keep, drop, relabel, review), new_label, because (the
        codes).

        `samples` has id, and label, split and group where the dataset has them; `findings` carry
        full codes. For each claim that people audited there is one more, about the whole dataset:
        audits.precision, `part` the claim's code, `value` the lower end of its precision.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Recipe:
    """One new sample to make: from which parent, the how-manieth copy, and the seed it
    draws from.
    """

    parent: str
    copy: int
    seed: int


class Augment(Extension):
    """New samples from the kept training samples.

    Two methods, so that the engine can make the samples in any worker: `plan` says which (it sees
    the whole set), `make` makes one (it sees one rendition and one seed). What its encoder does not
    write is nobody's parent.
    """

    __slots__ = ()
    default: ClassVar[bool] = False
    """Whether it belongs in the pipeline that `dqpipe init` proposes, where it has no objection."""

    encoder: ClassVar[str] = ""
    """The name of the encoder that writes what it makes; "" for the only one that is installed."""

    def objection(self, samples: Samples) -> str | None:
        """Why it cannot work on such a dataset, as a sentence, or None.

        Asked before anything runs.
        """
        return None

    def plan(
        self, samples: Samples, sound: np.ndarray, seeds: Callable[[str, int], int]
    ) -> list[Recipe]:
        """The samples to make; `seeds(parent_id, copy)` gives each seed.

        `samples` are the training samples of the curated set, `sound` [n] bool those of them that
        may be parents: kept under their own label, and without a warning or an error.
        """
        raise NotImplementedError

    def make(self, item: Any, seed: int) -> Any:  # noqa: ANN401 (a rendition; what its encoder takes)
        """One new sample, as its encoder takes it, from its parent and seed alone."""
        raise NotImplementedError

    def provenance(self) -> Mapping[str, Any]:
        """What made the samples, as JSON values.

        Stored with each of them (pipeline, library, version).
        """
        return {"made_by": self.name, "version": self.version}


@dataclass(frozen=True)
class Recognition:
    """How sure a reader is that a source is of its format, and what it saw there.

    `score` is 0 where it is none, about 50 for a guess, 80 and more where the layout can hardly be
    another one's. `why` is what was seen, in a few words. `refused` says, of a source that only
    looks like one of this format, what it looks like instead.
    """

    score: int
    why: str = ""
    refused: str = ""


class Reader(Extension):
    """A source (a path, a URL, an object in memory) to a Dataset."""

    __slots__ = ()

    knows: ClassVar[str] = ""
    """What it reads, in a few words, for whoever has something else."""

    def suits(self, source: object) -> int:
        """How well this reader suits a source: 0 not at all; see `recognise`."""
        raise NotImplementedError

    def recognise(self, source: object) -> Recognition:
        """How sure it is of a source and why.

        The highest score wins when the config names no reader, and of two that are close a person
        is asked.
        """
        return Recognition(self.suits(source))

    def read(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The dataset; `roles` maps a role (id, media, label, split, group) to the user's column.

        Raises DatasetError.
        """
        raise NotImplementedError

    def read_outside(self, source: Any, roles: Mapping[str, str]) -> Dataset:  # noqa: ANN401
        """The same where media may lie outside the dataset's folder.

        A reader that walks folders follows links to folders elsewhere.
        """
        return self.read(source, roles)


class Writer(Extension):
    """Curated samples back to the format they came in."""

    __slots__ = ()

    def write(
        self, dataset: Dataset, folder: Path, files: Literal["copy", "hardlink", "manifest"]
    ) -> None:
        """Write all of `dataset` below `folder` (which is empty), with manifest.parquet.

        The samples have, besides their own columns: `parent` and `made_by` (null for original
        ones). Media are relative to `dataset.root` or absolute. `hardlink` links where the file
        system can, `manifest` writes no media that the source already holds. Raises OutputError,
        before anything is written, if the space does not suffice.
        """
        raise NotImplementedError


class Decoder(Extension):
    """Bytes of one media file to a rendition, a class of the modality's own.

    The same bytes always give the same values.

    Whatever the class, for "picture" and "full" it has a `header`, whose `missing` is the share, 0
    to 1, of a file that ends early that is not there, and a `reduction`: 1 where it is "full"
    already. Where it has `nbytes`, the memory that it takes, no more are held at once than fit.
    """

    __slots__ = ()

    modality: ClassVar[str] = ""
    """What such media are in the words of the Hugging Face Hub, for the data card: "image", say."""
    timeout: ClassVar[float | None] = 120.0
    """Seconds that one file may take, None for any.

    One that takes longer counts as unreadable in this run, and is tried in the next.
    """

    def suits(self, head: bytes) -> bool:
        """Whether the first 64 bytes look like a format this decoder reads."""
        raise NotImplementedError

    def decode(self, data: bytes, rendition: Rendition) -> Any:  # noqa: ANN401 (a class of its own)
        """The header for "header", else the medium itself.

        Raises MediaError with a reason a person understands.
        """
        raise NotImplementedError

    def set_threads(self, count: int) -> int:
        """Let the libraries of this modality use so many threads in this process, and return how
        many they used before.

        Asked before stages compute, and afterwards with what was returned, so that neither a result
        depends on the user's setting nor workers compete. numpy, torch and OpenMP are set already.
        """
        return count

    def example(self, folder: Path) -> Mapping[str, str]:
        """Write a small dataset of such media with known faults, for tests of stages.

        Returns fault → relative path.
        """
        return {}


class Encoder(Extension):
    """What an augmentation made of a rendition to the bytes of a file."""

    __slots__ = ()

    encodes: ClassVar[tuple[type[Any], ...]] = ()
    """The classes of renditions that new samples are made of; others are nobody's parents."""
    suffix: ClassVar[str] = ""
    """What the files' names end with, its dot included."""

    def encode(self, made: Any) -> bytes:  # noqa: ANN401 (what the augmentation returned)
        """The bytes of a file, the same for the same input."""
        raise NotImplementedError


class View(Extension):
    """How renditions of some classes are shown to people.

    In the report, on the review page, in notebooks.
    """

    __slots__ = ()

    shows: ClassVar[tuple[type[Any], ...]] = ()
    """The classes of renditions that it shows."""

    def preview(self, item: Any, side: int, quality: int, *, enlarge: bool = True) -> Preview:  # noqa: ANN401 (a rendition)
        """An image of one sample, at most `side` pixels wide and high, of a quality from 1 to 100.

        `enlarge` says whether a sample that is too small to be judged may be shown larger. Nothing
        of the sample's file but what is seen may be in it.
        """
        raise NotImplementedError

    def marked(
        self,
        item: Any,  # noqa: ANN401
        objects: Sequence[Mapping[str, Any]],
        parts: Collection[str],
    ) -> Any:  # noqa: ANN401
        """The sample with its objects drawn (see `dqpipe.objects`), those of the ids `parts` in
        question; the sample as it is where a view draws none.
        """
        del objects, parts
        return item

    def difference(self, item: Any, match: Any, side: int, quality: int) -> Preview | None:  # noqa: ANN401
        """An image of where a sample differs from its match; None where that cannot be told."""
        return None

    def strip(self, items: Sequence[Any], side: int) -> Preview | None:
        """One image of several samples side by side, each `side` pixels wide and high.

        None where there is no such image.
        """
        return None


class Embedder(Extension):
    """Renditions to vectors, independent of the data it is used on unless its
    artifact says otherwise.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def rendition(self) -> Rendition:
            """What it sees of the media: "picture", unless it says otherwise."""

        @property
        def learns(self) -> bool:
            """Whether `fit` is called before the first rendition is embedded."""
    else:
        rendition, learns = "picture", False

    def fit(self, items: Sequence[Any], seed: int) -> Mapping[str, np.ndarray] | None:
        """Arrays learned from some renditions, where the embedder is told to learn; else None."""
        return None

    def embed(self, items: Sequence[Any], artifact: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """float32 [n, d], row by row independent of the other rows, to the bit."""
        raise NotImplementedError


class Report(Extension):
    """A finished result to files beside the curated set."""

    __slots__ = ()

    def write(
        self, record: Mapping[str, Any], folder: Path, sections: Iterable[Section], pixels: Pixels
    ) -> None:
        """Write files into `folder`.

        `record` is the account as JSON values (see `dqpipe.results.report`).
        """
        raise NotImplementedError


class Section(Extension):
    """One part of the report page."""

    __slots__ = ()

    order: ClassVar[int] = 500
    """Where it stands on the page: the lowest comes first."""
    title: ClassVar[str] = ""
    """Its heading; its name where there is none."""

    def render(self, record: Mapping[str, Any], thumbnail: Callable[..., str]) -> str:
        """HTML of this part, "" for nothing.

        `thumbnail(id)` and `thumbnail(id, side)` give a data: URL. Everything from the data is
        escaped.
        """
        raise NotImplementedError
