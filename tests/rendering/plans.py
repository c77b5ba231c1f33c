"""Plans made by hand, with the launches that feed the templates: what a server room would say, frozen here."""

from __future__ import annotations

from msgspec.structs import replace

from planner.catalog.records import Image, Workload
from planner.catalog.records.policy import Sampling
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode, Os
from planner.planning.plan import Plan, Router, RouterEndpoint, RowQuote, Warning as PlanWarning
from planner.rendering.deployment import Unit
from planner.servers.records import Argument, ConfigFile, Health, Launch, ModelSource, Mount, Service
from planner.sizing.records import Footprint, Placement
from planner.speed.records import Range, Speed
from planner.units import GIB

DIGEST = "sha256:" + "ab" * 32
KEY = Argument(text="api_key", kind="secret")
MODELS = Mount(source="models", name="models", target="/models")


def words(text: str) -> tuple[Argument, ...]:
    return tuple(Argument(text=word) for word in text.split())


def in_models(name: str) -> Argument:
    return Argument(text=name, kind="models")


def footprint(model: str, quant: str, server: str, total_gib: int) -> Footprint:
    weights = total_gib * GIB - 3 * GIB
    return Footprint(
        model=model,
        quant=quant,
        server=server,
        file_bytes=weights,
        tensor_bytes=weights,
        weights_bytes=weights,
        kv_cache_bytes=2 * GIB,
        state_bytes=0,
        compute_bytes=GIB,
        overhead_bytes=0,
        bits_per_weight=4.9,
        read_bytes_per_token=weights,
        kv_bytes_per_token=163_840,
    )


def speed(decode: float) -> Speed:
    return Speed(
        decode_tokens_per_s=Range(low=decode * 0.8, expected=decode, high=decode * 1.1),
        prefill_tokens_per_s=Range(low=decode * 20, expected=decode * 25, high=decode * 30),
        ttft_s=Range(low=0.5, expected=0.7, high=1.1),
    )


def plan(hardware: Hardware, services: tuple[Service, ...], router: Router | None = None) -> Plan:
    return Plan(
        workload=Workload(id="chat", title="Chat", prompt_tokens=512, output_tokens=256, context_tokens=8192),
        hardware=hardware,
        catalog_digest="0123456789ab",
        services=services,
        router=router,
        warnings=(PlanWarning(rule_id="test", severity="note", text="A note of the plan.", fix="None needed."),),
        matrix_row=RowQuote(id="row", title="Row", because="because", cost="cost"),
    )


def numa_machine() -> Hardware:
    """Two sockets of 16 cores, Linux, no GPU."""
    nodes = tuple(NumaNode(id=n, cpus=tuple(range(16 * n, 16 * n + 16)), memory_bytes=128 * GIB) for n in (0, 1))
    return Hardware(
        cpu=Cpu(model="Xeon", cores=32, threads=32, sockets=2),
        numa_nodes=nodes,
        memory=Memory(total_bytes=256 * GIB),
        os=Os(name="linux"),
    )


def cpu_unit(name: str = "interactive", nodes: tuple[int, ...] = (0,), instances: int = 1, port: int = 8080) -> Unit:
    """llama-server bound to NUMA nodes."""
    file = "Qwen3-14B-Q4_K_M.gguf"
    source = ModelSource(uri=f"hf:Qwen/Qwen3-14B-GGUF@abc123/{file}", file_names=(file,), download_bytes=9_001_752_960)
    placement = Placement(kind="cpu", numa="bind", numa_nodes=nodes, instances=instances, text=f"CPU, node {nodes[0]}")
    service = Service(
        name=name,
        role="interactive",
        model="qwen3-14b",
        model_name="Qwen3 14B",
        quant="Q4_K_M",
        server="llama-server",
        backend="cpu",
        placement=placement,
        footprint=footprint("qwen3-14b", "Q4_K_M", "llama-server", 12),
        speed=speed(9.0),
        sampling=Sampling(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0),
        context=8192,
        parallel=2,
        source=source,
        port=port,
        threads=16,
    )
    launch = Launch(
        service=name,
        role="interactive",
        server="llama-server",
        argv=(
            *words("llama-server --model"),
            in_models(file),
            *words(f"--alias qwen3-14b --host 127.0.0.1 --port {port} --ctx-size 16384 --parallel 2 --threads 16"),
            *words("--numa numactl --load-mode mlock --fit off --temp 0.6 --top-p 0.95 --top-k 20 --min-p 0"),
            Argument(text="--api-key-file"),
            KEY,
            *words("--metrics --no-ui"),
        ),
        image="ghcr.io/ggml-org/llama.cpp:server-b11434",
        backend="cpu",
        mounts=(MODELS, Mount(source="secret", name="api_key", target="/run/secrets/api_key")),
        numa="bind",
        numa_nodes=nodes,
        instances=instances,
        health=Health(path="/health", argv=("curl", "-fsS", "-o", "/dev/null", f"http://127.0.0.1:{port}/health")),
        port=port,
        served_name="qwen3-14b",
        memory_bytes=14 * GIB,
        locks_memory=True,
        start_seconds=90,
        download=source,
        notes=("Bound to the memory of one node.",),
    )
    image = Image(backend="cpu", reference="ghcr.io/ggml-org/llama.cpp:server-b11434", programs=("curl",), user="65532")
    return Unit(service=service, launch=launch, image=image)


def gpu_machine() -> Hardware:
    """Two RTX 3090 and a server CPU, Linux."""
    gpus = tuple(
        Gpu(
            vendor="nvidia",
            name="NVIDIA GeForce RTX 3090",
            backend="cuda",
            uuid=f"GPU-0000000{n}-1111-2222-3333-444444444444",
            memory_bytes=24 * GIB,
        )
        for n in (0, 1)
    )
    return replace(numa_machine(), gpus=gpus)


def gpu_unit(name: str = "interactive") -> Unit:
    """vLLM over both cards."""
    folder = "Qwen3-14B-AWQ"
    source = ModelSource(uri="hf:Qwen/Qwen3-14B-AWQ@main", file_names=(folder,), download_bytes=9_960_000_000)
    service = Service(
        name=name,
        role="interactive",
        model="qwen3-14b",
        model_name="Qwen3 14B",
        quant="AWQ",
        server="vllm",
        backend="cuda",
        placement=Placement(kind="tensor-parallel", gpus=(0, 1), tensor_parallel=2, text="2 x RTX 3090"),
        footprint=footprint("qwen3-14b", "AWQ", "vllm", 30),
        speed=speed(95.0),
        sampling=Sampling(temperature=0.6),
        context=16384,
        parallel=16,
        source=source,
        port=8000,
    )
    probe = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"
    launch = Launch(
        service=name,
        role="interactive",
        server="vllm",
        argv=(
            *words("vllm serve"),
            in_models(folder),
            *words("--served-model-name qwen3-14b --host 127.0.0.1 --port 8000 --max-model-len 16384"),
            *words("--max-num-seqs 16 --tensor-parallel-size 2 --scheduling-policy priority"),
            Argument(text="--override-generation-config"),
            Argument(text='{"temperature": 0.6}'),
        ),
        environment=(("HF_HUB_OFFLINE", "1"), ("VLLM_NO_USAGE_STATS", "1")),
        secret_environment=(("VLLM_API_KEY", "api_key"),),
        image=f"vllm/vllm-openai:v0.33.0@{DIGEST}",
        image_entrypoint_words=2,
        backend="cuda",
        gpu_uuids=tuple(gpu.uuid or "" for gpu in gpu_machine().gpus),
        gpu_indexes=(0, 1),
        mounts=(MODELS, Mount(source="cache", name="vllm", target="/home/vllm/.cache", read_only=False)),
        health=Health(path="/health", argv=("python3", "-c", probe)),
        port=8000,
        served_name="qwen3-14b",
        memory_bytes=24 * GIB,
        shm_bytes=8 * GIB,
        start_seconds=600,
        download=source,
    )
    image = Image(backend="cuda", reference="vllm/vllm-openai:v0.33.0", digest=DIGEST, user="2000:0")
    return Unit(service=service, launch=launch, image=image)


def batch_unit() -> Unit:
    """llama-server on the second socket, for batch work beside the GPUs."""
    unit = cpu_unit("batch", nodes=(1,), port=8081)
    service = replace(unit.service, role="batch")
    return replace(unit, service=service, launch=replace(unit.launch, role="batch"))


def team() -> tuple[Plan, tuple[Unit, ...]]:
    """Interactive on the GPUs, batch on the CPU, a router in front."""
    units = (gpu_unit(), batch_unit())
    endpoints = (
        RouterEndpoint(service="interactive", role="interactive", models=("qwen3-14b",)),
        RouterEndpoint(service="batch", role="batch", models=("qwen3-14b",)),
    )
    router = Router(endpoints=endpoints, reason="two endpoints")
    return plan(gpu_machine(), tuple(u.service for u in units), router), units


def cpu() -> tuple[Plan, tuple[Unit, ...]]:
    """One llama-server on NUMA node 0."""
    units = (cpu_unit(),)
    return plan(numa_machine(), tuple(u.service for u in units)), units


def per_node() -> tuple[Plan, tuple[Unit, ...]]:
    """One llama-server per NUMA node, behind a router."""
    units = (cpu_unit(nodes=(0, 1), instances=2),)
    endpoint = RouterEndpoint(service="interactive", role="interactive", models=("qwen3-14b",))
    router = Router(endpoints=(endpoint,), reason="two endpoints")
    return plan(numa_machine(), tuple(u.service for u in units), router), units


def mac() -> tuple[Plan, tuple[Unit, ...]]:
    """mlx-lm on an Apple chip: no key of its own, so behind the router."""
    folder = "Qwen3-14B-4bit"
    source = ModelSource(uri="hf:mlx-community/Qwen3-14B-4bit@main", file_names=(folder,))
    hardware = Hardware(
        gpus=(Gpu(vendor="apple", name="Apple M4 Max", backend="metal", memory_bytes=64 * GIB, unified=True),),
        memory=Memory(total_bytes=64 * GIB),
        os=Os(name="macos"),
    )
    service = Service(
        name="interactive",
        role="interactive",
        model="qwen3-14b",
        model_name="Qwen3 14B",
        quant="MLX-4bit",
        server="mlx-lm",
        backend="metal",
        placement=Placement(kind="unified", gpus=(0,), text="Apple M4 Max"),
        footprint=footprint("qwen3-14b", "MLX-4bit", "mlx-lm", 11),
        speed=speed(50.0),
        sampling=Sampling(),
        context=8192,
        parallel=1,
        source=source,
        port=8080,
    )
    launch = Launch(
        service="interactive",
        role="interactive",
        server="mlx-lm",
        argv=(*words("mlx_lm.server --model"), in_models(folder), *words("--host 127.0.0.1 --port 8080 --temp 0.6")),
        environment=(("HF_HUB_OFFLINE", "1"),),
        backend="metal",
        gpu_indexes=(0,),
        health=Health(path="/health"),
        port=8080,
        served_name="default_model",
        has_key=False,
        start_seconds=60,
        download=source,
    )
    endpoint = RouterEndpoint(service="interactive", role="interactive", models=("qwen3-14b",))
    router = Router(endpoints=(endpoint,), reason="mlx-lm has no key of its own")
    return plan(hardware, (service,), router), (Unit(service=service, launch=launch),)


def ollama() -> tuple[Plan, tuple[Unit, ...]]:
    """Ollama on the CPU, behind the router, with a Modelfile."""
    base = cpu_unit()
    source = ModelSource(uri="ollama:qwen3:14b")
    service = replace(base.service, server="ollama", source=source, port=11434, placement=Placement(kind="cpu"))
    launch = Launch(
        service="interactive",
        role="interactive",
        server="ollama",
        argv=words("ollama serve"),
        environment=(
            ("OLLAMA_HOST", "127.0.0.1:11434"),
            ("OLLAMA_CONTEXT_LENGTH", "8192"),
            ("OLLAMA_NUM_PARALLEL", "2"),
        ),
        image="ollama/ollama:0.33.0",
        mounts=(Mount(source="models", name="models", target="/root/.ollama/models", read_only=False),),
        config_files=(ConfigFile(path="interactive.Modelfile", text="FROM qwen3:14b\nPARAMETER num_ctx 8192\n"),),
        health=Health(path="/api/version", argv=("ollama", "list")),
        port=11434,
        bind_option="environment",
        bind_variable="OLLAMA_HOST",
        models_environment=("OLLAMA_MODELS",),
        served_name="qwen3-14b",
        has_key=False,
        memory_bytes=14 * GIB,
        prepare=(("ollama", "pull", "qwen3:14b"), ("ollama", "create", "qwen3-14b", "-f", "interactive.Modelfile")),
        download=source,
    )
    endpoint = RouterEndpoint(service="interactive", role="interactive", models=("qwen3-14b",))
    router = Router(endpoints=(endpoint,), reason="Ollama has no key of its own")
    return plan(numa_machine(), (service,), router), (Unit(service=service, launch=launch),)


CASES = {"cpu-numa": cpu, "team-router": team, "per-node": per_node, "mac": mac, "ollama": ollama}
