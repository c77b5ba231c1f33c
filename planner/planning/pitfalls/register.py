"""The register: every pitfall once, with its id, severities, fix, check, and where it is looked for. Plans warn in this
order: assumed facts first, then what is wrong, then what to know."""

from __future__ import annotations

from typing import Final

from planner.planning.pitfalls import machine, memory, models, speed
from planner.planning.pitfalls.scene import Pitfall

PITFALLS: Final[tuple[Pitfall, ...]] = (
    Pitfall(
        "assumed-bandwidth", ("warning",), ("plan",), "a bandwidth that nobody measured stands behind the speed",
        "name it, or run planner probe on the machine", speed.assumed_bandwidth,
    ),
    Pitfall(
        "assumed-cpu", ("warning",), ("plan",), "the CPU computes and its cores are not known",
        "name it with --cores or --cpu", speed.assumed_cpu,
    ),
    Pitfall(
        "target-missed", ("warning",), ("plan",), "the best plan misses a target of the workload",
        "a smaller --model, fewer --users, a shorter --context, or faster memory: --budget-vram names cards",
        speed.targets_missed,
    ),
    Pitfall(
        "slow-cpu-prefill", ("warning",), ("plan",), "the CPU reads prompts, for half a minute and more",
        "--gpu-only where a GPU is there, shorter prompts, or run it overnight", speed.slow_prefill,
    ),
    Pitfall(
        "image-on-cpu", ("warning",), ("plan",), "images are made by the CPU",
        "a smaller language model leaves room on the GPU: --model, or --max-memory vram=", speed.image_on_cpu,
    ),
    Pitfall(
        "weights-over-memory", ("error", "warning"), ("plan", "file"),
        "the weights alone do not fit their memory; a warning where the server moves layers into RAM",
        "fewer bits, a smaller model, or more memory: planner size lists them", memory.weights_over_memory,
    ),
    Pitfall(
        "moe-by-active", ("error", "warning"), ("plan", "file"),
        "a mixture of experts sized by its active parameters: all experts lie in memory",
        "count total parameters: planner size; or keep experts in RAM (--n-cpu-moe)", memory.moe_by_active,
    ),
    Pitfall(
        "context-over-memory", ("error", "warning"), ("plan", "file"),
        "the weights fit, but not with the cache of one request of full context",
        "a shorter context, or a smaller cache type", memory.context_over_memory,
    ),
    Pitfall(
        "kv-unbudgeted", ("error", "warning"), ("plan", "file"),
        "context times slots does not fit; a warning where requests wait instead",
        "a shorter context, fewer slots, or a smaller cache type", memory.kv_unbudgeted,
    ),
    Pitfall(
        "limit-below-need", ("error",), ("file",), "the memory limit of a service is below what its model takes",
        "set the limit that planner size gives, and a gibibyte for the server", memory.limit_below_need,
    ),
    Pitfall(
        "less-free-now", ("warning",), ("plan",), "less memory is free now than the plan uses",
        "stop what uses it, or plan with --memory now", machine.less_free_now,
    ),
    Pitfall(
        "ram-tight", ("warning",), ("plan",), "the plan leaves the system and other programs little RAM",
        "leave more: --headroom 3GiB, or a smaller --model", machine.ram_tight,
    ),
    Pitfall(
        "swap", ("note", "warning"), ("plan", "host"), "swap exists; of a plan: and RAM is short now",
        "lock the weights, limit the service, or swapoff", machine.swap,
    ),
    Pitfall(
        "swap-in-use", ("warning",), ("plan", "host"), "a gibibyte and more lies in swap",
        "free memory, then swapoff -a && swapon -a", machine.swap_in_use,
    ),
    Pitfall(
        "disk-full", ("warning",), ("plan", "host"),
        "too little space for the weights, or for them and the images; without a plan less than 20 GiB free",
        "free some, or keep the models elsewhere: --models-dir", machine.disk_full,
    ),
    Pitfall(
        "port-taken", ("error", "warning"), ("plan", "file"),
        "two services publish one port; a warning where some program listens on it already",
        "stop that program, or publish another port", machine.port_taken,
    ),
    Pitfall(
        "numa-unbound", ("warning",), ("plan", "file"), "nothing places memory on a machine with several NUMA nodes",
        "numactl --cpunodebind=0 --membind=0, or --interleave=all where the model exceeds one node",
        speed.numa_unbound,
    ),
    Pitfall(
        "numa-interleaved", ("note",), ("plan",), "a service is larger than one NUMA node",
        "fewer bits or a smaller model would fit one node", speed.numa_interleaved,
    ),
    Pitfall(
        "numa-balancing", ("warning",), ("plan", "host"), "the kernel moves pages that a plan has placed",
        "sysctl kernel.numa_balancing=0", machine.numa_balancing,
    ),
    Pitfall(
        "power-saving", ("warning",), ("plan", "host"), "the CPUs' clocks are held down to save power",
        "cpupower frequency-set -g performance", machine.power_saving,
    ),
    Pitfall(
        "narrow-link", ("warning",), ("plan", "file", "host"),
        "a GPU on four PCIe lanes or fewer, with tensor parallel over it or other GPUs beside it",
        "split by layers, or move the card", machine.narrow_link,
    ),
    Pitfall(
        "gpu-shared", ("warning",), ("plan", "file"), "two services reserve one GPU and are not known to fit it",
        "give each its device_ids, or one of them a memory share that leaves room for the other", memory.gpu_shared,
        weighed=True,
    ),
    Pitfall(
        "memlock", ("warning",), ("file",), "a server locks its weights under a limit that forbids it",
        "LimitMEMLOCK=infinity in a unit, ulimits: {memlock: -1} in Compose, ulimit -l in a script", memory.lock_limit,
    ),
    Pitfall(
        "slots-share-context", ("warning",), ("file",),
        "llama-server's context divided over its slots leaves less than 4,096 tokens each",
        "a larger context, or fewer slots", memory.slots_share_context,
    ),
    Pitfall(
        "single-slot", ("warning",), ("plan", "file"), "one request at a time for several users (`--users`)",
        "as many slots as users, where memory allows: --parallel, OLLAMA_NUM_PARALLEL, --max-num-seqs",
        speed.single_slot,
    ),
    Pitfall(
        "ollama-context", ("warning",), ("file",), "no context length: longer prompts lose their beginning",
        "OLLAMA_CONTEXT_LENGTH, or num_ctx in a Modelfile", memory.ollama_context,
    ),
    Pitfall(
        "over-quantized-reasoning", ("warning",), ("plan", "file"),
        "a model that reasons, quantized until its chains of thought break",
        "--min-quant IQ4_XS, or a smaller model at Q4_K_M", models.over_quantized, weighed=True,
    ),
    Pitfall(
        "context-beyond-native", ("warning", "note"), ("plan", "file"),
        "more context than the model was trained for; a note where an extension is switched on",
        None, models.context_beyond_native, weighed=True,
    ),
    Pitfall(
        "thinking-deterministic", ("warning",), ("plan", "file"), "greedy decoding of a model that thinks",
        "a model whose thinking can be switched off, or a JSON schema for the format of the output",
        models.thinking_deterministic, weighed=True,
    ),
    Pitfall(
        "thinking-off", ("note",), ("plan",), "deterministic sampling has switched the thinking off", None,
        models.thinking_off,
    ),
    Pitfall(
        "sampling-vendor", ("note",), ("plan", "file"), "a temperature far from the vendor's advice", None,
        models.against_vendor, weighed=True,
    ),
    Pitfall(
        "sampling-batch", ("note",), ("plan", "file"), "a seed, while several requests are computed together",
        "one slot, or VLLM_BATCH_INVARIANT=1 where vLLM supports it", models.not_repeatable, weighed=True,
    ),
    Pitfall(
        "sixteen-bit", ("note",), ("plan", "file"),
        "16-bit weights where a 4-bit file of the same model serves the workload", None, models.sixteen_bits,
        weighed=True,
    ),
    Pitfall(
        "gated-model", ("warning",), ("plan", "file"), "a gated model, and no token for its download",
        "accept the terms on the model's page and set HF_TOKEN, or plan without it: --exclude",
        models.gated, weighed=True,
    ),
    Pitfall(
        "license-non-commercial", ("warning",), ("plan", "file"), "the licence forbids commercial use",
        "--license commercial plans without such models", models.licence, weighed=True,
    ),
    Pitfall(
        "speed-unknown", ("warning",), ("plan",), "no bandwidth, no speed", None, speed.speed_unknown,
    ),
    Pitfall(
        "thin-data", ("note",), ("plan",), "a speed that rests on few measurements of its kind",
        "planner bench --save measures it once and narrows the range", speed.thin_data,
    ),
    Pitfall(
        "container-limit", ("note",), ("plan", "host"), "a container may use less memory than the host has",
        "plans count on the limit: raise it for more, or plan on the host", machine.container_limit,
    ),
    Pitfall(
        "gpu-display", ("note",), ("plan", "file", "host"), "a GPU also drives a display",
        "move the display to another GPU, or leave room: --headroom", machine.gpu_display, weighed=True,
    ),
    Pitfall(
        "huge-pages", ("note",), ("plan", "host"), "transparent huge pages are off",
        "set them to madvise", machine.huge_pages,
    ),
    Pitfall(
        "bandwidth-unknown", ("note",), ("host",), "RAM bandwidth was never measured",
        "planner probe measures it in two seconds", machine.unknown_bandwidth,
    ),
    Pitfall(
        "long-context", ("note",), ("plan", "file"),
        "more than 32k tokens of context; of a file: where several requests share the server",
        "retrieval or chunks of 8k to 32k tokens", models.long_context, weighed=True,
    ),
)  # fmt: skip
