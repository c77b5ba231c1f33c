"""A quantization: its format and the parameters of its recipe. `planner.sizing.quantize` applies it."""

from typing import Literal

from planner.catalog.records.base import Record

QuantFormat = Literal["gguf", "hf", "mlx"]
QuantClass = Literal["16bit", "8bit", "5-6bit", "4bit-k", "4bit-simple", "4bit-float", "low"]


class QuantLoss(Record, kw_only=True):
    """Measured damage: mean KL divergence to the 16-bit model (nats per token), with the spread of the evidence."""

    kl_divergence: float
    low: float | None = None
    high: float | None = None
    source: str


class Quant(Record):
    """One quantization id as users name it. `scheme` is the recipe (`k-mix`, `awq`, `fp8`, `affine`, ...);
    `nominal_bits` is a label, never a size. `speed_class` selects kernel constants. `rare`: not searched unless named.
    `recipe` and `base`: a publisher's own mix (`Q4_K_L` is bartowski's Q4_K_M), which exists with that recipe only."""

    id: str
    format: QuantFormat
    scheme: str
    nominal_bits: float
    speed_class: QuantClass
    aliases: tuple[str, ...] = ()
    group_size: int | None = None
    loss: QuantLoss | None = None
    min_compute_capability: str | None = None
    rare: bool = False
    recipe: str | None = None
    base: str | None = None
    sources: tuple[str, ...] = ()
