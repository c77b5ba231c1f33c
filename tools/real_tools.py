"""Obtain the real tools that tests judge by: llama.cpp's own binaries, Docker Compose, podman's Quadlet generator,
kubectl, promtool, kubernetes-validate, MLX-LM for the CPU, LiteLLM, pre-commit and check-jsonschema.

Nothing is installed. Packages of a newer Debian suite are unpacked into a cache folder, through the mirror that apt
already uses; a private apt state keeps the system's lists untouched. Python programs get a virtual environment each
there: what they bring along weighs on nothing else. One wrapper script per tool lands in `bin/`.

    python tools/real_tools.py            obtain what is missing, print the folder to put on PATH
    python tools/real_tools.py --print    print the folder only
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

SID = [
    "llama.cpp-tools",
    "libllama0",
    "libggml0",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libgomp1",
    "libssl3t64",
    "zlib1g",
    "libzstd1",
]
TRIXIE = ("docker-compose", "podman", "kubectl", "promtool")
# Program -> the requirements of its environment; what stands before `-with-` is the program's name there. MLX-LM is the
# version that catalog/servers.yaml describes; mlx[cpu] runs it without Apple's GPU (352 MB).
PYTHON_TOOLS = {
    "mlx_lm.server": ("mlx-lm==0.32.2", "mlx[cpu]==0.32.4"),
    # Its library, which reads the proxy's configuration and does the proxy's routing (369 MB); the rest of the proxy is
    # not needed for that.
    "python-with-litellm": ("litellm==1.109.1",),
    "pre-commit": ("pre-commit==4.7.0",),
    "check-jsonschema": ("check-jsonschema==0.39.0",),
    "kubernetes-validate": ("kubernetes-validate==1.37.0",),
}
LLAMA_TOOLS = ("llama-server", "llama-quantize", "llama-bench", "llama-cli")
SYSTEM_TOOLS = {
    "numactl": "numactl",
    "systemd-analyze": "systemd",
    "lscpu": "util-linux",
    "lstopo": "hwloc",
    "haproxy": "haproxy",
}


def cache_folder() -> Path:
    """Where unpacked tools are kept between runs, outside the checkout."""
    base = os.environ.get("PLANNER_REAL_TOOLS")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "planner-real-tools"


def mirror() -> str:
    """The Debian mirror that apt uses on this machine."""
    printed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    sites = [site for site in printed if "security" not in site]
    if not sites:
        raise SystemExit("apt knows no package source yet: run `apt-get update` first")
    return sites[0]


def unpack(suite: str, packages: tuple[str, ...] | list[str], folder: Path) -> None:
    """Download `packages` of `suite` with a private apt state and unpack them below `folder`."""
    state = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "empty"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (state / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror()} {suite} main\n")
    options = [
        f"Dir::State={state}",
        f"Dir::State::Lists={state}/lists",
        f"Dir::State::status={state}/status",
        f"Dir::Cache={state}/cache",
        f"Dir::Etc::SourceList={state}/sources.list",
        "Dir::Etc::SourceParts=/dev/null",
        "APT::Sandbox::User=root",
    ]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    subprocess.run([*apt, "update"], check=True)
    downloads = folder / "debs"
    downloads.mkdir(exist_ok=True)
    subprocess.run([*apt, "download", *packages], cwd=downloads, check=True)
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True)
    shutil.rmtree(state)
    shutil.rmtree(downloads)


def script(path: Path, text: str) -> None:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


# ggml's builds for x86-64 and what each needs of /proc/cpuinfo, the best first, as ggml's own loader would choose.
CPU_BACKENDS: dict[str, set[str]] = {
    "sapphirerapids": {"avx512_bf16", "avx512vbmi", "avx512_vnni", "avx512_fp16", "amx_int8"},
    "zen4": {"avx512_bf16", "avx512vbmi", "avx512_vnni"},
    "cooperlake": {"avx512_bf16", "avx512_vnni"},
    "icelake": {"avx512vbmi", "avx512_vnni"},
    "cascadelake": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
    "cannonlake": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi"},
    "skylakex": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "alderlake": {"avx2", "fma", "f16c", "bmi2", "avx_vnni"},
    "haswell": {"avx2", "fma", "f16c", "bmi2"},
    "sandybridge": {"avx"},
    "sse42": {"sse4_2"},
    "x64": set(),
}


def cpu_backend(folder: Path) -> Path:
    """The ggml CPU library that suits this machine's instruction set, the plain one otherwise."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    found = {path.name: path for path in (folder / "root").rglob("libggml-cpu-*.so")}
    for name, needed in CPU_BACKENDS.items():
        if needed <= flags and f"libggml-cpu-{name}.so" in found:
            return found[f"libggml-cpu-{name}.so"]
    raise SystemExit(f"no ggml CPU backend among {sorted(found)}")


def obtain_llama(folder: Path) -> None:
    """llama-server and its sisters, started through their own dynamic loader."""
    home = folder / "llama"
    if not (home / "done").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        unpack("sid", SID, home)
        (home / "done").touch()
    libraries = next((home / "root").rglob("libggml-cpu-*.so")).parents[2]
    loader = next(iter(sorted((home / "root").rglob("ld-linux-*.so.*"))))
    paths = ":".join(str(libraries / part) for part in ("", "llama", "ggml", "ggml/backends0"))
    for tool in LLAMA_TOOLS:
        script(
            folder / "bin" / tool,
            f'#!/bin/sh\nexport GGML_BACKEND_PATH="{cpu_backend(home)}"\n'
            f'exec "{loader}" --library-path "{paths}" "{home}/root/usr/bin/{tool}" "$@"\n',
        )


def obtain_trixie(folder: Path) -> None:
    """Docker Compose v2 itself, whose `config` needs no engine, the generator that reads Quadlets, kubectl, whose
    `kustomize` needs no cluster, and promtool, which tests alert rules without a Prometheus."""
    home = folder / "trixie" / "-".join(TRIXIE)
    if not (home / "done").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        unpack("trixie", TRIXIE, home)
        (home / "done").touch()
    plugin = next(
        path for path in (home / "root").rglob("docker-compose") if os.access(path, os.X_OK) and path.is_file()
    )
    script(folder / "bin" / "docker-compose", f'#!/bin/sh\nexec "{plugin}" "$@"\n')
    script(folder / "bin" / "quadlet", f'#!/bin/sh\nexec "{home}/root/usr/libexec/podman/quadlet" "$@"\n')
    for tool in ("kubectl", "promtool"):
        script(folder / "bin" / tool, f'#!/bin/sh\nexec "{home}/root/usr/bin/{tool}" "$@"\n')


def obtain_python_tools(folder: Path) -> None:
    """Each program in a virtual environment that is named by what is in it."""
    for program, requirements in PYTHON_TOOLS.items():
        home = folder / "python" / "-".join(requirements)
        if not (home / "done").is_file():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([home / "bin" / "pip", "install", "--quiet", *requirements], check=True)
            (home / "done").touch()
        own = program.partition("-with-")[0]
        script(folder / "bin" / program, f'#!/bin/sh\nexec "{home}/bin/{own}" "$@"\n')


def missing_system_tools() -> dict[str, str]:
    """Programs that have to be installed, with their Debian package."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # haproxy's place in Debian is not on every user's
    return {tool: package for tool, package in SYSTEM_TOOLS.items() if shutil.which(tool, path=path) is None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the folder only")
    arguments = parser.parse_args()
    folder = cache_folder()
    if not arguments.only_print:
        obtain_llama(folder)
        obtain_trixie(folder)
        obtain_python_tools(folder)
        absent = missing_system_tools()
        if absent:
            print(f"missing: {', '.join(absent)}; apt-get install {' '.join(absent.values())}", file=sys.stderr)
            return 1
    print(folder / "bin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
