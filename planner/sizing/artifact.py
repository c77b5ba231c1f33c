"""Records of a quantized model: every tensor's type and bytes, and their sums by place in the model."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from planner.sizing.records import Record, TensorGroup


class Made(NamedTuple):
    """How the planned file came about: whose habits, with an importance matrix, by which generation of llama-quantize,
    and whether the server loads the image projector that lies beside it."""

    recipe: str | None = None
    imatrix: bool = False
    quantizer: str = "2026"
    projector: bool = False


PLAIN: Final = Made()


class QuantizedGroup(Record):
    """A tensor group under a recipe. `types` and `sizes` (bytes of one tensor) hold one entry when all its tensors
    are alike, else one per layer of `group.layers`."""

    group: TensorGroup
    types: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all tensors of the group."""
        return self.sizes[0] * self.group.count if len(self.sizes) == 1 else sum(self.sizes)

    def size_of(self, index: int) -> int:
        """Bytes of the tensor of the `index`-th layer of the group."""
        return self.sizes[0] if len(self.sizes) == 1 else self.sizes[index]


class BlockBytes(Record):
    """Bytes of one block (layer): everything but routed experts, routed experts, and what one token reads of both."""

    dense: int = 0
    experts: int = 0
    dense_read: int = 0
    expert_read: int = 0


class QuantizedModel(Record):
    """A model's tensors under one quant: what is in the artifact, what is loaded, and where in the model it lies.

    `blocks` are the computed layers (next-token-prediction layers not), `blocks_read_bytes` what a token reads of
    them. Outside the blocks: `embedding_bytes` (looked up, one row per token; per-layer input tables and n-gram tables
    as `lookup_bytes`), `output_bytes` (head and final norms; 0 for a tied head, whose `tied_bytes` are those of the
    embedding), `encoder_bytes` (vision, audio) and `other_bytes`; `projector_bytes` of the encoders are a file of
    their own. `role_bytes`: what is loaded, by role.
    `parameters` counts the elements in the artifact."""

    model: str
    quant: str
    format: Literal["gguf", "hf", "mlx"]
    groups: tuple[QuantizedGroup, ...]
    blocks: tuple[BlockBytes, ...]
    header_bytes: int
    file_bytes: int
    tensor_bytes: int
    parameters: int
    blocks_read_bytes: int = 0
    mtp_bytes: int = 0
    embedding_bytes: int = 0
    lookup_bytes: int = 0
    output_bytes: int = 0
    tied_bytes: int = 0
    encoder_bytes: int = 0
    other_bytes: int = 0
    projector_bytes: int = 0
    role_bytes: tuple[tuple[str, int], ...] = ()
    error_fraction: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """What is loaded: the file without the layers that only speculation uses, and the projector beside it."""
        return self.tensor_bytes - self.mtp_bytes + self.projector_bytes

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per parameter, scales included, metadata not."""
        return self.tensor_bytes * 8 / self.parameters

    @property
    def read_bytes_per_token(self) -> int:
        """Weights streamed for one token of text at batch 1: head and blocks, routed experts by their share."""
        return self.blocks_read_bytes + self.output_bytes + self.tied_bytes
