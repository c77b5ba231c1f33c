"""Everything the planner knows of models, quants, servers, devices and workloads, looked up by the names people use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from planner.catalog import quant_names
from planner.catalog.cache import Parsed
from planner.catalog.records import (
    Axis,
    CpuSeries,
    Device,
    Evidence,
    MatrixRow,
    Model,
    PinnedImage,
    Quant,
    ServerFacts,
    Workload,
)
from planner.errors import CatalogError, UnknownName

if TYPE_CHECKING:
    from planner.catalog.device_names import DeviceIndex
    from planner.catalog.model_names import ModelIndex

R = TypeVar("R")

SECTIONS: dict[str, type] = {
    "models": Model,
    "quants": Quant,
    "servers": ServerFacts,
    "images": PinnedImage,
    "devices": Device,
    "cpus": CpuSeries,
    "workloads": Workload,
    "decision_matrix": MatrixRow,
    "abilities": Evidence,
    "axes": Axis,
}


class Catalog:
    """A loaded catalog. Sections are decoded when they are first asked for; `digest` identifies the content."""

    def __init__(self, parsed: Parsed, *, reload: Callable[[], Parsed]) -> None:
        self._parsed = parsed
        self._reload = reload

    def __repr__(self) -> str:
        return f"Catalog({self.digest[:12]})"

    @property
    def digest(self) -> str:
        """SHA-256 over the names and contents of the catalog's files, in hexadecimal."""
        return self._parsed.digest

    @property
    def models_digest(self) -> str:
        """SHA-256 over the models alone, in hexadecimal."""
        return self._parsed.models_digest

    def _section(self, name: str) -> tuple[Any, ...]:
        kind: Any = tuple.__class_getitem__((SECTIONS[name], ...))
        try:
            return tuple(msgspec.msgpack.decode(self._parsed.sections[name], type=kind))
        except (KeyError, msgspec.DecodeError):
            self._parsed = self._reload()
            return tuple(msgspec.msgpack.decode(self._parsed.sections[name], type=kind))

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """Models by id."""
        return {model.id: model for model in self._section("models")}

    @cached_property
    def quants(self) -> Mapping[str, Quant]:
        """Quants by id. Where two formats share an id, the id is the GGUF one and `BF16|hf` the other."""
        return quant_names.by_key(self._section("quants"))

    @cached_property
    def servers(self) -> Mapping[str, ServerFacts]:
        """Facts of the servers by id, their images with the digests that are known."""
        return {server.id: _pinned(server, self.digests) for server in self._section("servers")}

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Digests of images by their references with tags."""
        return {image.id: image.digest for image in self._section("images")}

    @cached_property
    def devices(self) -> Mapping[str, Device]:
        """Devices by id."""
        return {device.id: device for device in self._section("devices")}

    @cached_property
    def cpus(self) -> tuple[CpuSeries, ...]:
        """CPU series."""
        return self._section("cpus")

    @cached_property
    def workloads(self) -> Mapping[str, Workload]:
        """Workloads by id."""
        return {workload.id: workload for workload in self._section("workloads")}

    @cached_property
    def matrix(self) -> tuple[MatrixRow, ...]:
        """The rows of the decision matrix, in the order in which they are asked."""
        return self._section("decision_matrix")

    @cached_property
    def abilities(self) -> Mapping[str, Evidence]:
        """What the published scores say of each model, by its id."""
        return {evidence.id: evidence for evidence in self._section("abilities")}

    @cached_property
    def axes(self) -> Mapping[str, Axis]:
        """The axes on which models are compared, by id."""
        return {axis.id: axis for axis in self._section("axes")}

    @cached_property
    def documents(self) -> Mapping[str, Any]:
        """Catalog files that are no records, as plain values, by file name without `.yaml`."""
        found: Mapping[str, Any] = msgspec.msgpack.decode(self._parsed.documents)
        return found

    @property
    def speed(self) -> Any:
        """The content of `speed.yaml` as plain values; None when there is no such file."""
        return self.documents.get("speed")

    @cached_property
    def _model_index(self) -> ModelIndex:
        from planner.catalog.model_names import ModelIndex  # late, as the other indexes of names: not all are asked

        return ModelIndex(self.models)

    @cached_property
    def _quant_index(self) -> quant_names.QuantIndex:
        return quant_names.QuantIndex(self.quants.values())

    @cached_property
    def _device_index(self) -> DeviceIndex:
        from planner.catalog.device_names import DeviceIndex

        return DeviceIndex(self.devices.values())

    def with_matrix(self, file: Path) -> Catalog:
        """The same catalog with the rows of another decision matrix in place of its own.

        Raises CatalogError when the file cannot be read or holds anything else than rows."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise CatalogError(f"{file}: cannot be read: {error.strerror}") from None
        import hashlib

        from planner.catalog.convert import entries, to_record
        from planner.catalog.yaml_file import parse_yaml

        rows = [to_record(entry, MatrixRow, str(file)) for entry in entries(parse_yaml(content, str(file)), str(file))]
        if not rows:
            raise CatalogError(f"{file}: no rows", hint="start from catalog/decision_matrix.yaml")
        parsed = self._parsed
        other = msgspec.structs.replace(
            parsed,
            digest=hashlib.sha256(parsed.digest.encode() + content).hexdigest(),
            sections={**parsed.sections, "decision_matrix": msgspec.msgpack.encode(rows)},
        )
        return Catalog(other, reload=lambda: other)

    def model(self, name: str) -> Model:
        """The model of that id, repository, Ollama tag, or in that file. Raises UnknownName, ModelFileError."""
        return self._model_index.find(name)

    def quant(self, name: str, format: str | None = None) -> Quant:  # noqa: A002 - the promised name
        """The quant of that id or alias, case ignored; without `format`, GGUF before Hugging Face before MLX.

        Raises UnknownName with near misses."""
        return self._quant_index.find(name, format)

    def find_quant(self, name: str, format: str) -> Quant | None:  # noqa: A002 - as in `quant`
        """As `quant` within one format, but None for an unknown name."""
        return self._quant_index.get(name, format)

    def server(self, name: str) -> ServerFacts:
        """The server of that id. Raises UnknownName."""
        return _by_id("server", name, self.servers)

    def workload(self, name: str) -> Workload:
        """The workload of that id. Raises UnknownName."""
        return _by_id("workload", name, self.workloads)

    def device(self, name: str) -> Device:
        """The GPU, Apple chip, processor or platform of that name. Raises UnknownName, UsageError (several fit)."""
        from planner.catalog import device_names

        found = self._device_index.find(name, loosely=False)
        series = self.cpu_series(name) if found is None else None
        if series is not None:
            return device_names.processor(name, series)
        found = found or self._device_index.find(name)
        if found is None:
            raise device_names.unknown_device(name, self._device_index.variants(name), self.devices.values())
        return found

    def find_device(self, name: str, memory_bytes: int | None = None) -> Device | None:
        """The GPU of that driver name, or None; memory decides between variants, unclear stays None."""
        return self._device_index.guess(name, memory_bytes)

    def cpu_series(self, name: str) -> CpuSeries | None:
        """The series whose fragments all appear in the processor's name, the most specific first."""
        from planner.catalog.cpu_names import best_series

        return best_series(self.cpus, name)


def record_key(record: Any) -> str:
    """What overrides what: the id, with the format for quants (BF16 is one of GGUF and one of Hugging Face)."""
    return f"{record.id}|{record.format}" if isinstance(record, Quant) else str(record.id)


def _pinned(server: ServerFacts, digests: Mapping[str, str]) -> ServerFacts:
    replace = msgspec.structs.replace
    images = (replace(image, digest=digests.get(image.reference, image.digest)) for image in server.images)
    return replace(server, images=tuple(images))


def _by_id(kind: str, name: str, known: Mapping[str, R]) -> R:
    found = known.get(name.strip().casefold())
    if found is None:
        raise UnknownName(kind, name, known)
    return found
