"""Every pitfall in files and on machines: a setup in which it fires, and the same without the fault, which is passed in
silence."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.doctor import diagnose, host_findings
from planner.doctor.records import Finding
from planner.hardware.facts import Cpu, Disk, Gpu, Hardware, Link, Memory, NumaNode, Os
from planner.hardware.files import load_hardware
from planner.hardware.what_if import what_if
from planner.planning.pitfalls.register import PITFALLS
from planner.units import GIB

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/bundle"))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def machine_of(catalog: Catalog, gpus: str | None = "RTX 4090", nodes: int = 1) -> Hardware:
    named = [gpus] if gpus else []
    return what_if(catalog, gpus=named, cores=32, ram="128GiB", ram_bandwidth="200GB/s", numa_nodes=nodes)


# One GPU, two slots of 8,192 tokens.
LLAMA = """services:
  model:
    image: ghcr.io/ggml-org/llama.cpp:server-cuda-b11434
    command: [--model, /models/Qwen3-14B-Q4_K_M.gguf, --ctx-size, "16384", --parallel, "2", --temp, "0.6",
      --load-mode, mmap, --api-key-file, /run/secrets/api_key]
    ports: ["127.0.0.1:8080:8080"]
    healthcheck: {test: [CMD, curl, -fsS, "http://127.0.0.1:8080/health"]}
    mem_limit: 20g
    restart: unless-stopped
    deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ["0"], capabilities: [gpu]}]}}}
"""
ON_CPU = LLAMA.replace("server-cuda-b11434", "server-b11434").partition("    deploy:")[0]
OLLAMA = """services:
  model:
    image: docker.io/ollama/ollama:0.33.0
    environment: {OLLAMA_CONTEXT_LENGTH: "16384", OLLAMA_NUM_PARALLEL: "2"}
    healthcheck: {test: [CMD, ollama, ls]}
    mem_limit: 20g
    restart: unless-stopped
"""
# Two GPUs that share the layers.
VLLM = """services:
  model:
    image: docker.io/vllm/vllm-openai:v0.33.0
    command: [--model, Qwen/Qwen3-14B-AWQ, --max-model-len, "8192", --pipeline-parallel-size, "2"]
    environment: {VLLM_NO_USAGE_STATS: "1"}
    healthcheck: {test: [CMD, python3, -c, pass]}
    mem_limit: 20g
    restart: unless-stopped
    gpus: all
"""
UNIT = """[Service]
ExecStart=/usr/bin/numactl --interleave=all -- /usr/bin/llama-server --model /m/Qwen3-14B-Q4_K_M.gguf \\
  --host 127.0.0.1 --port 8080 --ctx-size 8192 --parallel 1
MemoryMax=20G
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
TWICE = LLAMA + LLAMA.partition("\n")[2].replace("  model:", "  other:", 1).replace("8080:8080", "8081:8080")
NAMED = "Qwen3-14B-Q4_K_M.gguf"
SLOTS = '"16384", --parallel, "2"'


class Case(NamedTuple):
    """A sound file, a machine, and what is replaced to break the file."""

    sound: str
    old: str
    new: str
    gpus: str | None = "RTX 4090"
    nodes: int = 1
    display: int | None = None


FILES = {
    "weights-over-memory": Case(LLAMA, NAMED, "Qwen3-32B-Q8_0.gguf"),
    "moe-by-active": Case(LLAMA, NAMED, "Qwen3-30B-A3B-Q8_0.gguf"),
    "context-over-memory": Case(LLAMA, SLOTS, '"122880", --parallel, "1"'),
    "kv-unbudgeted": Case(LLAMA, SLOTS, '"262144", --parallel, "8"'),
    "limit-below-need": Case(ON_CPU, "mem_limit: 20g", "mem_limit: 8g", None),
    "port-taken": Case(TWICE, "8081:8080", "8080:8080", "RTX 5090:1"),
    "numa-unbound": Case(UNIT, "/usr/bin/numactl --interleave=all -- ", "", None, 2),
    "narrow-link": Case(VLLM, "--pipeline-parallel-size", "--tensor-parallel-size", "RTX 3090:2"),
    "gpu-shared": Case(TWICE, '"16384", --parallel, "2"', '"98304", --parallel, "4"', "RTX 5090:1"),
    "memlock": Case(ON_CPU, "--load-mode, mmap", "--load-mode, mlock", None),
    "slots-share-context": Case(LLAMA, '"16384"', '"6144"'),
    "single-slot": Case(LLAMA, '--parallel, "2"', '--parallel, "1"'),
    "ollama-context": Case(OLLAMA, 'OLLAMA_CONTEXT_LENGTH: "16384", ', ""),
    "over-quantized-reasoning": Case(LLAMA, NAMED, "gpt-oss-20b-Q2_K.gguf"),
    "context-beyond-native": Case(ON_CPU, '"16384"', '"131072"', None),
    "thinking-deterministic": Case(LLAMA, '--temp, "0.6"', '--temp, "0"'),
    "sampling-vendor": Case(LLAMA, '--temp, "0.6"', '--temp, "1.5"'),
    "sampling-batch": Case(LLAMA, '--temp, "0.6"', '--temp, "0.6", --seed, "7"'),
    "sixteen-bit": Case(ON_CPU, "Q4_K_M", "BF16", None),
    "gated-model": Case(LLAMA, f"--model, /models/{NAMED}", '-hf, "unsloth/gemma-3-12b-it-GGUF:Q4_K_M"'),
    "license-non-commercial": Case(LLAMA, NAMED, "Qwen2.5-Coder-3B-Instruct-Q4_K_M.gguf"),
    "long-context": Case(LLAMA, '"16384"', '"98304"'),
    "gpu-display": Case(LLAMA, 'device_ids: ["0"]', 'device_ids: ["1"]', "RTX 4090:2", display=1),
}
# Every card of these machines hangs on a riser: only tensor parallelism is at fault for it.
NARROW = Link(generation=3, width=4)


def of_file(folder: Path, catalog: Catalog, case: Case, text: str) -> tuple[Finding, ...]:
    machine = machine_of(catalog, case.gpus, case.nodes)
    gpus = (replace(gpu, link=NARROW, display=index == case.display) for index, gpu in enumerate(machine.gpus))
    machine = replace(machine, gpus=tuple(gpus))
    file = folder / ("model.service" if text.startswith("[") else "compose.yaml")
    file.write_text(text)
    return diagnose([file], catalog, machine, users=2)


def test_every_pitfall_of_files_has_a_case() -> None:
    assert set(FILES) == {pitfall.id for pitfall in PITFALLS if "file" in pitfall.sides}


@pytest.mark.parametrize("rule", FILES)
def test_a_pitfall_is_found_in_a_file_and_only_there(catalog: Catalog, tmp_path: Path, rule: str) -> None:
    case = FILES[rule]
    sound = {finding.rule_id for finding in of_file(tmp_path, catalog, case, case.sound)}
    assert sound <= ({"single-slot"} if case.sound is UNIT else set())
    assert case.old in case.sound
    findings = of_file(tmp_path, catalog, case, case.sound.replace(case.old, case.new, 1))
    told = [finding for finding in findings if finding.rule_id == rule]
    assert told, [(finding.rule_id, finding.text) for finding in findings]
    pitfall = next(pitfall for pitfall in PITFALLS if pitfall.id == rule)
    assert all(finding.text and finding.fix and finding.severity in pitfall.severities for finding in told)
    assert all(finding.place.startswith(str(tmp_path)) for finding in told)


def test_units_of_one_folder_run_side_by_side(catalog: Catalog, tmp_path: Path) -> None:
    machine = machine_of(catalog, "RTX 4090")
    for name in ("one", "two"):
        (tmp_path / f"{name}.service").write_text(UNIT.replace("8192", "24576"))
    both = {(finding.rule_id, Path(finding.place).name) for finding in diagnose([tmp_path], catalog, machine)}
    assert ("port-taken", "two.service: Service.ports") in both
    assert ("gpu-shared", "two.service: Service") in both
    assert diagnose([tmp_path / "two.service"], catalog, machine) == ()
    (tmp_path / "two.service").write_text(UNIT.replace("8080", "8081").replace("--ctx", "--device none --ctx"))
    assert diagnose([tmp_path], catalog, machine) == ()


def test_a_port_that_a_program_listens_on_already_is_a_warning(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(LLAMA)
    machine = replace(machine_of(catalog), os=Os(name="linux", listening_ports=(22, 8080)))
    assert [(f.rule_id, f.severity) for f in diagnose([file], catalog, machine)] == [("port-taken", "warning")]
    assert diagnose([file], catalog, replace(machine, os=Os(name="linux", listening_ports=(22,)))) == ()


@pytest.mark.parametrize(
    ("gpus", "length"), [(None, "4k"), ("RTX 4060", "4k"), ("RTX 4090", "32k"), ("RTX PRO 6000 Blackwell", "256k")]
)
def test_ollama_s_own_context_follows_the_memory_of_its_cards(
    catalog: Catalog, tmp_path: Path, gpus: str | None, length: str
) -> None:
    """server/routes.go of Ollama 0.33: 4,096 tokens below 23 GiB of VRAM, 32,768 below 47, 262,144 from there on."""
    file = tmp_path / "ollama.sh"
    file.write_text("ollama serve\n")
    said = {f.rule_id: f.text for f in diagnose([file], catalog, machine_of(catalog, gpus))}
    assert f"so it is {length} tokens here" in said["ollama-context"]


def test_a_modelfile_beside_the_file_sets_the_context(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(OLLAMA.replace('OLLAMA_CONTEXT_LENGTH: "16384", ', ""))
    assert [finding.rule_id for finding in diagnose([tmp_path], catalog)] == ["ollama-context"]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "Modelfile").write_text("FROM qwen3:14b\nPARAMETER num_ctx 16384\n")
    assert diagnose([tmp_path], catalog) == ()


def test_what_a_long_context_costs_is_said_with_its_figures(catalog: Catalog, tmp_path: Path) -> None:
    """Qwen3-14B: 40 layers of 8 KV heads of 128, in 16 bit: 160 KiB a token, so 7.5 GiB at 48k tokens."""
    said = {
        f.rule_id: f.text for f in of_file(tmp_path, catalog, FILES["long-context"], LLAMA.replace("16384", "98304"))
    }
    assert "48k tokens: up to 7.5 GiB of cache each" in said["long-context"]
    assert "attention is" in said["long-context"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_own_bundles_are_silent_on_their_machine_too(catalog: Catalog, example: Path) -> None:
    assert diagnose([example / "bundle"], catalog, load_hardware(example / "hardware.json")) == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_own_bundles_need_no_manifest_to_be_free_of_errors(catalog: Catalog, tmp_path: Path, example: Path) -> None:
    """An edited bundle is judged like anybody's file: what its plan weighed is told, and nothing is an error."""
    for file in (example / "bundle" / "systemd").rglob("*.service"):
        (tmp_path / file.name).write_text(file.read_text())
    if any(tmp_path.iterdir()):
        findings = diagnose([tmp_path], catalog, load_hardware(example / "hardware.json"))
        weighed = {pitfall.id for pitfall in PITFALLS if pitfall.weighed}
        assert {finding.rule_id for finding in findings} <= weighed


HEALTHY = Hardware(
    cpu=Cpu(governors=("powersave",), frequency_driver="intel_pstate", energy_preferences=("balance_performance",)),
    memory=Memory(total_bytes=64 * GIB, swap_total_bytes=0, swap_used_bytes=0),
    numa_nodes=tuple(NumaNode(id=node, bandwidth_bytes_per_s=100e9) for node in (0, 1)),
    gpus=tuple(
        Gpu(vendor="nvidia", name="RTX", backend="cuda", link=Link(generation=4, width=16), display=False)
        for _ in range(2)
    ),
    disk=Disk(free_bytes=500 * GIB),
    os=Os(name="linux", numa_balancing=False, transparent_hugepages="madvise"),
)
MEMORY, SYSTEM, CARD = HEALTHY.memory, HEALTHY.os, HEALTHY.gpus[0]
HOSTS = {
    "numa-balancing": [replace(HEALTHY, os=replace(SYSTEM, numa_balancing=True))],
    "huge-pages": [replace(HEALTHY, os=replace(SYSTEM, transparent_hugepages="never"))],
    "power-saving": [
        replace(HEALTHY, cpu=replace(HEALTHY.cpu, frequency_driver="acpi-cpufreq")),
        replace(HEALTHY, cpu=replace(HEALTHY.cpu, energy_preferences=("power",))),
    ],
    "swap": [replace(HEALTHY, memory=replace(MEMORY, swap_total_bytes=8 * GIB))],
    "swap-in-use": [replace(HEALTHY, memory=replace(MEMORY, swap_total_bytes=8 * GIB, swap_used_bytes=2 * GIB))],
    "container-limit": [replace(HEALTHY, memory=replace(MEMORY, limit_bytes=16 * GIB))],
    "disk-full": [replace(HEALTHY, disk=Disk(free_bytes=4 * GIB))],
    "gpu-display": [replace(HEALTHY, gpus=(replace(CARD, display=True), CARD))],
    "narrow-link": [
        replace(HEALTHY, gpus=(CARD, replace(CARD, link=Link(generation=3, width=width)))) for width in (1, 4)
    ],
    "bandwidth-unknown": [replace(HEALTHY, numa_nodes=(NumaNode(id=0), HEALTHY.numa_nodes[1]))],
}


def test_every_pitfall_of_machines_has_a_case() -> None:
    assert set(HOSTS) == {pitfall.id for pitfall in PITFALLS if "host" in pitfall.sides}


def test_a_healthy_machine_is_passed_in_silence() -> None:
    assert host_findings(HEALTHY) == ()
    assert host_findings(Hardware()) == ()


@pytest.mark.parametrize("rule", HOSTS)
def test_a_pitfall_of_a_machine_is_found_alone(rule: str) -> None:
    for machine in HOSTS[rule]:
        findings = {finding.rule_id for finding in host_findings(machine)}
        assert findings - ({"swap"} if rule == "swap-in-use" else set()) == {rule}
        assert all(finding.fix and finding.place for finding in host_findings(machine))


def test_cards_joined_by_nvlink_do_not_wait_for_their_lanes() -> None:
    joined = tuple(replace(CARD, link=Link(generation=3, width=4), nvlink_peers=(1 - index,)) for index in (0, 1))
    assert host_findings(replace(HEALTHY, gpus=joined)) == ()
