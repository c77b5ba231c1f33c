"""A model: identity, shapes, where its files are, how it wants to be sampled, what was published about it."""

from typing import Literal

from planner.catalog.records.architecture import Architecture
from planner.catalog.records.base import Record

ModelKind = Literal["llm", "embedding", "image"]
Thinking = Literal["no", "hybrid", "always", "effort"]


class Context(Record):
    """Context lengths in tokens: trained, and reachable with an extension method (`how`)."""

    native_tokens: int
    extended_tokens: int | None = None
    how: str | None = None


class Artifact(Record):
    """One published file set of a model: repository or tag, exact bytes when known."""

    repo: str
    file_bytes: int | None = None
    revision: str | None = None


class Artifacts(Record):
    """Where each format of the model is published. `gguf` is in order of preference."""

    ollama: str | None = None
    gguf: tuple[str, ...] = ()
    awq: str | None = None
    gptq_int4: str | None = None
    fp8: str | None = None
    nvfp4: str | None = None
    mlx_4bit: Artifact | None = None


class SamplingValues(Record):
    """Sampler settings as the vendor publishes them; None = the vendor says nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None


class VendorSampling(Record):
    """Vendor advice for the default mode, and for the non-thinking mode of a hybrid model."""

    default: SamplingValues
    non_thinking: SamplingValues | None = None
    source: str | None = None


class Published(Record):
    """What the publisher states, against which the computed figures are checked.

    `total_parameters`: elements stored in the checkpoint, `nominal_parameters` the size its name claims where no
    count is known; `vision_parameters` and `audio_parameters` count towers that are not expanded.
    `stored_extra`: elements in the checkpoint beyond the model, by what they are (a second copy of the tied head,
    quantization scales); negative where the checkpoint lacks something. `exception`: why the computed
    count and the published one may differ by more than 1 %; `active_convention`: how the vendor counts active
    parameters where it is not everything that a token touches."""

    total_parameters: int | None = None
    nominal_parameters: str | None = None
    active_parameters: str | None = None
    active_convention: str | None = None
    vision_parameters: int | None = None
    audio_parameters: int | None = None
    stored_extra: dict[str, int] = {}
    exception: str | None = None


class Score(Record):
    """One published benchmark figure with where it was read."""

    benchmark: str
    value: float
    source: str


class Model(Record):
    """One model of the catalog, or one read from a file.

    `released` is the vendor's date, `repo_created` that of the repository, which may be earlier.
    `components` are published bytes per part, for models that are not expanded (image pipelines);
    `tensors` is filled for a model read from a GGUF file: name, shape (ne order), type, exact."""

    id: str
    name: str
    family: str
    kind: ModelKind = "llm"
    vendor: str | None = None
    repo: str | None = None
    released: str | None = None
    repo_created: str | None = None
    license: str | None = None
    gated: bool | None = None
    modalities: tuple[str, ...] = ("text",)
    languages: tuple[str, ...] = ()
    context: Context | None = None
    tool_calling: bool | None = None
    thinking: Thinking = "no"
    tags: tuple[str, ...] = ()
    artifacts: Artifacts = Artifacts()
    sampling: VendorSampling | None = None
    architecture: Architecture | None = None
    published: Published = Published()
    components: dict[str, int] = {}
    scores: tuple[Score, ...] = ()
    sources: tuple[str, ...] = ()
    tensors: tuple[tuple[str, tuple[int, ...], str], ...] = ()
    embedding_dimensions: int | None = None
