"""Rendered files broken on purpose, one fault each: Docker Compose, systemd's verifier, kubernetes-validate or
planner's doctor must object.

The doctor's rules exist for what no tool catches; the others are left to the consumers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.doctor import diagnose
from tests.real.judges import compose_objections, manifest_objections, quadlet_objections, stage, verifier_objections

pytestmark = pytest.mark.tools

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSE = EXAMPLES / "2x-rtx-3090" / "bundle" / "compose"
SYSTEMD = EXAMPLES / "2x-rtx-3090" / "bundle" / "systemd"
QUADLET = EXAMPLES / "2x-rtx-3090" / "bundle" / "quadlet"
MANIFEST = EXAMPLES / "2x-rtx-3090" / "bundle" / "kubernetes" / "interactive.yaml"
PORT = 'host_ip: "127.0.0.1"'
HEALTH = '    healthcheck:\n      test:\n        - "CMD"\n        - "python3"\n'
# What is replaced in compose.yaml (first occurrence), and by what.
COMPOSE_FAULTS = {
    "a tag that moves": ("vllm-openai:v0.33.0", "vllm-openai:latest"),
    "no tag": ("vllm-openai:v0.33.0", "vllm-openai"),
    "a malformed digest": ("vllm-openai:v0.33.0", "vllm-openai@sha256:0123"),
    "a flag of another version": ('"--max-num-seqs"', '"--num-scheduler-steps"'),
    "a misspelt flag": ('"--max-model-len"', '"--max-modell-len"'),
    "a value out of the flag's choices": ('"--cache-type-k"\n      - "f16"', '"--cache-type-k"\n      - "f15"'),
    "a removed variable": ('"VLLM_NO_USAGE_STATS"', '"VLLM_USE_V1"'),
    "an unknown variable": ('"VLLM_NO_USAGE_STATS"', '"VLLM_NO_USAGE_STAT"'),
    "open on every interface": (PORT, 'host_ip: "0.0.0.0"'),
    "open by omission": (f"        {PORT}\n", ""),
    "a port that does not exist": (":-3000}", ":-70000}"),
    "a key in the command": ('"--enable-auto-tool-choice"', '"--api-key"\n      - "abc"'),
    "a key in the environment": ('"HF_HUB_OFFLINE": "1"', '"HF_TOKEN": "hf_abc"'),
    "a misspelt restart policy": ('restart: "unless-stopped"', 'restart: "unless-stoped"'),
    "no restart policy": ('    restart: "unless-stopped"\n', ""),
    "no health check": (HEALTH, '    x-healthcheck:\n      test:\n        - "CMD"\n        - "python3"\n'),
    "a health program that the image lacks": ('- "CMD"\n        - "python3"', '- "CMD"\n        - "wget"'),
    "no memory limit": (re.compile(' +memory: "\\d+b"\n'), ""),
    "privileged": ("    init: true\n", "    init: true\n    privileged: true\n"),
    "the host's network": ('    networks:\n      - "backend"\n', '    network_mode: "host"\n'),
    "a legacy runtime": ("    init: true\n", '    init: true\n    runtime: "nvidia"\n'),
    "an obsolete version line": ('name: "planner"', 'version: "3.8"\nname: "planner"'),
    "a missing mount": ("./config/pull.sh", "./config/pull-it.sh"),
    "an unknown key": ("    init: true\n", "    init: true\n    healtcheck: {}\n"),
    "broken indentation": ("    init: true\n", "   init: true\n"),
    "an undefined network": ('    networks:\n      - "backend"\n', '    networks:\n      - "backhend"\n'),
    "an undefined volume": ('source: "planner-interactive-vllm-cache"', 'source: "planner-interactive-vllm-cash"'),
    "an undefined secret": ('    secrets:\n      - "api_key"\n', '    secrets:\n      - "api_kye"\n'),
    "a wrong type": ('      retries: 4\n', '      retries: "often"\n'),
    "slots that share a small context": ('"61440"', '"10240"'),
    "a secret file that is missing": ('file: "./secrets/api_key"', 'file: "./keys/api_key"'),
    "GPUs by count and by id": ("              count: 2\n",
                                '              count: 2\n              device_ids: ["0"]\n'),
    "waiting for health that nobody checks": (HEALTH, HEALTH.replace("test:", "disable: true\n      test:")),
    "waiting for each other": ('    init: true\n', '    init: true\n    depends_on:\n      - "router"\n'),
}  # fmt: skip
UNIT_FAULTS = {
    "a misspelt flag": ("--parallel 10", "--paralell 10"),
    "a removed flag": ("--load-mode mmap", "--mlock"),
    "a value out of the flag's choices": ("--cache-type-k f16", "--cache-type-k f15"),
    "listening everywhere without a key": ("--host 127.0.0.1 \\\n  --port 8080", "--host 0.0.0.0 \\\n  --port 8080"),
    "a key in the command": ("--api-key-file %d/api-key", "--api-key abc"),
    "no memory limit": (re.compile("MemoryMax=\\d+\n"), ""),
    "a misspelt restart policy": ("Restart=on-failure", "Restart=on-failur"),
    "no restart policy": ("Restart=on-failure\n", ""),
    "an unknown target": ("WantedBy=multi-user.target", "WantedBy=mutli-user.target"),
    "a line that is no setting": ("Type=exec\n", "Type=exec\nMemoryMax 20G\n"),
    "an unknown key": ("Type=exec\n", "Type=exec\nMemoryMaximum=20G\n"),
    "an unknown section": ("[Install]", "[Instal]"),
    "a program that is not there": ("ExecStart=/usr/local/bin/llama-server", "ExecStart=/usr/local/bin/llama-srver"),
    "a relative program": ("ExecStart=/usr/local/bin/llama-server", "ExecStart=./bin/llama-server"),
    "an environment file that is missing": ("Type=exec\n", "Type=exec\nEnvironmentFile=planner.env\n"),
    "a specifier in a NUMA mask": ("Type=exec\n", "Type=exec\nNUMAPolicy=bind\nNUMAMask=%i\n"),
    "a specifier in a CPU list": ("Type=exec\n", "Type=exec\nCPUAffinity=%i\n"),
    "a NUMA policy without nodes": ("Type=exec\n", "Type=exec\nNUMAPolicy=bind\n"),
    "a NUMA mask that is none": ("Type=exec\n", "Type=exec\nNUMAPolicy=bind\nNUMAMask=zero\n"),
    "a system call group that does not exist": ("@system-service", "@system-sevice"),
    "a size in no unit": ("MemorySwapMax=0", "MemorySwapMax=zero"),
    "a key in the environment": ("Type=exec\n", "Type=exec\nEnvironment=HF_TOKEN=hf_abc\n"),
    "an unknown type": ("Type=exec", "Type=execute"),
}


QUADLET_FAULTS = {
    "a tag that moves": ("llama.cpp:server-b11434", "llama.cpp:latest"),
    "a malformed digest": ("llama.cpp:server-b11434", "llama.cpp@sha256:0123"),
    "no image": ("Image=ghcr.io/ggml-org/llama.cpp:server-b11434\n", ""),
    "a misspelt flag": ("--parallel 10", "--paralell 10"),
    "a removed flag": ("--load-mode mmap", "--mlock"),
    "a key in the command": ("--api-key-file /run/secrets/api_key", "--api-key abc"),
    "a key in the environment": ("PidsLimit=4096\n", "PidsLimit=4096\nEnvironment=HF_TOKEN=hf_abc\n"),
    "open on every interface": ("PidsLimit=4096\n", "PidsLimit=4096\nPublishPort=8080:8080\n"),
    "a port that does not exist": ("PidsLimit=4096\n", "PidsLimit=4096\nPublishPort=127.0.0.1:80800:8080\n"),
    "a health program that the image lacks": ('["curl"', '["wget"'),
    "no health check": ("HealthCmd=", "#HealthCmd="),
    "readiness that podman does not know": ("Notify=healthy", "Notify=ready"),
    "a switch that is neither on nor off": ("ReadOnly=true", "ReadOnly=treu"),
    "a limit that is none": ("PidsLimit=4096\n", "PidsLimit=4096\nUlimit=memlock=unbounded\n"),
    "no memory limit": (re.compile("PodmanArgs=--memory=\\d+b\n"), ""),
    "a network that is not there": ("Network=planner.network", "Network=planer.network"),
    "a volume that is not there": ("Tmpfs=/tmp\n", "Tmpfs=/tmp\nVolume=cash.volume:/cache\n"),
    "an unknown key": ("RunInit=true", "RunInitially=true"),
    "an unknown section": ("[Container]", "[Contaner]"),
    "a key of the wrong section": ("Restart=on-failure\n", "Restart=on-failure\nUser=nobody\n"),
    "a misspelt restart policy": ("Restart=on-failure", "Restart=on-failur"),
    "no restart policy": ("Restart=on-failure\n", ""),
    "an unknown target": ("WantedBy=multi-user.target", "WantedBy=mutli-user.target"),
    "privileged": ("PodmanArgs=", "PodmanArgs=--privileged "),
    "the host's network": ("Network=planner.network", "Network=host"),
}


# What the sound unit starts.
PROGRAMS = ("usr/local/bin/llama-server", "bin/sh")

STRATEGY = '  strategy:\n    type: "Recreate"\n'
CLAIM = '        - name: "models"\n          persistentVolumeClaim'
MATCH = '    matchLabels:\n      app.kubernetes.io/part-of: "planner"\n'
STARTUP = """\
          startupProbe:
            httpGet:
              path: "/health"
              port: "http"
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 33
"""
# What is replaced in the manifest of a service (first occurrence), and by what.
MANIFEST_FAULTS = {
    "a tag that moves": ("vllm-openai:v0.33.0", "vllm-openai:latest"),
    "a malformed digest": ("vllm-openai:v0.33.0", "vllm-openai@sha256:0123"),
    "a misspelt flag": ('"--max-model-len"', '"--max-modell-len"'),
    "a removed variable": ('"VLLM_NO_USAGE_STATS"', '"VLLM_USE_V1"'),
    "a key in the command": ('"--enable-auto-tool-choice"', '"--api-key"\n            - "abc"'),
    "a key in the environment": ('- name: "HF_HUB_OFFLINE"\n              value: "1"',
                                 '- name: "HF_TOKEN"\n              value: "hf_abc"'),
    "a selector that no pod matches": (MATCH, MATCH.replace("planner", "plan")),
    "an undefined volume": (CLAIM, CLAIM.replace("models", "model")),
    "a target port that nobody opens": ('targetPort: "http"', 'targetPort: "https"'),
    "a port that does not exist": ("containerPort: 8000", "containerPort: 80000"),
    "an open port": ('type: "ClusterIP"', 'type: "NodePort"'),
    "no startup probe": ("startupProbe:", "x-startupProbe:"),
    "a liveness probe that ends the load": (STARTUP, ""),
    "no memory limit": (re.compile(' +memory: "\\d+"\n( +nvidia.com/gpu: "2"\n +sec)'), r"\1"),
    "a memory limit in no unit": (re.compile('memory: "\\d+"'), 'memory: "19GB"'),
    "a memory limit in thousandths": (re.compile('memory: "(\\d+)"'), r'memory: "\1m"'),
    "half a GPU": ('nvidia.com/gpu: "2"', 'nvidia.com/gpu: "0.5"'),
    "more GPUs requested than allowed": ('nvidia.com/gpu: "2"', 'nvidia.com/gpu: "3"'),
    "an update that needs more GPUs": (STRATEGY, ""),
    "privileged": ("            allowPrivilegeEscalation: false\n", "            privileged: true\n"),
    "the host's network": ("      enableServiceLinks: false\n", "      hostNetwork: true\n"),
    "an API that is gone": ('apiVersion: "apps/v1"', 'apiVersion: "extensions/v1beta1"'),
    "an unknown key": ("      enableServiceLinks: false\n", "      enableServicelinks: false\n"),
    "a wrong type": ("  replicas: 1\n", '  replicas: "one"\n'),
    "broken indentation": ("  replicas: 1\n", " replicas: 1\n"),
    "no selector": ("  selector:\n    matchLabels:\n", "  x-selector:\n    matchLabels:\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_the_bundles_are_sound_before_they_are_broken(catalog: Catalog, tmp_path: Path) -> None:
    assert len(COMPOSE_FAULTS) >= 25
    assert len(UNIT_FAULTS) >= 15
    assert compose_objections(shutil.copytree(COMPOSE, tmp_path / "compose"), "--profile", "*") == ""
    assert verifier_objections(stage(SYSTEMD, tmp_path / "root", PROGRAMS), "planner-batch.service") == ""
    assert manifest_objections(MANIFEST) == ""
    assert quadlet_objections(QUADLET) == ""
    assert diagnose([COMPOSE, SYSTEMD, QUADLET, MANIFEST], catalog) == ()


def broken(text: str, old: str | re.Pattern[str], new: str) -> str:
    """The text with one fault in it."""
    pattern = old if isinstance(old, re.Pattern) else re.compile(re.escape(old))
    made, count = pattern.subn(new if isinstance(old, re.Pattern) else lambda _: new, text, count=1)
    assert count == 1
    return made


@pytest.mark.parametrize("fault", COMPOSE_FAULTS)
def test_a_broken_compose_file_is_caught(catalog: Catalog, tmp_path: Path, fault: str) -> None:
    bundle = shutil.copytree(COMPOSE, tmp_path / "compose")
    file = bundle / "compose.yaml"
    file.write_text(broken(file.read_text(), *COMPOSE_FAULTS[fault]))
    assert diagnose([bundle], catalog) or compose_objections(bundle, "--profile", "*")


@pytest.mark.parametrize("fault", UNIT_FAULTS)
def test_a_broken_unit_is_caught(catalog: Catalog, tmp_path: Path, fault: str) -> None:
    file = tmp_path / "unit" / "planner-batch.service"
    file.parent.mkdir()
    file.write_text(broken((SYSTEMD / file.name).read_text(), *UNIT_FAULTS[fault]))
    root = stage(file.parent, tmp_path / "root", PROGRAMS)
    assert diagnose([file], catalog) or verifier_objections(root, file.name)


@pytest.mark.parametrize("fault", QUADLET_FAULTS)
def test_a_broken_quadlet_is_caught(catalog: Catalog, tmp_path: Path, fault: str) -> None:
    bundle = shutil.copytree(QUADLET, tmp_path / "quadlet")
    file = bundle / "planner-batch.container"
    file.write_text(broken(file.read_text(), *QUADLET_FAULTS[fault]))
    assert diagnose([bundle], catalog) or quadlet_objections(bundle)


@pytest.mark.parametrize("fault", MANIFEST_FAULTS)
def test_a_broken_manifest_is_caught(catalog: Catalog, tmp_path: Path, fault: str) -> None:
    file = tmp_path / MANIFEST.name
    file.write_text(broken(MANIFEST.read_text(), *MANIFEST_FAULTS[fault]))
    assert diagnose([file], catalog) or manifest_objections(file)
