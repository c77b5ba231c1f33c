"""GGUF files: which quants a publisher makes, what the files are called, how Ollama names them.

The repositories come from the catalog; what lies in them follows each publisher's habit, which is stated here and said
in `ModelSource.note`. Habits read in repositories' listings as people quote them (download scripts, configurations),
2024 to 2026; limits of file size from the hub (50 GB a file).
"""

from __future__ import annotations

import math

import msgspec

from planner.catalog.records import Model, Quant
from planner.servers.records import ModelSource
from planner.servers.words import checked_name
from planner.sizing.identity import IdentityCache

# Preference among equals: the smallest that loses little first, then upwards, then downwards.
LADDER = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "Q3_K_M", "Q2_K", "BF16", "F16")

# The hub refuses single files above 50 GB; publishers split there.
LARGEST_FILE_BYTES = 50_000_000_000

_holdings: IdentityCache[dict[str, str]] = IdentityCache(1024)

_STATIC = frozenset(
    {"Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "IQ4_XS", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0"}
)


class Publisher(msgspec.Struct, frozen=True):
    """A publisher's habits. `separator` stands between name and quant; `sixteen_bit` is its 16-bit file's type;
    `split_bytes` the size of one part; `folder` how the folder of a split quant is called (None: loose parts);
    `small_first_since`: models of that year and later have a first part of metadata alone; `usable_split` False:
    the parts must be joined by hand."""

    quants: frozenset[str]
    separator: str = "-"
    sixteen_bit: str = "BF16"
    sixteen_bit_text: str = "BF16"
    split_bytes: int = LARGEST_FILE_BYTES
    folder: str | None = "{quant}"
    small_first_since: str | None = None
    usable_split: bool = True
    recipe: str | None = None


PUBLISHERS: dict[str, Publisher] = {
    "unsloth": Publisher(
        _STATIC - {"Q3_K_L"} | {"Q4_0", "Q4_1", "IQ4_NL", "BF16"},
        # Qwen3-235B-A22B Q8_0, 250 GB, lies in six parts: a little under the limit each.
        split_bytes=49_800_000_000,
        small_first_since="2026",
        recipe="unsloth",
    ),
    "bartowski": Publisher(
        _STATIC | {"IQ2_M", "IQ3_XS", "IQ3_M", "IQ4_NL", "Q4_0", "Q4_1", "BF16"},
        sixteen_bit_text="bf16",
        split_bytes=40_000_000_000,
        folder="{stem}-{quant}",
        recipe="bartowski",
    ),
    "ggml-org": Publisher(
        frozenset({"Q4_K_M", "Q8_0", "F16"}), sixteen_bit="F16", sixteen_bit_text="f16", folder=None, recipe="ggml-org"
    ),
    "mradermacher": Publisher(_STATIC, separator=".", usable_split=False),
    "lmstudio-community": Publisher(frozenset({"Q4_K_M", "Q6_K", "Q8_0"}), folder=None),
}

# A publisher that we know nothing of is credited with the two files that nearly all make.
UNKNOWN_PUBLISHER = Publisher(frozenset({"Q4_K_M", "Q8_0"}))

# Repositories that break their publisher's habit: file names as listed there.
EXCEPTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("ggml-org/gpt-oss-20b-GGUF", "MXFP4_MOE"): ("gpt-oss-20b-mxfp4.gguf",),
    ("ggml-org/gpt-oss-120b-GGUF", "MXFP4_MOE"): tuple(
        f"gpt-oss-120b-mxfp4-0000{part}-of-00003.gguf" for part in (1, 2, 3)
    ),
    # unsloth's "F16" keeps the experts in the MXFP4 in which they were trained.
    ("unsloth/gpt-oss-20b-GGUF", "MXFP4_MOE"): ("gpt-oss-20b-F16.gguf",),
    ("unsloth/gpt-oss-120b-GGUF", "MXFP4_MOE"): tuple(
        f"F16/gpt-oss-120b-F16-0000{part}-of-00002.gguf" for part in (1, 2)
    ),
}
_LISTED = {repo: frozenset(quant_id for other, quant_id in EXCEPTIONS if other == repo) for repo, _ in EXCEPTIONS}

# Families whose image part llama.cpp runs (tools/mtmd, docs/multimodal.md). [K]
SEEING_FAMILIES = frozenset(
    {"gemma-3", "gemma-4", "qwen3-vl", "qwen3.5", "qwen3.6", "qwen3.8", "mistral-small", "ministral-3", "llama-4"}
)

# Library tags of Ollama that are not Q4_K_M although their name does not say so (as pulled, 2024 to 2026).
OLLAMA_DEFAULTS: dict[str, str] = {
    "llama3.2:1b": "Q8_0",
    "gemma3:270m": "Q8_0",
    "smollm2:1.7b": "Q8_0",
    "qwen3-embedding:0.6b": "Q8_0",
    "bge-m3": "F16",
    "bge-large": "F16",
    "mxbai-embed-large": "F16",
    "nomic-embed-text": "F16",
    "granite4:350m": "BF16",
    "granite4:1b": "BF16",
    "embeddinggemma": "BF16",
}


def is_mxfp4_native(model: Model) -> bool:
    """True for models whose experts were trained and published in MXFP4: other quants only lose."""
    return model.family == "gpt-oss"


def publisher(repo: str) -> Publisher:
    """The habits of a repository's owner."""
    return PUBLISHERS.get(repo.partition("/")[0], UNKNOWN_PUBLISHER)


def held_by(repo: str, model: Model) -> frozenset[str]:
    """The quants that a GGUF repository of the model holds, in parts that llama.cpp can load."""
    listed = _LISTED.get(repo, frozenset())
    if is_mxfp4_native(model):
        return listed
    habits = publisher(repo)
    if habits.usable_split:
        return habits.quants | listed
    whole = (quant_id for quant_id in habits.quants if rough_bytes(model, quant_id) <= LARGEST_FILE_BYTES)
    return listed.union(whole)


def repo_of(model: Model, quant_id: str) -> str | None:
    """The first GGUF repository of the model that holds the quant, None when none does."""
    return next((repo for repo in model.artifacts.gguf if quant_id in held_by(repo, model)), None)


def holdings(model: Model) -> dict[str, str]:
    """Each quant with the first repository of the model that holds it, in order of preference; worked out once per
    record, since several servers ask."""
    return _holdings.value((model,), (), lambda: _find_holdings(model))


def _find_holdings(model: Model) -> dict[str, str]:
    found: dict[str, str] = {}
    for repo in model.artifacts.gguf:
        for quant_id in held_by(repo, model):
            found.setdefault(quant_id, repo)
    return {quant_id: found[quant_id] for quant_id in ("MXFP4_MOE", *LADDER) if quant_id in found}


def quants_of(model: Model) -> tuple[str, ...]:
    """Quants with a repository, in order of preference; for a model read from a GGUF file none (it has its own)."""
    return tuple(holdings(model))


def rough_bytes(model: Model, quant_id: str) -> int:
    """The file size to a tenth, only to tell whether a publisher had to split it: parameters times the bits per
    weight that llama.cpp measured on Llama-3.1-8B (tools/quantize/README.md). 0 when the parameters are not known."""
    bits = _BITS_PER_WEIGHT.get(quant_id, 16.0)
    return int((model.published.total_parameters or 0) * bits / 8)


_BITS_PER_WEIGHT = {
    "Q2_K": 3.16, "IQ2_M": 2.93, "Q3_K_S": 3.64, "Q3_K_M": 4.00, "Q3_K_L": 4.30, "IQ3_XS": 3.50, "IQ3_M": 3.76,
    "IQ4_XS": 4.46, "IQ4_NL": 4.68, "Q4_0": 4.66, "Q4_1": 5.14, "Q4_K_S": 4.67, "Q4_K_M": 4.89, "Q5_K_S": 5.57,
    "Q5_K_M": 5.70, "Q6_K": 6.56, "Q8_0": 8.50, "MXFP4_MOE": 4.60,
}  # fmt: skip


def file_names(repo: str, model: Model, quant_id: str) -> tuple[str, ...]:
    """The files of one quant in a repository, the first part first."""
    known = EXCEPTIONS.get((repo, quant_id))
    if known:
        return known
    habits = publisher(repo)
    start = stem(repo)
    text = habits.sixteen_bit_text if quant_id == habits.sixteen_bit else quant_id
    name = f"{start}{habits.separator}{text}"
    size = rough_bytes(model, quant_id)
    if size <= LARGEST_FILE_BYTES:
        return (f"{name}.gguf",)
    parts = math.ceil(size / habits.split_bytes)
    if habits.small_first_since and (model.released or "") >= habits.small_first_since:
        parts += 1
    folder = "" if habits.folder is None else habits.folder.format(quant=text, stem=start) + "/"
    return tuple(f"{folder}{name}-{part:05d}-of-{parts:05d}.gguf" for part in range(1, parts + 1))


def is_split(repo: str, model: Model, quant_id: str) -> bool:
    """Whether a quant lies in several files."""
    known = EXCEPTIONS.get((repo, quant_id))
    return len(known) > 1 if known else rough_bytes(model, quant_id) > LARGEST_FILE_BYTES


def projector_file(repo: str, model: Model) -> str | None:
    """The file that lets a model see images, beside the model in the same repository; None for models without one
    and for families that llama.cpp shows no images to."""
    if "image" not in model.modalities or model.family not in SEEING_FAMILIES:
        return None
    owner, start = repo.partition("/")[0], stem(repo)
    names = {
        "unsloth": "mmproj-F16.gguf",
        "bartowski": f"mmproj-{start}-f16.gguf",
        "ggml-org": f"mmproj-{start}-f16.gguf",
        "mradermacher": f"{start}.mmproj-f16.gguf",
    }
    return names.get(owner)


def stem(repo: str) -> str:
    """The name that the files of a GGUF repository begin with."""
    name = repo.rpartition("/")[2]
    for ending in ("-i1-GGUF", "-GGUF", "-gguf"):
        name = name.removesuffix(ending)
    return name


def hub_source(model: Model, quant: Quant, revision: str = "main") -> ModelSource | None:
    """The download of one GGUF quant from the hub; a model read from a local file is its own source.

    Raises RenderError for names that cannot stand in a command line."""
    repo = repo_of(model, quant.id)
    if repo is None:
        return local_source(model)
    projector = projector_file(repo, model)
    names = (*file_names(repo, model, quant.id), *((projector,) if projector else ()))
    checked_name(repo, "repository")
    note = None
    if (repo, quant.id) not in EXCEPTIONS:
        note = f"file name by the habit of {repo.partition('/')[0]}: compare with the repository's file list"
    return ModelSource(uri=f"hf:{repo}@{revision}/{names[0]}", file_names=names, note=note)


def local_source(model: Model) -> ModelSource | None:
    """The file that the model was read from, when it was read from a GGUF file."""
    if not model.tensors:
        return None
    name = checked_name(model.name, "model file").rpartition("/")[2]
    name = name if name.casefold().endswith(".gguf") else f"{name}.gguf"
    return ModelSource(uri=f"file:{name}", file_names=(name,))


def ollama_tag_quant(model: Model) -> str | None:
    """The quant behind the model's library tag: as the tag says, a known exception, or Ollama's usual Q4_K_M."""
    tag = model.artifacts.ollama
    if tag is None:
        return None
    if is_mxfp4_native(model):
        return "MXFP4_MOE"
    last = tag.rpartition("-")[2].upper()
    spelled = {"FP16": "F16", "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q4_K_M": "Q4_K_M", "Q4_0": "Q4_0"}
    return spelled.get(last) or OLLAMA_DEFAULTS.get(tag, "Q4_K_M")


def ollama_hub_repo(model: Model, quant_id: str) -> str | None:
    """The repository that Ollama can pull as `hf.co/REPO:QUANT`: as `repo_of`, but it takes no split files."""
    repo = repo_of(model, quant_id)
    return repo if repo and _ollama_takes(repo, model, quant_id) else None


def ollama_hub_quants(model: Model) -> tuple[str, ...]:
    """The quants that Ollama can pull from the hub, in order of preference."""
    return tuple(quant_id for quant_id, repo in holdings(model).items() if _ollama_takes(repo, model, quant_id))


def _ollama_takes(repo: str, model: Model, quant_id: str) -> bool:
    return quant_id != "MXFP4_MOE" and not is_split(repo, model, quant_id)
