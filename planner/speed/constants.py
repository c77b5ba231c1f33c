"""The constants of the speed model: read once from `catalog/speed.yaml`, each with where it came from."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from planner import __version__
from planner.catalog.cache import Parsed, cache_file, load_cache, write_cache
from planner.catalog.paths import data_folder
from planner.catalog.records.base import Record
from planner.errors import CatalogError

DeviceGroup = Literal["gpu", "apple", "cpu"]

_OLLAMA, _LOCALAI, _BASE = "ollama-", "localai-", "llama.cpp-"


# Annotations of records that are decoded stay values: as text, msgspec would compile each anew at every start.
class Stack(Record, kw_only=True):
    """How well one engine on one backend uses its device.

    `bus_fraction`: share of the published memory bandwidth that weight reads reach. `kv_fraction`: the same for the
    cache, under the limit of `decode_attention_flops_per_clock`, what one unit calculates of scores and values per
    clock while decoding. `quant_family`: whose factors of quant classes hold. `layer_us` and `moe_layer_us`: launch
    time per layer (`norm_share` more for every norm beyond two), `recurrent_layer_us` on top for a layer with a
    recurrent state. `batch_compute_fraction`: share of the FP16 peak that decoding several sequences at once reaches,
    times the factors for 4-bit weights and expert models. `unpack_factor`: what a CPU core unpacks, relative to
    llama.cpp. `prefill_factor` multiplies the rate of the device's
    architecture in prefill, `attention_flops_per_clock` is that of attention per unit and clock; an expert with t
    tokens reaches t / (t + `expert_half_tokens`) of it; `recurrent_prefill_us` is the time of one recurrent layer per
    prompt token. `host`: the stack of what lies in RAM. `host_sampling`: tokens are drawn on the CPU. `range_factor`
    above 1 widens the range of a stack without measured rows."""

    device: DeviceGroup
    bus_fraction: float
    kv_fraction: float
    decode_attention_flops_per_clock: float = 100.0
    expert_fraction: float = 1.0
    layer_us: float
    moe_layer_us: float
    quant_family: str = "gpu"
    norm_share: float = 0.0
    host: str = "llama.cpp-cpu"
    token_us: float = 0.0
    recurrent_layer_us: float = 0.0
    batch_compute_fraction: float
    batch_4bit_factor: float = 1.0
    batch_moe_factor: float = 1.0
    batch_prefill_fraction: float = 1.0
    unpack_factor: float = 1.0
    prefill_factor: float = 1.0
    attention_flops_per_clock: float = 50.0
    expert_half_tokens: float = 20.0
    host_sampling: bool = False
    recurrent_prefill_us: float = 0.0
    range_factor: float = 1.0
    source: str


class Cores(Record, kw_only=True):
    """Compute units: `bytes_per_clock` that one unit (SM, CU, Xe core, Apple core) can take in, by architecture or
    compute capability, else by device group, times a factor of the quant class. Units x Hz = FP32 FLOP/s / FLOPs per
    unit and clock; Apple chips: cores x clock. `fused_dies_fraction`: what is left of the bus where two dies read each
    other's memory; `mla_cache_factor`: the same for a latent cache."""

    bytes_per_clock: dict[str, float]
    quant_factors: dict[str, dict[str, float]]
    flops_per_unit_clock: dict[str, int]
    apple_clock_ghz: dict[str, float]
    mla_cache_factor: float
    fused_dies_fraction: float
    source: str


class CpuCores(Record, kw_only=True):
    """CPU reading: `gb_per_s_per_core` of weights that one core unpacks, by instruction set and quant class;
    `bind` / `interleave` / `none` factors on the summed bandwidth of several NUMA nodes. Attention over the cache while
    decoding costs a core `attention_ns_per_score` (fused kernel: `flash`, else `plain`) and the elements of the head at
    `attention_gflops_per_core`. `link_gb_per_s`: what the link between one of AMD's core dies and memory carries."""

    measured_bus_fraction: float
    gb_per_s_per_core: dict[str, dict[str, float]]
    prefill_gflops_per_core: dict[str, float]
    attention_ns_per_score: dict[str, float]
    attention_gflops_per_core: dict[str, float]
    small_core_factor: float
    link_gb_per_s: float
    interleave_factor: float
    unplaced_factor: float
    source: str


class Several(Record, kw_only=True):
    """Several GPUs, or CPU and GPU: `card_us` per extra card of a layer split; `reduce_us` per all-reduce (two per
    layer) and `reduce_gb_per_s` of a tensor split over PCIe; `handoff_us` per layer whose work changes device."""

    card_us: float
    reduce_us: float
    reduce_gb_per_s: float
    prefill_reduce_share: float
    nvlink_gb_per_s: float
    handoff_us: float
    split_cpu_fraction: float
    pcie_gb_per_s_per_lane: dict[str, float]
    assumed_link_gb_per_s: float
    source: str


class Prefill(Record, kw_only=True):
    """Prompt processing: FLOPs per compute unit and clock that matrix products reach, by architecture or compute
    capability (`nvidia`, `amd`, `intel`, `apple` for those not listed), times a factor of the quant class; attention
    without its fused kernel moves `no_flash_bytes_per_score`; and the rest of t = 2*A*N/R + attention +
    stream*weights/BW per micro-batch."""

    flops_per_clock: dict[str, float]
    quant_factors: dict[str, dict[str, float]]
    no_flash_bytes_per_score: float
    cpu_attention_factor: float
    cpu_moe_factor: float
    assumed_share: float
    assumed_flops_per_byte: float
    stream_fraction: float
    fixed_ms: float
    source: str


class Ranges(Record, kw_only=True):
    """Half-widths of the 80 % range as factors (1.25 = from expected/1.25 to expected x 1.25) by class, and what
    widens them."""

    decode: dict[str, float]
    prefill: dict[str, float]
    deep_tokens: int
    deep: float
    assumed_bandwidth: float
    unknown_clock: float
    unknown_cores: float
    unknown_compute: float
    source: str


class CalibrationWeights(Record, kw_only=True):
    """How far a stored measurement of this machine is believed: weight rows / (rows + `shrink_rows`) by class."""

    shrink_rows: dict[str, float]
    same_model_shrink_rows: float
    remaining_width: float
    source: str


class Builds(Record, kw_only=True):
    """Old llama.cpp builds (before `modern_build` or year): weights, cache reads and prompts relative to today's, and
    the bytes per weight that unpacking a quantized prompt's weights moved. Before the other builds and months
    (YYYYMM): launches, recurrent layers, AMD's attention and attention over latent caches as they were then."""

    modern_build: int
    modern_year: int
    fused_launch_build: int
    fused_launch_month: int
    launch_factors: dict[str, dict[str, float]]
    fused_recurrent_build: int
    fused_recurrent_month: int
    weight_factor: float
    amd_attention_build: int
    amd_attention_month: int
    amd_attention_factor: float
    latent_attention_build: int
    latent_attention_month: int
    latent_attention_factor: float
    kv_factors: dict[str, float]
    prefill_factors: dict[str, float]
    dequantized_bytes_per_weight: float
    unfused_recurrent_us: float
    source: str


class SpeedConstants(Record, kw_only=True):
    """Everything in `catalog/speed.yaml`. `sampling_ns_per_logit`: drawing one token on the host, per entry of the
    vocabulary and user; `ollama_token_us`: what Ollama adds to every token."""

    format_version: str
    fit: dict[str, Any]
    stacks: dict[str, Stack]
    cores: Cores
    cpu: CpuCores
    several: Several
    prefill: Prefill
    ranges: Ranges
    calibration: CalibrationWeights
    builds: Builds
    sampling_ns_per_logit: float
    ollama_token_us: float
    ollama_source: str

    def stack(self, name: str, vendor: str | None = None, system: str | None = None) -> tuple[Stack, float]:
        """The constants of a stack and the extra seconds per token of the server around it.

        `ollama-X` and `localai-X` are llama.cpp on X; the entry of a vendor's driver goes first, that of the driver for
        this operating system before it (`llama.cpp-vulkan-intel-windows`, `llama.cpp-vulkan-intel`).
        Raises CatalogError for a stack without constants."""
        extra_s = 0.0
        base = name
        if name.startswith(_OLLAMA):
            base, extra_s = _BASE + name.removeprefix(_OLLAMA), self.ollama_token_us * 1e-6
        elif name.startswith(_LOCALAI):
            base = _BASE + name.removeprefix(_LOCALAI)
        own = (f"{base}-{vendor}-{system}", f"{base}-{vendor}")
        base = next((driver for driver in own if driver in self.stacks), base)
        if base not in self.stacks:
            raise CatalogError(f"no speed constants for {name!r}", hint=f"known: {', '.join(sorted(self.stacks))}")
        return self.stacks[base], extra_s


@cache
def load_constants(path: Path | None = None) -> SpeedConstants:
    """The constants of `path` (default: the ones shipped). Raises CatalogError when the file is broken."""
    name = path.name if path else "speed.yaml"
    content = (path or data_folder("catalog") / "speed.yaml").read_bytes()
    file = cache_file(__name__, (__version__,)) if path is None else None
    stored = load_cache(file)
    if stored is not None and stored.documents == content:
        try:
            return msgspec.msgpack.decode(stored.sections["speed"], type=SpeedConstants)
        except (KeyError, msgspec.MsgspecError):
            pass
    constants = _parse(content, name)
    write_cache(file, Parsed(digest="", sections={"speed": msgspec.msgpack.encode(constants)}, documents=content))
    return constants


def _parse(content: bytes, name: str) -> SpeedConstants:
    from planner.catalog.yaml_file import parse_yaml

    try:
        return msgspec.convert(parse_yaml(content, name), SpeedConstants)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{name}: {error}", hint="tools/fit_speed.py writes it anew") from None
