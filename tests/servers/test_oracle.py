"""Nothing reaches a server that its version does not know."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.load import load_catalog
from planner.catalog.records import ServerFacts
from planner.errors import RenderError
from planner.servers.oracle import argv_problems, check_launch, variable_problems
from planner.servers.records import Argument, ConfigFile, Health, Launch, ModelSource
from planner.servers.words import words

FACTS = load_catalog().servers


def start(server: str, *argv: str, **more: object) -> Launch:
    bare = Launch(
        service="chat",
        role="interactive",
        server=server,
        argv=(*words("program"), *(Argument(text=word) for word in argv)),
        health=Health(path="/health"),
        port=8080,
        download=ModelSource(uri="file:x.gguf"),
    )
    return replace(bare, **more)


@pytest.mark.parametrize("facts", FACTS.values(), ids=str)
def test_the_catalog_pins_every_image_and_lists_every_name_once(facts: ServerFacts) -> None:
    assert len(set(facts.flags)) == len(facts.flags)
    assert len(set(facts.environment)) == len(facts.environment)
    assert set(facts.switches) <= set(facts.flags)
    assert set(facts.choices) <= set(facts.flags)
    assert not set(facts.removed) & (set(facts.flags) | set(facts.environment))
    for image in facts.images:
        check_launch(start(facts.id, image=image.reference), facts)


@pytest.mark.parametrize(
    ("server", "argv"),
    [
        ("llama-server", ["--flash-attn", "on", "-c", "8192", "-ngl", "all", "--no-ui", "--load-mode", "none"]),
        # A value may look like an option where the flag takes one.
        ("llama-server", ["--seed", "-1", "--cache-ram", "-1"]),
        (
            "vllm",
            ["serve", "folder", "--max-model-len", "8192", "--no-enable-prefix-caching", "--kv-cache-dtype", "fp8"],
        ),
        ("mlx-lm", ["--model", "folder", "--decode-concurrency", "4"]),
        ("ollama", ["serve"]),
    ],
)
def test_flags_of_the_version_pass(server: str, argv: list[str]) -> None:
    check_launch(start(server, *argv), FACTS[server])


@pytest.mark.parametrize(
    ("server", "argv", "message", "hint"),
    [
        ("llama-server", ["--mlock"], "--mlock was removed", "--load-mode mlock"),
        ("llama-server", ["--no-mmap"], "--no-mmap was removed", "--load-mode none"),
        ("llama-server", ["--draft-max", "4"], "--draft-max was removed", "--spec-draft-n-max"),
        ("llama-server", ["--flash-attn", "--metrics"], "--flash-attn does not take '--metrics'", "on, off, auto"),
        ("llama-server", ["--ctx-sise", "1"], "no flag --ctx-sise", "--ctx-size"),
        ("llama-server", ["--ctx-size"], "needs a value", None),
        ("llama-server", ["--cache-type-k", "fp8"], "does not take 'fp8'", "q8_0"),
        ("vllm", ["serve", "m", "--swap-space", "4"], "--swap-space was removed", "--kv-offloading-size"),
        ("vllm", ["serve", "m", "--task", "embed"], "--task was removed", "--runner"),
        ("vllm", ["serve", "m", "--device", "cpu"], "--device was removed", "leave it out"),
        ("vllm", ["serve", "m", "--quantization", "gguf"], "does not take 'gguf'", "fp8"),
        ("vllm", ["serve", "m", "--tool-call-parser", "gemma3"], "does not take 'gemma3'", None),
        ("mlx-lm", ["--api-key", "x"], "--api-key was removed", "router"),
        ("mlx-lm", ["--max-kv-size", "4096"], "--max-kv-size was removed", None),
        ("ollama", ["serve", "--num-parallel", "4"], "no flag --num-parallel", None),
    ],
)
def test_unknown_and_removed_flags_are_refused(server: str, argv: list[str], message: str, hint: str | None) -> None:
    with pytest.raises(RenderError) as caught:
        check_launch(start(server, *argv), FACTS[server])
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("server", "name", "hint"),
    [
        ("ollama", "OLLAMA_NUM_GPU", "num_gpu"),
        ("ollama", "OLLAMA_NUMA", "numactl"),
        ("ollama", "OLLAMA_CONTEXT_LENGHT", "OLLAMA_CONTEXT_LENGTH"),
        ("vllm", "VLLM_USE_V1", "leave it out"),
        ("vllm", "VLLM_ATTENTION_BACKEND", "--attention-backend"),
        ("llama-server", "LLAMA_ARG_MLOCK", "leave it out"),
        ("localai", "LOCALAI_PARALLEL", None),
    ],
)
def test_unknown_and_removed_variables_are_refused(server: str, name: str, hint: str | None) -> None:
    with pytest.raises(RenderError) as caught:
        check_launch(start(server, environment=((name, "1"),)), FACTS[server])
    assert name in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("server", "file", "key"),
    [
        ("ollama", ConfigFile(path="a.Modelfile", text="FROM x\nPARAMETER num_gqa 8\n"), "num_gqa"),
        ("ollama", ConfigFile(path="a.Modelfile", text="FROM x\nENV A=1\n"), "ENV"),
        ("localai", ConfigFile(path="a.yaml", text="- name: a\n  ctx_size: 4\n"), "ctx_size"),
        ("localai", ConfigFile(path="a.yaml", text="- options: ['paralel:4']\n"), "paralel"),
        ("localai", ConfigFile(path="a.yaml", text="- parameters: {temp: 0}\n"), "parameters.temp"),
    ],
)
def test_unknown_configuration_keys_are_refused(server: str, file: ConfigFile, key: str) -> None:
    with pytest.raises(RenderError, match=key):
        check_launch(start(server, config_files=(file,)), FACTS[server])


def test_all_problems_of_a_command_are_found() -> None:
    argv = ["llama-server", "--mlock", "--flash-attn=yes", "-c=4096", "--no-such", "x", "--ctx-size"]
    texts = [problem.message for problem in argv_problems(argv, FACTS["llama-server"])]
    assert [text.partition(": ")[2] or text for text in texts] == [
        "the flag --mlock was removed",
        "--flash-attn does not take 'yes'",
        "llama-server b11434 has no flag --no-such",
        "--ctx-size needs a value",
    ]
    found = variable_problems(["OLLAMA_HOST", "OLLAMA_NUMA", "OLLAMA_X"], FACTS["ollama"])
    assert len(list(found)) == 2


@pytest.mark.parametrize("reference", ["ollama/ollama", "ollama/ollama:latest", "host:5000/image", "a/b:latest-rocm"])
def test_an_image_without_a_version_is_refused(reference: str) -> None:
    with pytest.raises(RenderError, match="not pinned"):
        check_launch(start("ollama", image=reference), FACTS["ollama"])
