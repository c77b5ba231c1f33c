"""How each server starts: the exact words of key cases, and the rules that hold for every launch."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from planner.catalog.load import load_catalog
from planner.catalog.records import Architecture, Artifacts, Context, Model, Sampling
from planner.catalog.records.architecture import Moe
from planner.errors import RenderError
from planner.hardware.facts import Hardware
from planner.servers import SERVERS
from planner.servers.binding import bound_to, in_container
from planner.servers.llamacpp import expert_blocks_on_cpu
from planner.servers.oracle import check_launch
from planner.servers.records import Launch, ModelSource
from planner.servers.sampling import choose_sampling
from planner.sizing.records import KvType, Placement
from planner.units import GIB
from tests.servers.examples import (
    EMBEDDING,
    GPT_OSS,
    IMAGE,
    MAC,
    MOE,
    ON_CPU,
    ON_GPU,
    QWEN3_14B,
    R1,
    RADEON,
    RTX_4090,
    SERVER,
    TWO_3090,
    UNIFIED,
    quant,
    service,
)

FACTS = load_catalog().servers
BOUND = Placement(kind="cpu", numa="bind", numa_nodes=(0, 1), instances=2)
SPREAD = Placement(kind="cpu", numa="interleave", numa_nodes=(0, 1))
EXPERTS = Placement(kind="experts-in-ram", gpus=(0,), cpu_expert_layers=94)
PAIR = Placement(kind="multi-gpu", gpus=(0, 1))
TENSOR = Placement(kind="tensor-parallel", gpus=(0, 1), tensor_parallel=2)
GREEDY = choose_sampling(QWEN3_14B, "deterministic")

CASES: list[tuple[str, Model, str, Placement, Hardware]] = [
    ("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090),
    ("llama-server", QWEN3_14B, "Q4_K_M", Placement(kind="split", gpus=(0,), gpu_layers=30), RTX_4090),
    ("llama-server", MOE, "Q4_K_M", EXPERTS, RTX_4090),
    ("llama-server", QWEN3_14B, "Q8_0", PAIR, TWO_3090),
    ("llama-server", QWEN3_14B, "Q4_K_M", BOUND, SERVER),
    ("llama-server", QWEN3_14B, "Q4_K_M", SPREAD, SERVER),
    ("llama-server", QWEN3_14B, "Q4_K_M", UNIFIED, MAC),
    ("llama-server", EMBEDDING, "Q8_0", ON_CPU, SERVER),
    ("llama-server", GPT_OSS, "MXFP4_MOE", ON_GPU, RADEON),
    ("vllm", QWEN3_14B, "AWQ", ON_GPU, RTX_4090),
    ("vllm", QWEN3_14B, "BF16", TENSOR, TWO_3090),
    ("vllm", QWEN3_14B, "BF16", PAIR, TWO_3090),
    ("vllm", QWEN3_14B, "BF16", ON_CPU, SERVER),
    ("vllm", R1, "FP8", ON_GPU, RTX_4090),
    ("vllm", GPT_OSS, "MXFP4", ON_GPU, RTX_4090),
    ("vllm", EMBEDDING, "BF16", ON_GPU, RTX_4090),
    ("ollama", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090),
    ("ollama", QWEN3_14B, "Q8_0", Placement(kind="gpu", gpus=(1,)), TWO_3090),
    ("ollama", MOE, "Q4_K_M", EXPERTS, RTX_4090),
    ("ollama", QWEN3_14B, "Q4_K_M", BOUND, SERVER),
    ("ollama", EMBEDDING, "Q8_0", ON_CPU, SERVER),
    ("ollama", QWEN3_14B, "Q4_K_M", UNIFIED, MAC),
    ("localai", QWEN3_14B, "Q5_K_M", ON_CPU, SERVER),
    ("localai", MOE, "Q4_K_M", EXPERTS, RTX_4090),
    ("localai", QWEN3_14B, "Q5_K_M", PAIR, TWO_3090),
    ("localai", EMBEDDING, "Q8_0", ON_GPU, RTX_4090),
    ("localai", IMAGE, "BF16", ON_GPU, RTX_4090),
    ("mlx-lm", QWEN3_14B, "MLX-4bit", UNIFIED, MAC),
    ("mlx-lm", GPT_OSS, "MLX-mxfp4-q8", UNIFIED, MAC),
]


def start(server: str, subject: Model, quant_id: str, placement: Placement, hardware: Hardware, **more: Any) -> Launch:
    planned = service(server, subject, quant_id, placement, hardware, **more)
    return SERVERS[server].launch(planned, subject, quant(quant_id), hardware, FACTS[server])


def line(launch: Launch) -> str:
    """The command with its file words marked."""
    return shlex.join(word.text if word.kind == "text" else f"@{word.kind}/{word.text}" for word in launch.argv)


def value(launch: Launch, flag: str) -> str | None:
    texts = [word.text for word in launch.argv]
    return texts[texts.index(flag) + 1] if flag in texts else None


@pytest.mark.parametrize("intent", ["vendor", "deterministic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].id}-{case[3].kind}")
def test_every_launch_is_known_to_its_server(case: tuple[str, Model, str, Placement, Hardware], intent: Any) -> None:
    server, model, quant_id, placement, hardware = case
    launch = start(server, model, quant_id, placement, hardware, sampling=choose_sampling(model, intent))
    check_launch(launch, FACTS[server])
    assert launch.argv[0].text == FACTS[server].executable
    assert launch.served_name
    assert launch.start_seconds % 30 == 0
    assert launch.start_seconds >= 60
    assert (launch.image is None) == (hardware is MAC)
    assert "0.0.0.0" not in line(launch) + str(launch.environment)
    assert launch.has_key == (server not in ("ollama", "mlx-lm"))
    if launch.image and launch.health.argv:
        image = next(image for image in FACTS[server].images if image.backend == launch.backend)
        assert launch.health.argv[0] in image.programs


def test_llama_server_states_every_size_and_place() -> None:
    launch = start("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090, sampling=choose_sampling(QWEN3_14B, "vendor"))
    assert line(launch) == (
        "llama-server --model @models/Qwen3-14B-Q4_K_M.gguf --alias qwen3-14b --host 127.0.0.1 --port 8080 "
        "--ctx-size 32768 --parallel 4 --fit off --n-gpu-layers all --split-mode none --flash-attn on "
        "--cache-type-k f16 --cache-type-v f16 --batch-size 2048 --ubatch-size 512 --threads 16 --load-mode mmap "
        # An eighth of what nine tenths of 64 GiB leave, in steps of 64 MiB: 7372.8 -> 7360 MiB.
        "--cache-ram 7360 --api-key-file @secret/api_key --metrics --no-ui --no-slots "
        "--temperature 0.6 --top-p 0.95 --top-k 20 --min-p 0"
    )
    # 0.5 GiB for the process and 7360 MiB of prompts, a twentieth and 1 GiB more, in steps of 256 MiB.
    assert launch.memory_bytes == round(9.25 * GIB)
    assert launch.gpu_uuids == ("GPU-aaaa",)
    assert launch.environment == ()


@pytest.mark.parametrize(
    ("placement", "hardware", "words"),
    [
        (
            Placement(kind="split", gpus=(0,), gpu_layers=30),
            RTX_4090,
            "--n-gpu-layers 31",
        ),  # the output layer comes first
        (ON_CPU, RTX_4090, "--n-gpu-layers 0 --device none"),
        (PAIR, TWO_3090, "--n-gpu-layers all --split-mode layer --tensor-split 20,21"),
        (SPREAD, SERVER, "--numa numactl --load-mode none"),
        (BOUND, SERVER, "--threads 16 --numa numactl --load-mode none"),
    ],
)
def test_llama_server_placements(placement: Placement, hardware: Hardware, words: str) -> None:
    assert words in line(start("llama-server", QWEN3_14B, "Q4_K_M", placement, hardware))


def test_numa_policy_names_the_cpus_of_its_nodes() -> None:
    launch = start("llama-server", QWEN3_14B, "Q4_K_M", BOUND, SERVER)
    assert (launch.numa, launch.numa_nodes, launch.instances) == ("bind", (0, 1), 2)
    assert launch.numa_cpus == tuple(range(64))
    assert start("llama-server", QWEN3_14B, "Q4_K_M", ON_CPU, SERVER).numa == "none"


def test_experts_in_ram_count_blocks_from_the_first() -> None:
    assert "--n-cpu-moe 94" in line(start("llama-server", MOE, "Q4_K_M", EXPERTS, RTX_4090))
    # DeepSeek-V3: 61 blocks, the first three dense, so that 10 expert blocks reach to block 12.
    shape = Architecture(layers=61, hidden_size=7168, vocabulary_size=129280,
                         moe=Moe(experts=256, active=8, intermediate_size=2048, dense_layers=3))  # fmt: skip
    deepseek = Model(id="deepseek-v3", name="DeepSeek-V3", family="deepseek-v3", architecture=shape)
    assert expert_blocks_on_cpu(deepseek, replace(EXPERTS, cpu_expert_layers=10)) == 13
    assert expert_blocks_on_cpu(deepseek, replace(EXPERTS, cpu_expert_layers=58)) == 61


def test_a_split_model_is_opened_by_its_first_part() -> None:
    launch = start("llama-server", MOE, "Q4_K_M", EXPERTS, RTX_4090)
    assert "--model @models/Q4_K_M/Qwen3-235B-A22B-Q4_K_M-00001-of-00003.gguf" in line(launch)
    assert len(launch.download.file_names) == 3


VISION = replace(
    QWEN3_14B,
    family="qwen3.5",
    modalities=("text", "image"),
    artifacts=Artifacts(gguf=("bartowski/Qwen_Qwen3.5-27B-GGUF",)),
    published=replace(QWEN3_14B.published, vision_parameters=460_000_000),
)


def test_a_model_that_sees_brings_its_projector() -> None:
    launch = start("llama-server", VISION, "Q4_K_M", ON_GPU, RTX_4090)
    assert launch.download.file_names == ("Qwen_Qwen3.5-27B-Q4_K_M.gguf", "mmproj-Qwen_Qwen3.5-27B-f16.gguf")
    # 11.2 of 24 GiB are planned: the projector's 0.9 GB fit beside them.
    assert "--mmproj @models/mmproj-Qwen_Qwen3.5-27B-f16.gguf --flash-attn" in line(launch)
    planned = service("llama-server", VISION, "Q4_K_M", ON_GPU, RTX_4090)
    pools = tuple(replace(use, weights_bytes=23 * GIB) for use in planned.footprint.pools)
    full = replace(planned, footprint=replace(planned.footprint, pools=pools))
    crowded = SERVERS["llama-server"].launch(full, VISION, quant("Q4_K_M"), RTX_4090, FACTS["llama-server"])
    assert "--no-mmproj-offload" in line(crowded)
    (entry,) = yaml.safe_load(start("localai", VISION, "Q4_K_M", ON_CPU, SERVER).config_files[0].text)
    assert entry["mmproj"] == "mmproj-Qwen_Qwen3.5-27B-f16.gguf"


def test_a_context_beyond_the_trained_one_is_stretched_or_refused() -> None:
    trained = Context(native_tokens=32768, extended_tokens=131072, how="YaRN factor 4.0")
    model = replace(QWEN3_14B, context=trained)
    launch = start("llama-server", model, "Q4_K_M", ON_GPU, RTX_4090, context=65536)
    assert "--rope-scaling yarn --rope-scale 2 --yarn-orig-ctx 32768" in line(launch)
    assert "--rope-scaling" not in line(start("llama-server", model, "Q4_K_M", ON_GPU, RTX_4090, context=32768))
    (entry,) = yaml.safe_load(start("localai", model, "Q4_K_M", ON_GPU, RTX_4090, context=131072).config_files[0].text)
    assert (entry["rope_scaling"], entry["parameters"]["rope_freq_scale"]) == ("yarn", 0.25)
    for server, quant_id in (("vllm", "AWQ"), ("ollama", "Q4_K_M")):
        with pytest.raises(RenderError, match="trained for 32768"):
            start(server, model, quant_id, ON_GPU, RTX_4090, context=65536)
    plain = replace(QWEN3_14B, context=Context(native_tokens=32768))
    with pytest.raises(RenderError, match="trained for 32768"):
        start("llama-server", plain, "Q4_K_M", ON_GPU, RTX_4090, context=65536)


def test_llama_server_switches_thinking_off_and_sets_all_four() -> None:
    launch = start("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090, sampling=GREEDY)
    assert line(launch).endswith("--temperature 0 --top-p 1 --top-k 1 --min-p 0 --seed 42 --reasoning off")
    vendor = start("llama-server", R1, "Q4_K_M", ON_GPU, RTX_4090, sampling=choose_sampling(R1, "vendor"))
    assert line(vendor).endswith("--temperature 0.6 --top-p 0.95 --top-k 0 --min-p 0")


def test_an_embedding_server_takes_no_chat_words() -> None:
    launch = start("llama-server", EMBEDDING, "Q8_0", ON_CPU, SERVER)
    assert line(launch).endswith(
        "--cache-ram 0 --api-key-file @secret/api_key --metrics --no-ui --no-slots --embeddings"
    )


def test_vllm_words() -> None:
    launch = start("vllm", QWEN3_14B, "AWQ", ON_GPU, RTX_4090, sampling=GREEDY, kv_type=KvType(k="fp8", v="fp8"))
    assert line(launch) == shlex.join(
        [
            "vllm", "serve", "@models/Qwen3-14B-AWQ", "--served-model-name", "qwen3-14b", "--host", "127.0.0.1",
            "--port", "8080", "--max-model-len", "8192", "--max-num-seqs", "4", "--max-num-batched-tokens", "2048",
            # 11 of 24 GiB are 45.8 %; 2 GiB and 2 % in whole MiB are 2089 MiB.
            "--gpu-memory-utilization", "0.46", "--kv-cache-memory-bytes", str(2089 * 1024**2),
            "--kv-cache-dtype", "fp8", "--scheduling-policy", "priority", "--enable-auto-tool-choice",
            "--tool-call-parser", "hermes",
            "--reasoning-parser", "qwen3",
            "--override-generation-config", '{"min_p": 0.0, "temperature": 0.0, "top_k": 1, "top_p": 1.0}',
            "--default-chat-template-kwargs", '{"enable_thinking": false}', "--seed", "42",
            "--disable-access-log-for-endpoints", "/health,/metrics", "--fail-on-environ-validation",
        ]
    )  # fmt: skip
    assert launch.secret_environment == (("VLLM_API_KEY", "api_key"),)
    assert launch.image_entrypoint_words == 2


def test_what_vllm_cannot_parse_is_said() -> None:
    """SmolLM3 thinks, and no reasoning parser of vLLM is for it; hermes reads its tool calls."""
    smollm = load_catalog().model("smollm3-3b")
    launch = start("vllm", smollm, "BF16", ON_GPU, RTX_4090)
    assert value(launch, "--tool-call-parser") == "hermes"
    assert value(launch, "--reasoning-parser") is None
    assert any("no reasoning parser for smollm3-3b" in note for note in launch.notes)
    assert not any("parser" in note for note in start("vllm", QWEN3_14B, "AWQ", ON_GPU, RTX_4090).notes)


def test_vllm_ranks_get_shared_memory() -> None:
    launch = start("vllm", QWEN3_14B, "BF16", TENSOR, TWO_3090)
    assert value(launch, "--tensor-parallel-size") == "2"
    assert launch.shm_bytes == 8 * GIB
    assert value(start("vllm", QWEN3_14B, "BF16", PAIR, TWO_3090), "--pipeline-parallel-size") == "2"


def test_vllm_quantizes_while_loading_only_when_told() -> None:
    assert value(start("vllm", R1, "FP8", ON_GPU, RTX_4090), "--quantization") == "fp8"
    assert value(start("vllm", QWEN3_14B, "FP8", ON_GPU, RTX_4090), "--quantization") is None


def test_vllm_pools_embeddings_whole() -> None:
    launch = start("vllm", EMBEDDING, "BF16", ON_GPU, RTX_4090)
    assert value(launch, "--runner") == "pooling"
    assert value(launch, "--max-num-batched-tokens") == "8192"
    assert "--tool-call-parser" not in line(launch)


def test_vllm_never_takes_more_than_its_share() -> None:
    crowded = service("vllm", QWEN3_14B, "AWQ", ON_GPU, RTX_4090)
    pools = tuple(replace(use, weights_bytes=23 * GIB) for use in crowded.footprint.pools)
    crowded = replace(crowded, footprint=replace(crowded.footprint, pools=pools))
    launch = SERVERS["vllm"].launch(crowded, QWEN3_14B, quant("AWQ"), RTX_4090, FACTS["vllm"])
    assert value(launch, "--gpu-memory-utilization") == "0.92"


def test_ollama_modelfile_and_commands() -> None:
    launch = start("ollama", QWEN3_14B, "Q8_0", ON_GPU, RTX_4090, sampling=GREEDY)
    assert line(launch) == "ollama serve"
    assert launch.config_files[0].text == (
        "FROM hf.co/unsloth/Qwen3-14B-GGUF:Q8_0\n"
        "PARAMETER num_ctx 8192\nPARAMETER num_batch 512\nPARAMETER num_gpu 999\n"
        "PARAMETER temperature 0\nPARAMETER top_p 1\nPARAMETER top_k 1\nPARAMETER min_p 0\n"
        "PARAMETER repeat_penalty 1\nPARAMETER seed 42\nSYSTEM /no_think\n"
    )
    assert launch.prepare == (
        ("ollama", "pull", "hf.co/unsloth/Qwen3-14B-GGUF:Q8_0"),
        ("ollama", "create", "qwen3-14b", "-f", "chat.Modelfile"),
    )
    environment = dict(launch.environment)
    assert environment["OLLAMA_CONTEXT_LENGTH"] == "8192"  # per slot
    assert environment["OLLAMA_NUM_PARALLEL"] == "4"
    assert environment["OLLAMA_NO_CLOUD"] == "1"
    assert launch.health.argv == ("ollama", "list")


def test_ollama_without_a_gpu_hides_them() -> None:
    launch = start("ollama", QWEN3_14B, "Q4_K_M", ON_CPU, RTX_4090)
    environment = dict(launch.environment)
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment["OLLAMA_VULKAN"] == "0"
    assert "PARAMETER num_gpu 0\nPARAMETER num_thread 16\n" in launch.config_files[0].text
    assert launch.image == "docker.io/ollama/ollama:0.33.0"


def test_a_gpu_of_several_is_named_outside_containers_only() -> None:
    launch = start("ollama", QWEN3_14B, "Q8_0", Placement(kind="gpu", gpus=(1,)), TWO_3090)
    assert dict(launch.environment)["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb"
    assert (launch.gpu_indexes, launch.gpu_uuids) == ((1,), ("GPU-bbbb",))
    inside = dict(in_container(launch).environment)
    assert "CUDA_VISIBLE_DEVICES" not in inside
    assert inside["OLLAMA_HOST"] == "0.0.0.0:8080"


def test_binding_moves_the_flag_too() -> None:
    launch = start("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090)
    assert value(bound_to(launch, "10.0.0.5"), "--host") == "10.0.0.5"
    assert line(bound_to(launch, "127.0.0.1")) == line(launch)


def test_localai_yaml() -> None:
    launch = start("localai", MOE, "Q4_K_M", EXPERTS, RTX_4090, sampling=GREEDY)
    (entry,) = yaml.safe_load(launch.config_files[0].text)
    assert line(launch) == "local-ai run --models-config-file @config/chat.yaml"
    assert entry["context_size"] == 32768  # over all slots
    assert {"parallel:4", "fit_params:false", "kv_unified:false", "n_cpu_moe:94"} <= set(entry["options"])
    assert entry["parameters"]["temperature"] == 0
    assert entry["parameters"]["model"].endswith("-00001-of-00003.gguf")
    assert entry["chat_template_kwargs"] == {"enable_thinking": False}
    assert dict(launch.environment)["LOCALAI_BACKEND_IMAGES_RELEASE_TAG"] == "v4.9.0"
    assert launch.secret_environment == (("LOCALAI_API_KEY", "api_key"),)


def test_localai_fetches_image_pipelines_itself() -> None:
    launch = start("localai", IMAGE, "BF16", ON_GPU, RTX_4090)
    (entry,) = yaml.safe_load(launch.config_files[0].text)
    assert entry["parameters"] == {"model": "black-forest-labs/FLUX.1-schnell"}
    assert entry["diffusers"] == {"cuda": True, "pipeline_type": "FluxPipeline"}
    assert launch.needs_network
    klein = replace(IMAGE, id="flux.2-klein-4b", family="flux.2")
    (entry,) = yaml.safe_load(start("localai", klein, "BF16", ON_CPU, SERVER).config_files[0].text)
    assert entry["diffusers"] == {"cuda": False, "pipeline_type": "Flux2KleinPipeline"}
    assert launch.download.uri == "localai:black-forest-labs/FLUX.1-schnell"


def test_mlx_words() -> None:
    launch = start("mlx-lm", QWEN3_14B, "MLX-4bit", UNIFIED, MAC, sampling=GREEDY)
    assert line(launch) == (
        "mlx_lm.server --model @models/Qwen3-14B-4bit --host 127.0.0.1 --port 8080 --decode-concurrency 4 "
        "--prompt-concurrency 4 --prompt-cache-size 4 --prompt-cache-bytes 536870912 --max-tokens 4096 "
        "--temp 0 --top-p 1 --top-k 1 --min-p 0 --chat-template-args '{\"enable_thinking\": false}'"
    )
    assert launch.served_name == "default_model"
    assert launch.memory_bytes is None
    quantized = start("mlx-lm", QWEN3_14B, "MLX-4bit", UNIFIED, MAC, kv_type=KvType(k="q8_0", v="q8_0"))
    assert value(quantized, "--kv-bits") == "8"


def test_the_load_budget_follows_the_weights() -> None:
    """9 GiB at 500 MB/s are 19.3 s, with 10 s of llama-server and doubled 58.7 s; 110 GiB need 8 minutes."""
    planned = service("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090)
    assert start("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090).start_seconds == 60
    heavy = replace(planned, footprint=replace(planned.footprint, weights_bytes=110 * GIB))
    launch = SERVERS["llama-server"].launch(heavy, QWEN3_14B, quant("Q4_K_M"), RTX_4090, FACTS["llama-server"])
    assert launch.start_seconds == 510


@pytest.mark.parametrize("server", ["llama-server", "vllm", "ollama", "localai", "mlx-lm"])
@pytest.mark.parametrize("name", ["-rf", "", "a\nPARAMETER num_gpu 0", "a\u2028b", "x\x00y"])
def test_hostile_model_names_are_refused(server: str, name: str) -> None:
    quant_id, placement, hardware = {
        "vllm": ("AWQ", ON_GPU, RTX_4090),
        "mlx-lm": ("MLX-4bit", UNIFIED, MAC),
    }.get(server, ("Q4_K_M", ON_GPU, RTX_4090))
    with pytest.raises(RenderError):
        start(server, QWEN3_14B, quant_id, placement, hardware, model=name)


@pytest.mark.parametrize("name", ["it's", 'say "hi"', "a b", "$X %n `id`", "{{x}}", "#c", "no", "1e3"])
def test_odd_model_names_stay_one_word(name: str) -> None:
    launch = start("llama-server", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090, model=name)
    assert value(launch, "--alias") == name
    (entry,) = yaml.safe_load(start("localai", QWEN3_14B, "Q4_K_M", ON_CPU, SERVER, model=name).config_files[0].text)
    assert entry["name"] == name


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "-m", "a\\b", "~/x"])
@pytest.mark.parametrize("server", ["llama-server", "localai"])
def test_files_outside_the_models_folder_are_refused(server: str, name: str) -> None:
    source = ModelSource(uri=f"file:{name}", file_names=(name,))
    with pytest.raises(RenderError):
        start(server, QWEN3_14B, "Q4_K_M", ON_CPU, SERVER, source=source)


def test_a_name_that_ollama_cannot_carry_is_refused() -> None:
    with pytest.raises(RenderError, match="model name"):
        start("ollama", QWEN3_14B, "Q4_K_M", ON_GPU, RTX_4090, model="a b")


def test_the_record_survives_json() -> None:
    launch = start("vllm", QWEN3_14B, "AWQ", ON_GPU, RTX_4090, sampling=Sampling(temperature=0.7))
    stated = json.loads(value(launch, "--override-generation-config") or "{}")
    assert stated == {"temperature": 0.7}


def test_the_whole_catalog_can_be_launched() -> None:
    """Every model on every server that offers it: known words only."""
    catalog = load_catalog()
    cases = (("llama-server", ON_GPU, RTX_4090), ("ollama", ON_CPU, SERVER), ("localai", ON_GPU, RTX_4090),
             ("vllm", ON_GPU, RTX_4090), ("mlx-lm", UNIFIED, MAC))  # fmt: skip
    for server, placement, hardware in cases:
        for model in catalog.models.values():
            for quant_id in SERVERS[server].quants(model, hardware)[:1]:
                sampling = choose_sampling(model, "deterministic")
                context = min(8192, model.context.native_tokens if model.context else 8192)
                launch = start(server, model, quant_id, placement, hardware, sampling=sampling, context=context)
                check_launch(launch, FACTS[server])


def test_gated_weights_are_announced() -> None:
    gated = replace(QWEN3_14B, gated=True, artifacts=Artifacts())
    notes = start("vllm", gated, "BF16", ON_GPU, RTX_4090).notes
    assert any("gated" in note for note in notes)
