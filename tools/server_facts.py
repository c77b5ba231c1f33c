"""Writes catalog/servers.yaml from option lists that were extracted from the servers' own sources.

    python tools/server_facts.py FOLDER > catalog/servers.yaml

FOLDER holds one JSON file per server: `flags` (name, aliases, negations, takes_value, choices, removed), `env` (name),
`removed`, `removed_env`, `not_env`, `not_present`, and for configuration files `runner_options`, `sampling_options`,
`modelfile_instructions`, `model_yaml_keys`. Versions, images and what replaced a removed name stand below.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

GITHUB_IMAGES = "ghcr.io/ggml-org/llama.cpp"

# What somebody measured of an earlier release; the images in use may be larger or smaller.
VLLM_CUDA_DISK = {"disk_bytes": 28_600_000_000, "disk_source": "vllm-openai of December 2025: vllm-project/vllm#22377"}
OLLAMA_DISK = {"disk_bytes": 3_302 * 2**20, "disk_source": "ollama/ollama of March 2025: ollama/ollama#9982"}
LLAMA_CUDA_DISK = {
    "disk_bytes": 2_600_000_000,
    "disk_source": "server-cuda of June 2026, still compressed: huggingface/hub-docs#2593",
}

# Flags whose list in the source is only a hint. Choices that plugins extend are closed here: the images have none.
OPEN_CHOICES = {"--poll-batch", "--poll-draft", "--poll-batch-draft"}

HEADERS: dict[str, dict[str, Any]] = {
    "ollama": {
        "name": "Ollama",
        "version": "0.33.0",
        "formats": ["gguf"],
        "port": 11434,
        "executable": "ollama",
        # Ubuntu 24.04 with ca-certificates, libvulkan1, libopenblas0: no curl (Dockerfile).
        "images": [
            {"backend": backend, "reference": "docker.io/ollama/ollama:0.33.0", "programs": ["ollama", "bash"],
             **OLLAMA_DISK}
            for backend in ("cuda", "vulkan", "cpu")
        ]
        + [{"backend": "rocm", "reference": "docker.io/ollama/ollama:0.33.0-rocm", "programs": ["ollama", "bash"]}],
        "removed": {
            "OLLAMA_NUM_GPU": "PARAMETER num_gpu in the Modelfile",
            "OLLAMA_NUM_THREADS": "PARAMETER num_thread in the Modelfile",
            "OLLAMA_NUMA": "numactl in front of the server",
            "OLLAMA_MAX_VRAM": "OLLAMA_GPU_OVERHEAD",
        },
        "sources": ["ollama v0.33.0-rc2: envconfig/config.go, cmd/cmd.go, api/types.go, llm/llama_server.go"],
    },
    "vllm": {
        "name": "vLLM",
        "version": "0.33.0",
        "formats": ["hf"],
        "port": 8000,
        "executable": "vllm",
        "images": [
            {"backend": "cuda", "reference": "docker.io/vllm/vllm-openai:v0.33.0", "user": "2000:0",
             "programs": ["vllm", "python3", "curl", "bash"], **VLLM_CUDA_DISK},
            {"backend": "rocm", "reference": "docker.io/vllm/vllm-openai-rocm:v0.33.0",
             "programs": ["vllm", "python3", "bash"]},
            {"backend": "cpu", "reference": "docker.io/vllm/vllm-openai-cpu:v0.33.0",
             "programs": ["vllm", "python3", "bash"]},
        ],
        "removed": {
            "--swap-space": "--kv-offloading-size",
            "--task": "--runner or --convert",
            "--device": None,
            "--enable-reasoning": "--reasoning-parser",
            "--guided-decoding-backend": "--structured-outputs-config",
            "VLLM_ATTENTION_BACKEND": "--attention-backend",
        },
        "sources": ["vllm 0.33.0: vllm/engine/arg_utils.py, vllm/entrypoints/common/cli_args.py, vllm/envs.py"],
    },
    "mlx-lm": {
        "name": "MLX-LM",
        "version": "0.32.2",
        "formats": ["mlx"],
        "port": 8080,
        "executable": "mlx_lm.server",
        "images": [],
        "removed": {"--max-kv-size": None, "--context-length": None, "--api-key": "the router's key"},
        "sources": ["mlx-lm 0.32.2 wheel: mlx_lm/server.py"],
    },
    "localai": {
        "name": "LocalAI",
        "version": "4.9.0",
        "formats": ["gguf"],
        "port": 8080,
        "executable": "local-ai",
        # The Dockerfile's health check is curl.
        "images": [
            {"backend": backend, "reference": f"docker.io/localai/localai:v4.9.0{suffix}",
             "programs": ["local-ai", "curl", "bash"]}
            for backend, suffix in (("cuda", "-gpu-nvidia-cuda-13"), ("rocm", "-gpu-hipblas"), ("sycl", "-gpu-intel"),
                                    ("vulkan", "-gpu-vulkan"), ("cpu", ""))
        ],
        "removed": {},
        "sources": ["LocalAI v4.9.0+22: core/cli/run.go, core/config/model_config.go, backend/cpp/llama-cpp"],
    },
    "llama-server": {
        "name": "llama-server (llama.cpp)",
        "version": "b11434",
        "formats": ["gguf"],
        "port": 8080,
        "executable": "llama-server",
        "images": [
            {"backend": backend, "reference": f"{GITHUB_IMAGES}:server{suffix}-b11434",
             "programs": ["llama-server", "curl", "bash"], **(LLAMA_CUDA_DISK if backend == "cuda" else {})}
            for backend, suffix in (("cuda", "-cuda"), ("rocm", "-rocm"), ("vulkan", "-vulkan"), ("sycl", "-intel"),
                                    ("cpu", ""))
        ],
        "removed": {},
        "sources": ["llama.cpp b11434: tools/server/README.md, common/arg.cpp, docs/docker.md, .devops/"],
    },
}  # fmt: skip

# What LocalAI's llama-cpp and diffusers backends read from `options: ["name:value"]`, as far as it is used here
# (grpc-server.cpp, backend.py).
LOCALAI_OPTIONS = ("parallel", "n_cpu_moe", "cpu_moe", "fit_params", "kv_unified", "cache_ram", "ubatch", "split_mode",
                   "device", "pooling", "reasoning_budget", "threads_batch", "use_jinja", "torch_dtype",
                   "mmproj_use_gpu")  # fmt: skip


def names(flag: dict[str, Any]) -> list[str]:
    return [flag["name"], *(name for key in ("aliases", "negations", "hidden_negations") for name in flag.get(key, ()))]


def removed(data: dict[str, Any], replaced: dict[str, str | None]) -> dict[str, str | None]:
    gone: dict[str, str | None] = {entry["name"]: entry.get("use") for entry in data.get("removed", ())}
    for flag in data["flags"]:
        if flag.get("removed"):
            gone.update({name: gone.get(name) for name in names(flag)})
    for key in ("removed_env", "not_env", "not_present"):
        gone.update(dict.fromkeys(data.get(key, ())))
    return {**gone, **{name: use for name, use in replaced.items() if use or name not in gone}}


def config_keys(data: dict[str, Any]) -> list[str]:
    keys = list(data.get("modelfile_instructions", ()))
    keys += [f"PARAMETER {name}" for part in ("runner_options", "sampling_options") for name in data.get(part, ())]
    for group, members in data.get("model_yaml_keys", {}).items():
        inside = {"ModelConfig": "", "LLMConfig": ""}.get(group, f"{group.removesuffix('Config').casefold()}.")
        keys += [f"{inside}{name}" for name in members]
    if "model_yaml_keys" in data:
        keys += [f"options.{name}" for name in LOCALAI_OPTIONS]
        keys.append("parameters.model")  # of the request type that the parameters embed (core/config/prediction.go)
    return sorted(set(keys))


def facts(server: str, data: dict[str, Any]) -> dict[str, Any]:
    header = dict(HEADERS[server])
    gone = removed(data, header.pop("removed"))
    sources = header.pop("sources")
    live = [flag for flag in data["flags"] if flag["name"].startswith("-") and not flag.get("removed")]
    switches = [
        name for flag in live for name in (names(flag) if not flag.get("takes_value") else flag.get("negations", ()))
    ]
    choices = {
        flag["name"]: [str(choice) for choice in flag["choices"]]
        for flag in live
        if flag.get("choices") and flag["name"] not in OPEN_CHOICES
    }
    return {
        **header,
        "flags": sorted({name for flag in live for name in names(flag)}),
        "switches": sorted(set(switches)),
        "choices": choices,
        "environment": sorted({variable["name"] for variable in data["env"]} - set(gone)),
        "config_keys": config_keys(data),
        "removed": gone,
        "sources": sources,
    }


def wrapped(values: list[str], indent: str) -> str:
    lines, line = [], indent
    for value in values:
        word = json.dumps(value) + ", "
        if len(line) + len(word) > 120:
            lines.append(line.rstrip())
            line = indent
        line += word
    return "\n".join([*lines, line.rstrip().rstrip(",")])


def emit(server: str, entry: dict[str, Any]) -> str:
    out = [f"- id: {server}"]
    for key, value in entry.items():
        if key == "images":
            out.append("  images:" if value else "  images: []")
            out += [f"  - {json.dumps(image)}" for image in value]
        elif isinstance(value, dict):
            out.append(f"  {key}:" if value else f"  {key}: {{}}")
            for name, inner in value.items():
                text = f"    {json.dumps(name)}: {json.dumps(inner)}"
                if isinstance(inner, list) and len(text) > 120:
                    text = f"    {json.dumps(name)}: [\n{wrapped(inner, '      ')}]"
                out.append(text)
        elif isinstance(value, list):
            flat = f"  {key}: {json.dumps(value)}"
            out.append(flat if len(flat) <= 120 else f"  {key}: [\n{wrapped(value, '    ')}]")
        else:
            out.append(f"  {key}: {json.dumps(value)}")
    return "\n".join(out)


def main(folder: Path) -> None:
    print("# The servers: one version each, its images, and every name that this version accepts.")
    print("# Written by tools/server_facts.py; edit there.")
    for server in HEADERS:
        data = json.loads((folder / f"{server}.json").read_text())
        print(emit(server, facts(server, data)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
