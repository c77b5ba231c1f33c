"""Every rule of the doctor: a file that it fires on, and one beside it on which it keeps silent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.doctor import diagnose, findings_of, host_findings
from planner.doctor.compose import read_compose
from planner.doctor.programs import PROGRAMS
from planner.doctor.property_list import read_property_list
from planner.doctor.records import Document, Finding, Served
from planner.doctor.units import read_quadlet, read_script, read_unit
from planner.errors import UsageError
from planner.hardware.facts import Disk, Gpu, Hardware, Link, Memory, NumaNode, Os
from planner.hardware.files import load_hardware
from planner.hardware.what_if import what_if
from planner.planning.pitfalls.register import PITFALLS

ROOT = Path(__file__).parents[2]
SEED = Path(__file__).parent / "stacks" / "seed.compose.yaml"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def found(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.rule_id, finding.severity) for finding in findings}


def test_the_stack_that_is_still_copied_around_is_told_every_fault(catalog: Catalog) -> None:
    findings = diagnose([SEED], catalog)
    said = {(finding.rule_id, finding.place.partition("services.")[2].partition(".")[0]) for finding in findings}
    assert said >= {
        ("compose-version", ""),
        ("gpu-runtime", "vllm-gpu"),
        ("image-latest", "vllm-gpu"),
        ("image-latest", "ollama-cpu"),
        ("variable-removed", "vllm-gpu"),
        ("flag-pointless", "vllm-gpu"),
        ("model-unknown", "vllm-gpu"),
        ("quantization-mismatch", "vllm-gpu"),
        ("variable-removed", "ollama-cpu"),
        ("port-open", "vllm-gpu"),
        ("port-open", "ollama-cpu"),
        ("port-open", "inference-router"),
        ("waits-started", "inference-router"),
        ("health-missing", "vllm-gpu"),
    }
    assert all(finding.text and finding.fix for finding in findings)
    assert any("Qwen/Qwen3-14B-AWQ" in (finding.fix or "") for finding in findings)


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in (ROOT / "examples").glob("*/bundle")))
def test_what_planner_renders_is_healthy(catalog: Catalog, folder: str) -> None:
    assert diagnose([ROOT / "examples" / folder / "bundle"], catalog) == ()


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "tests/golden").iterdir()))
def test_golden_bundles_are_healthy(catalog: Catalog, folder: str) -> None:
    golden = ROOT / "tests" / "golden" / folder
    if any(golden.rglob("*.y*ml")) or any(golden.rglob("*.service")) or any(golden.rglob("*.sh")):
        assert diagnose([golden], catalog) == ()


AGENT = """<plist version="1.0"><dict>
<key>Label</key><string>me.mlx</string>
<key>ProgramArguments</key>
<array><string>/usr/local/bin/mlx_lm.server</string><string>--host</string><string>127.0.0.1</string></array>
<key>EnvironmentVariables</key><dict><key>HF_HUB_OFFLINE</key><string>1</string></dict>
<key>KeepAlive</key><true/>
</dict></plist>
"""
AGENT_FAULTS = {
    "flag-unknown": ("--host", "--hosts"),
    "flag-removed": ("--host", "--max-kv-size"),
    "secret-inline": ("HF_HUB_OFFLINE</key><string>1", "HF_TOKEN</key><string>hf_abc"),
    "port-open": ("127.0.0.1", "0.0.0.0"),
    "restart-missing": ("<key>KeepAlive</key><true/>", ""),
    "plist-broken": ("</dict></plist>", ""),
}


@pytest.mark.parametrize("rule", AGENT_FAULTS)
def test_a_property_list_of_launchd_is_read(catalog: Catalog, rule: str) -> None:
    old, new = AGENT_FAULTS[rule]
    assert old in AGENT
    assert findings_of([read_property_list("a.plist", AGENT)], catalog) == ()
    broken = read_property_list("a.plist", AGENT.replace(old, new))
    assert rule in {finding.rule_id for finding in findings_of([broken], catalog)}


@pytest.mark.parametrize(
    "text", ["", "<plist><string>x</string></plist>", "<plist><dict/></plist>", "\x00", "bplist00"]
)
def test_any_other_property_list_holds_no_program(text: str) -> None:
    assert read_property_list("a.plist", text).served == ()


GOOD = """
services:
  model:
    image: ghcr.io/ggml-org/llama.cpp:server-cuda-b11434
    command: [--model, /models/a.gguf, --ctx-size, "16384", --parallel, "2", --api-key-file, /run/secrets/api_key]
    ports: ["127.0.0.1:8080:8080"]
    healthcheck: {test: [CMD, curl, -fsS, "http://127.0.0.1:8080/health"]}
    mem_limit: 20g
    restart: unless-stopped
    deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ["0"], capabilities: [gpu]}]}}}
  front:
    image: example/front:1.0
    depends_on: {model: {condition: service_healthy}}
"""
FAULTS = {
    "flag-unknown": ("--parallel", "--paralel"),
    "flag-removed": ("--ctx-size", "--draft-max"),
    "slots-share-context": ('"16384"', '"4096"'),
    "image-latest": (":server-cuda-b11434", ":latest"),
    "image-digest": (":server-cuda-b11434", "@sha256:12ab"),
    "port-open": ("127.0.0.1:8080:8080", "8080:8080"),
    "port-range": ("127.0.0.1:8080:8080", "127.0.0.1:80800:8080"),
    "health-missing": ("    healthcheck: {test: [CMD, curl, -fsS, \"http://127.0.0.1:8080/health\"]}\n", ""),
    "health-program": ("[CMD, curl", "[CMD, wget"),
    "waits-started": ("{model: {condition: service_healthy}}", "[model]"),
    "restart-unknown": ("unless-stopped", "unless-stoped"),
    "restart-missing": ("    restart: unless-stopped\n", ""),
    "memory-unlimited": ("    mem_limit: 20g\n", ""),
    "privileged": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    privileged: true\n"),
    "host-network": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    network_mode: host\n"),
    "gpu-runtime": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    runtime: nvidia\n"),
    "secret-in-command": ("--api-key-file, /run/secrets/api_key", "--api-key, sk-123"),
    "secret-inline": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    environment: {HF_TOKEN: hf_abc}\n"),
    "variable-unknown": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    environment: {LLAMA_ARG_CTX: '1'}\n"),
    "variable-removed": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    environment: {LLAMA_ARG_MLOCK: '1'}\n"),
    "file-missing": ("    mem_limit: 20g\n", "    mem_limit: 20g\n    volumes: ['./missing:/models']\n"),
    "compose-version": ("\nservices:", "\nversion: '3.8'\nservices:"),
    "yaml-broken": ("    mem_limit: 20g\n", "    mem_limit: [20g\n"),
}  # fmt: skip


def of_text(folder: Path, catalog: Catalog, text: str, name: str = "compose.yaml") -> tuple[Finding, ...]:
    (folder / name).write_text(text)
    return diagnose([folder / name], catalog)


def test_a_sound_compose_file_is_passed_in_silence(catalog: Catalog, tmp_path: Path) -> None:
    assert of_text(tmp_path, catalog, GOOD) == ()


@pytest.mark.parametrize("rule", FAULTS)
def test_one_fault_in_a_sound_compose_file_is_found(catalog: Catalog, tmp_path: Path, rule: str) -> None:
    old, new = FAULTS[rule]
    assert old in GOOD
    findings = of_text(tmp_path, catalog, GOOD.replace(old, new, 1))
    assert rule in {finding.rule_id for finding in findings}
    assert all(finding.place.startswith(str(tmp_path)) for finding in findings)


def test_two_servers_on_one_gpu_or_port_are_found(catalog: Catalog, tmp_path: Path) -> None:
    twice = GOOD.replace(
        "  front:", GOOD.split("services:\n")[1].split("  front:")[0].replace("model:", "other:") + "  front:"
    )
    assert found(of_text(tmp_path, catalog, twice)) == {("gpu-shared", "warning"), ("port-taken", "error")}


def test_waiting_for_health_that_nobody_checks_never_ends(catalog: Catalog, tmp_path: Path) -> None:
    findings = of_text(tmp_path, catalog, GOOD.replace("healthcheck:", "x-healthcheck:"))
    assert ("waits-never", "error") in found(findings)


UNIT = """[Service]
ExecStart=/usr/bin/numactl --cpunodebind=0 --membind=0 -- /usr/bin/llama-server --model /m/a.gguf --host 127.0.0.1
MemoryMax=20G
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
UNIT_FAULTS = {
    "flag-unknown": ("--host 127.0.0.1", "--hosts 127.0.0.1"),
    "port-open": ("--host 127.0.0.1", "--host 0.0.0.0"),
    "memory-unlimited": ("MemoryMax=20G\n", ""),
    "restart-unknown": ("on-failure", "on-failur"),
    "restart-missing": ("Restart=on-failure\n", ""),
    "unit-wanted-by": ("multi-user.target", "mutli-user.target"),
    "unit-syntax": ("MemoryMax=20G", "MemoryMax 20G"),
    "file-missing": ("MemoryMax=20G", "MemoryMax=20G\nEnvironmentFile=missing.env"),
    "numa-unbound": ("/usr/bin/numactl --cpunodebind=0 --membind=0 -- ", ""),
    "secret-inline": ("MemoryMax=20G", "MemoryMax=20G\nEnvironment=LLAMA_API_KEY=abc"),
}


@pytest.mark.parametrize("rule", UNIT_FAULTS)
def test_one_fault_in_a_sound_unit_is_found(catalog: Catalog, tmp_path: Path, rule: str) -> None:
    two_nodes = what_if(catalog, cores=32, ram="256GiB", ram_bandwidth="300GB/s", numa_nodes=2)
    file = tmp_path / "model.service"
    file.write_text(UNIT)
    assert diagnose([file], catalog, two_nodes) == ()
    old, new = UNIT_FAULTS[rule]
    assert old in UNIT
    file.write_text(UNIT.replace(old, new))
    assert rule in {finding.rule_id for finding in diagnose([file], catalog, two_nodes)}


def test_a_script_a_quadlet_a_manifest_and_modelfiles_are_read(catalog: Catalog, tmp_path: Path) -> None:
    script = "#!/bin/sh\nexport OLLAMA_NUM_GPU=0\nOLLAMA_CONTEXT_LENGTH=8192 exec ollama serve\n"
    assert "variable-removed" in {
        f.rule_id for f in of_text(tmp_path, catalog, "OLLAMA_MAX_VRAM=1 ollama serve\n", "a.sh")
    }
    assert ("variable-removed", "error") in found(of_text(tmp_path, catalog, script, "b.sh"))
    quadlet = "[Container]\nImage=docker.io/vllm/vllm-openai:v0.33.0\nExec=--model Qwen/Qwen3-14B --swap-space 4\n"
    assert ("flag-removed", "error") in found(of_text(tmp_path, catalog, quadlet, "a.container"))
    manifest = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {hostNetwork: true,"
        " containers: [{name: m, image: 'vllm/vllm-openai:v0.33.0', args: [--model, Qwen/Qwen3-14B]}]}}}\n"
    )
    assert ("host-network", "warning") in found(of_text(tmp_path, catalog, manifest, "k.yaml"))
    assert ("key-unknown", "error") in found(of_text(tmp_path, catalog, "FROM a\nPARAMETER num_ctxx 1\n", "Modelfile"))
    localai = "name: a\nbackend: llama-cpp\nparameters: {model: a.gguf}\ncontext_sizes: 1\n"
    assert ("key-unknown", "error") in found(of_text(tmp_path, catalog, localai, "model.yaml"))


def test_what_the_doctor_cannot_read_is_a_mistake_of_the_caller(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UsageError):
            diagnose([path], catalog)


def test_the_host_is_told_what_hurts(catalog: Catalog) -> None:
    link = Link(generation=3, width=1)
    sick = Hardware(
        os=Os(name="linux", numa_balancing=True, transparent_hugepages="never"),
        memory=Memory(total_bytes=2**36, limit_bytes=2**34, swap_total_bytes=2**33),
        numa_nodes=(NumaNode(id=0), NumaNode(id=1)),
        gpus=tuple(Gpu(vendor="nvidia", name="RTX", backend="cuda", link=link, display=True) for _ in range(2)),
        disk=Disk(free_bytes=2**30),
    )
    assert {finding.rule_id for finding in host_findings(sick)} == {
        "numa-balancing", "huge-pages", "swap", "container-limit", "disk-full", "gpu-display", "narrow-link",
        "bandwidth-unknown",
    }  # fmt: skip
    assert host_findings(what_if(catalog, cores=8, ram="64GiB", ram_bandwidth="80GB/s")) == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
HARDWARE = load_hardware(ROOT / "examples" / "2x-rtx-3090" / "hardware.json")
KEYS = st.sampled_from(
    ["image", "command", "entrypoint", "environment", "ports", "healthcheck", "depends_on", "deploy", "volumes",
     "restart", "runtime", "env_file", "gpus", "profiles"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(service=st.dictionaries(KEYS, VALUES))
def test_no_shape_of_a_compose_file_ends_the_doctor(catalog: Catalog, service: dict[str, object]) -> None:
    document = read_compose("compose.yaml", {"services": {"a": service}})
    for machine in (None, HARDWARE):
        findings_of([document], catalog, machine, users=2)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=200))
def test_no_text_ends_the_doctor(catalog: Catalog, text: str) -> None:
    for read in (read_unit, read_quadlet, read_script):
        for written in (text, f"ExecStart=llama-server {text}"):
            findings_of([read("file", written)], catalog, HARDWARE, users=2)


FLAGS = [
    "--model", "-m", "-hf", "-c", "-np", "-ngl", "-ncmoe", "-ctk", "--temp", "--seed", "--port", "--max-model-len",
    "--tensor-parallel-size", "--max-num-seqs", "--gpu-memory-utilization", "--quantization", "--kv-cache-dtype",
    "--override-generation-config",
]  # fmt: skip
MODELS = ["/m/Qwen3-14B-Q4_K_M.gguf", "/m/Qwen3-30B-A3B-Q8_0.gguf", "Qwen/Qwen3-14B-AWQ", "Qwen/Qwen3-30B-A3B"]
VALUE = st.sampled_from(["0", "-1", "8", "99999999", "32k", "", "x", "1e999", "$A", *MODELS]) | st.text(max_size=6)
WORDS = st.lists(st.tuples(st.sampled_from(FLAGS), VALUE), max_size=6)


@settings(max_examples=200, deadline=None)
@given(words=WORDS, server=st.sampled_from(["llama-server", "vllm", "mlx-lm", "localai"]))
def test_no_words_end_the_doctor(catalog: Catalog, words: list[tuple[str, str]], server: str) -> None:
    argv = (server, "--model", "/m/Qwen3-14B-Q4_K_M.gguf", *(word for pair in words for word in pair))
    served = Served(kind="unit", place="a", name="a", server=server, argv=argv)
    findings_of([Document(path="a", kind="unit", served=(served,))], catalog, HARDWARE, users=2)


def test_a_manifest_whose_parts_do_not_meet_is_found(catalog: Catalog, tmp_path: Path) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: a}}\n"
        "  template:\n    metadata: {labels: {app: a}}\n    spec:\n      volumes: [{name: models}]\n"
        "      containers: [{name: m, image: 'example/m:1', volumeMounts: [{name: models, mountPath: /m}]}]\n"
    )
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}}\n"
    assert of_text(tmp_path, catalog, deployment + service, "k.yaml") == ()
    other = of_text(tmp_path, catalog, deployment + service.replace("{app: a}", "{app: b}"), "k.yaml")
    assert found(other) == {("selector-mismatch", "error")}
    mount = of_text(tmp_path, catalog, deployment.replace("[{name: models, mount", "[{name: model, mount"), "k.yaml")
    assert found(mount) == {("volume-undefined", "error")}


def test_a_secret_file_that_is_missing_is_found(catalog: Catalog, tmp_path: Path) -> None:
    text = GOOD.replace("    mem_limit: 20g\n", "    mem_limit: 20g\n    secrets: [key]\n")
    text += "secrets: {key: {file: ./key.txt}}\n"
    assert found(of_text(tmp_path, catalog, text)) == {("file-missing", "error")}
    (tmp_path / "key.txt").write_text("k")
    assert of_text(tmp_path, catalog, text) == ()


def documented(section: str) -> list[tuple[str, ...]]:
    """The rows of the table below a heading of docs/doctor.md, cell by cell."""
    text = (ROOT / "docs" / "doctor.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if "|" in line]
    return rows[2:]


def test_every_rule_of_files_is_documented_and_every_documented_rule_exists() -> None:
    code = "".join(path.read_text() for path in (ROOT / "planner" / "doctor").glob("*.py"))
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)",\s*"(?:error|warning|note)"', code))
    named |= set(re.findall(r'(?:rule_id=|finding\(\s*|_broken\([^"]*)"([a-z]+(?:-[a-z]+)+)"', code))
    rules = {rule for row in documented("Files") for rule in re.findall(r"`([a-z-]+)`", row[0])}
    assert len(named) >= 24
    assert named <= rules
    assert {rule for rule in rules if f'"{rule}"' not in code} <= {
        f"{kind}-{fault}" for kind in ("flag", "variable", "key") for fault in ("unknown", "removed")
    }


def test_the_table_of_pitfalls_is_the_register() -> None:
    assert documented("Pitfalls of plans, files and machines") == [
        (f"`{pitfall.id}`", ", ".join(pitfall.severities), ", ".join(pitfall.sides), pitfall.wrong)
        for pitfall in PITFALLS
    ]


def test_the_programs_it_knows_are_those_of_the_catalog() -> None:
    assert {facts.executable: server for server, facts in load_catalog().servers.items()} == PROGRAMS
