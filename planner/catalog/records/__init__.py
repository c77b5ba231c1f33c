"""Records of the catalog: frozen values, one fact per field, `None` for not known."""

from planner.catalog.records.architecture import Architecture
from planner.catalog.records.device import CpuSeries, Device
from planner.catalog.records.model import Artifact, Artifacts, Context, Model, Published, SamplingValues
from planner.catalog.records.policy import MatrixRow, Sampling, Workload
from planner.catalog.records.quality import Axis, Evidence
from planner.catalog.records.quant import Quant
from planner.catalog.records.server import Image, PinnedImage, ServerFacts

__all__ = [
    "Architecture",
    "Artifact",
    "Artifacts",
    "Axis",
    "Context",
    "CpuSeries",
    "Device",
    "Evidence",
    "Image",
    "MatrixRow",
    "Model",
    "PinnedImage",
    "Published",
    "Quant",
    "Sampling",
    "SamplingValues",
    "ServerFacts",
    "Workload",
]
