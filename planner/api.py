"""The functions people embed: each command of the command line is a thin layer over one of these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import UsageError
from planner.units import parse_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from planner.catalog.catalog import Catalog
    from planner.catalog.records import Model, Quant, Workload
    from planner.doctor.records import Finding
    from planner.hardware.facts import Hardware
    from planner.planning.constraints import Constraints
    from planner.planning.plan import Answer, Plan, Rejected
    from planner.rendering import Bundle
    from planner.sizing.records import Footprint, KvType, Runtime
    from planner.speed.records import Speed

DEFAULT_SERVER_ORDER = ("llama-server", "vllm", "mlx-lm")


def load_catalog(folder: str | Path | None = None) -> Catalog:
    """The catalog that ships with the package and the user's own, plus `folder`, which overrides by id.

    Raises CatalogError naming file and key path.
    """
    from planner.catalog.load import load_catalog as load

    return load(folder)


def probe(
    root: str | Path = "/",
    *,
    measure_bandwidth: bool = True,
    catalog: Catalog | None = None,
    progress: Callable[[str, float], None] | None = None,
    **options: Any,
) -> Hardware:
    """Read this machine, or a captured tree below `root` (the live machine is then never asked).

    `progress` is called with a step and the share done (0 to 1). Raises ProbeError when `root` is unusable;
    a single missing fact is a note in the result.
    """
    from planner.hardware.probe import probe as run

    devices = catalog or load_catalog()
    return run(root, measure_bandwidth=measure_bandwidth, devices=devices, progress=progress, **options)


def load_hardware(path: str | Path) -> Hardware:
    """A machine saved by `planner probe --save`. Raises ProbeError naming file, key and what was expected."""
    from planner.hardware.files import load_hardware as load

    return load(path)


def what_if(*, catalog: Catalog | None = None, **machine: Any) -> Hardware:
    """An imagined machine: `gpus`, `vram`, `gpu_bandwidth`, `backend`, `apple`, `cpu`, `cores`, `ram`,
    `ram_bandwidth`, `numa_nodes`. Sizes are bytes or text with a unit. Raises UsageError on contradictions.
    """
    from planner.hardware.what_if import what_if as imagine

    return imagine(catalog or load_catalog(), **machine)


def load_plan(path: str | Path) -> Plan:
    """A plan saved by `planner recommend --save`. Raises PlannerError naming file and key."""
    from planner.planning.files import load_plan as load

    return load(path)


def read_model(source: str | Path | Mapping[str, Any]) -> Model:
    """A model from a GGUF file (header only), a `config.json`, or its mapping. Raises ModelFileError."""
    from planner.catalog.read_model import read_model as read

    return read(source)


def parse_kv_type(text: str | tuple[str, str]) -> KvType:
    """`q8_0` for both, or `K,V`. Raises UsageError on more than two."""
    from planner.sizing.records import KvType

    names = text.lower().split(",") if isinstance(text, str) else list(text)
    if len(names) > 2:
        raise UsageError(f"KV cache type {text!r} names more than K and V", hint="write it like q8_0 or q8_0,f16")
    return KvType(k=names[0].strip(), v=names[-1].strip())


def _model_and_quant(catalog: Catalog, model: Model | str, quant: str, server: str | None) -> tuple[Model, Quant, str]:
    """Resolve the three names together; `server=None` takes the first that reads the quant."""
    resolved = catalog.model(model) if isinstance(model, str) else model
    if server is not None:
        facts = catalog.server(server)
        for form in facts.formats:
            named = catalog.find_quant(quant, form)
            if named is not None:
                return resolved, named, facts.id
        readable = ", ".join(q.id for q in catalog.quants.values() if q.format in facts.formats and not q.rare)
        raise UsageError(f"{facts.id} cannot read {quant}", hint=f"it reads {readable}")
    for candidate in DEFAULT_SERVER_ORDER:
        for form in catalog.server(candidate).formats:
            named = catalog.find_quant(quant, form)
            if named is not None:
                return resolved, named, candidate
    return resolved, catalog.quant(quant), DEFAULT_SERVER_ORDER[0]


def _runtime(model: Model, context: int | str, parallel: int, kv_type: str | tuple[str, str], **rest: Any) -> Runtime:
    from planner.sizing.records import Runtime

    tokens = parse_tokens(context)
    if tokens is None:
        tokens = model.context.native_tokens if model.context else 8192
    if parallel < 1:
        raise UsageError(f"users {parallel} must be at least 1")
    return Runtime(context_tokens=tokens, parallel=parallel, kv_type=parse_kv_type(kv_type), **rest)


def size(
    model: Model | str,
    quant: str,
    server: str | None = None,
    context: int | str = 8192,
    parallel: int = 1,
    kv_type: str | tuple[str, str] = "f16",
    ubatch: int = 512,
    batch: int = 2048,
    flash_attention: bool = True,
    kv_unified: bool = False,
    swa_full: bool = False,
    recipe: str | None = None,
    imatrix: bool = False,
    quantizer: str = "2026",
    catalog: Catalog | None = None,
) -> Footprint:
    """Memory of one model under one runtime, in bytes by part; `context` is what one of `parallel` users gets.

    `server=None` takes the first of llama-server, vllm, mlx-lm that reads the quant; `recipe` names a
    publisher's habits, `quantizer="2024"` the older rule. Raises UnknownName, UsageError.
    """
    from planner.hardware.facts import Hardware
    from planner.servers import SERVERS
    from planner.sizing.artifact import Made
    from planner.sizing.footprint import size_model
    from planner.sizing.records import Placement
    from planner.sizing.tensors import expand

    catalog = catalog or load_catalog()
    resolved, named, server_id = _model_and_quant(catalog, model, quant, server)
    runtime = _runtime(
        resolved,
        context,
        parallel,
        kv_type,
        ubatch=ubatch,
        batch=batch,
        flash_attention=flash_attention,
        kv_unified=kv_unified,
        swa_full=swa_full,
    )
    allocation = SERVERS[server_id].allocation(resolved, named, Hardware(), Placement(kind="cpu"))
    return size_model(
        expand(resolved),
        named,
        runtime,
        allocation,
        server=server_id,
        made=Made(recipe=recipe, imatrix=imatrix, quantizer=quantizer),
    )


def estimate(
    model: Model | str,
    quant: str,
    hardware: Hardware,
    server: str | None = None,
    context: int | str = 8192,
    depth: int | str = 0,
    prompt_tokens: int = 512,
    output_tokens: int = 256,
    concurrency: int = 1,
    kv_type: str | tuple[str, str] = "f16",
    gpu_layers: int | str | None = None,
    cpu_experts: int | str | None = None,
    tensor_parallel: int | None = None,
    engine_build: str | None = None,
    file_bytes: int | None = None,
    numa: str | None = None,
    catalog: Catalog | None = None,
) -> Speed:
    """Decode, prefill, time to first token and throughput on `hardware`, each as an 80 % range.

    Without a placement the one that `recommend` would choose is used and named in `Speed.placement`.
    `depth`: tokens already in the cache. Raises UsageError, UnknownName, NoFeasiblePlan.
    """
    from planner.planning.estimate import estimate_placed

    catalog = catalog or load_catalog()
    resolved, named, server_id = _model_and_quant(catalog, model, quant, server)
    runtime = _runtime(resolved, context, concurrency, kv_type)
    return estimate_placed(
        resolved,
        named,
        server_id,
        hardware,
        runtime,
        depth=parse_tokens(depth) or 0 if depth else 0,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        gpu_layers=gpu_layers,
        cpu_experts=cpu_experts,
        tensor_parallel=tensor_parallel,
        numa=numa,
        file_bytes=file_bytes,
        engine_build=engine_build,
    )


def recommend(
    hardware: Hardware,
    workload: str = "chat",
    *,
    catalog: Catalog | None = None,
    **constraints: Any,
) -> Answer:
    """The plan for a workload on a machine, its runners-up, and why the others lost.

    `constraints` are those of the command as keywords (`users`, `context`, `model`, `quant`, ...).
    Raises NoFeasiblePlan, UsageError, UnknownName.
    """
    from planner.planning.recommend import recommend as decide

    return decide(hardware, *question_of(catalog, workload, constraints))


def why_not(
    hardware: Hardware,
    model: str,
    workload: str = "chat",
    *,
    catalog: Catalog | None = None,
    **constraints: Any,
) -> tuple[Rejected, ...]:
    """What became of each way to run `model`, the best that fits first; empty when it is the plan.

    Raises as `recommend`.
    """
    from planner.planning.why_not import why_not as explain

    known, wanted, limits = question_of(catalog, workload, constraints)
    return explain(hardware, known, wanted, model, limits)


def question_of(
    catalog: Catalog | None, workload: str, constraints: dict[str, Any]
) -> tuple[Catalog, Workload, Constraints]:
    """Catalog (with the person's own matrix), workload and constraints, resolved."""
    from planner.planning.constraints import constraints_from

    known = catalog or load_catalog()
    matrix = constraints.pop("matrix", None)
    if matrix is not None:
        from planner.planning.matrix import validate_matrix

        known = known.with_matrix(Path(matrix))
        validate_matrix(known, str(matrix))
    return known, known.workload(workload), constraints_from(known, constraints)


def render(plan: Plan, target: str, *, catalog: Catalog | None = None, **options: Any) -> Bundle:
    """The files that start a plan: a mapping of relative path to text, with `.modes`. Raises RenderError."""
    from planner.rendering import RenderOptions, render as lay_out

    return lay_out(plan, catalog or load_catalog(), target, RenderOptions(**options))


def doctor(
    paths: Iterable[str | Path] = (),
    *,
    hardware: Hardware | None = None,
    catalog: Catalog | None = None,
    users: int | None = None,
) -> tuple[Finding, ...]:
    """What will go wrong in files that start servers, or, without paths, on `hardware` itself. `users`: how many will
    send requests at once. Raises UsageError."""
    from planner.doctor import diagnose

    return diagnose(paths, catalog or load_catalog(), hardware, users=users)
