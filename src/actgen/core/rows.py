"""The lines of a run's files, by their columns. Lines of older versions lack the columns that came later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, Required, TypedDict


class SourceColumns(TypedDict):
    """A real image, as lines have it (`core/types.py`)."""

    split: str
    index: int
    key: str


class RequestColumns(TypedDict, total=False):
    """What lines say of the request of an image (`core/types.py`) and of the generator."""

    key: Required[str]
    label: int
    class_name: str
    prompt: str
    seed: int
    strategy: str
    round: int
    guides: list[str]
    strength: float
    source: SourceColumns | None
    generator: str
    generator_hash: str
    guidance: dict[str, object]
    loading: dict[str, object]
    held: str


class GeneratorColumns(TypedDict, total=False):
    """What lines say of the generator: where it is, the hash of its weights and how they were loaded; empty without one."""

    generator: str
    generator_hash: str
    generator_licence: str
    loading: dict[str, object]


class ManifestLine(RequestColumns):
    """A line of manifest.jsonl: an image of a store. Probabilities and margins in [0, 1], accuracy in percent, seconds."""

    file_name: str
    sha256: NotRequired[str]
    chain: NotRequired[str]
    regenerated: NotRequired[str]
    classifier_accuracy: NotRequired[float | None]
    guide_probability: NotRequired[float | None]
    probability: NotRequired[float]
    candidates: NotRequired[int]
    class_margin: NotRequired[float | None]
    staleness: NotRequired[int]
    seconds: NotRequired[float]


class RejectionLine(RequestColumns):
    """A line of rejected.jsonl: what was generated and not kept, when `after` images were in the store."""

    after: int
    filter: NotRequired[str]
    reason: NotRequired[str]
    score: NotRequired[float | None]


class Kept(TypedDict):
    """How many images were generated and how many of them kept."""

    generated: int
    kept: int


class KeepRate(Kept):
    """The same, with the share that was kept, in [0, 1]; None where nothing was generated."""

    keep_rate: float | None


class Tally(Kept):
    """What a round generated and kept, what each filter rejected, and both counts by class."""

    rejected: dict[str, int]
    classes: dict[str, Kept]


class KeepRates(KeepRate):
    """The keep rates of a run: of all its images, of each filter among what reached it, and of each class."""

    filters: dict[str, KeepRate]
    classes: dict[str, KeepRate]


class EpochRow(TypedDict):
    """A line of stats.jsonl: an epoch; accuracies in percent, times in seconds (`training/stages.py`)."""

    epoch: int
    train_loss: float
    learning_rate: float
    test_accuracy: float | None
    validation_accuracy: float | None
    holdout_accuracy: float | None
    per_class: dict[str, float] | None
    real_images: int
    synthetic_images: int
    generated_so_far: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float
    failed: list[dict[str, str]]
    filters: Tally
    waited_seconds: NotRequired[float]
    staleness: NotRequired[int | None]
    mined_pool: NotRequired[str | None]
    evaluation_seconds: NotRequired[float]
    manifest_chain: NotRequired[str]


class RunSummary(TypedDict):
    """summary.json: what a finished run measured; accuracies in percent, times in seconds (`experiment/run.py`)."""

    strategy: str
    model: str
    data: str
    seed: int
    data_note: str
    left_out_images: int
    left_out_first: str | None
    generator: str | None
    generator_hash: str | None
    mined_pool: str | None
    epochs: int
    test_accuracy: float | None
    validation_accuracy: float | None
    per_class: dict[str, float] | None
    real_images: int
    extra_images: int
    synthetic_images: int
    manifest_chain: str | None
    optimizer_steps: int
    filters: KeepRates | None
    train_seconds: float
    generation_seconds: float
    teacher_seconds: float
    waited_seconds: float
    evaluation_seconds: float
    proxy_steps: int
    proxy_seconds: float
    scout_seconds: float
    judge_hashes: Mapping[str, str]
    commit: str
    recipe_sha256: str
    right: str | None
    initial_weights: str
    real_images_digest: str
    test_digest: str | None
    peak_memory_gib: float
