"""Who answers: which server, which build, and what it serves."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from planner.bench.connection import Answer, Client
from planner.bench.records import Served
from planner.errors import PlannerError

_ROOT_HINT = "name the root of an OpenAI-compatible API, like http://127.0.0.1:8080 or http://127.0.0.1:8000/v1"


def served_models(client: Client) -> tuple[Served, ...]:
    """Every model of `/v1/models`, with what the server tells of itself. Raises PlannerError, Refused."""
    answer = client.get("/v1/models")
    if answer.status in {301, 302, 307, 308, 401, 403, 503}:
        raise client.refusal("/v1/models", answer)
    entries = _entries(answer)
    if entries is None:
        raise PlannerError(
            f"{client.endpoint.url} is no OpenAI-compatible server: /v1/models answered {answer.status}"
            + (" without a list of models" if answer.status == 200 else ""),
            hint=_ROOT_HINT,
        )
    if not entries:
        raise PlannerError(f"{client.endpoint.url} serves no model", hint="load or pull one, then try again")
    server, build = _server(client, answer, entries)
    return tuple(_served(entry, server, build) for entry in entries)


def with_details(client: Client, served: Served) -> Served:
    """The model that will be measured, with what only this server can tell of it."""
    if served.server == "llama-server":
        return _from_props(served, _object(client.get("/props")))
    if served.server == "ollama":
        return _from_ollama(client, served)
    return served


def _entries(answer: Answer) -> list[dict[str, Any]] | None:
    data = answer.document.get("data") if isinstance(answer.document, dict) and answer.status == 200 else None
    if answer.status == 200 and isinstance(answer.document, dict) and "data" in answer.document and data is None:
        return []  # Ollama without models answers null
    if not isinstance(data, list):
        return None
    return [entry for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _server(client: Client, answer: Answer, entries: list[dict[str, Any]]) -> tuple[str | None, str | None]:
    """Server id of the catalog and its build, from what only that server says."""
    owner, header = entries[0].get("owned_by"), answer.headers.get("server", "")
    if owner == "llamacpp" or header.startswith("llama.cpp"):
        return "llama-server", None
    version = _text(_object(client.get("/api/version")).get("version"))
    if version:
        return "ollama", version
    version = _text(_object(client.get("/version")).get("version"))
    if owner == "vllm":
        return "vllm", version
    if "backends" in _object(client.get("/system")):
        return "localai", version
    # mlx_lm.server is Python's http.server, and says nothing else of itself.
    return ("mlx-lm" if header.startswith("BaseHTTP/") and owner is None else None), version


def _served(entry: dict[str, Any], server: str | None, build: str | None) -> Served:
    meta = _mapping(entry.get("meta"))
    root = _text(entry.get("root"))
    context = _number(meta.get("n_ctx")) or _number(entry.get("max_model_len"))
    return Served(
        id=entry["id"],
        server=server,
        build=build,
        context_tokens=context,
        parameters=_number(meta.get("n_params")),
        file_type=_text(meta.get("ftype")),
        hints=tuple(dict.fromkeys(name for name in (root, entry["id"]) if name)),
    )


def _from_props(served: Served, props: dict[str, Any]) -> Served:
    context = _number(_mapping(props.get("default_generation_settings")).get("n_ctx"))
    path = _text(props.get("model_path"))
    return replace(
        served,
        build=_text(props.get("build_info")) or served.build,
        context_tokens=context or served.context_tokens,
        slots=_number(props.get("total_slots")),
        file_type=served.file_type or _text(props.get("model_ftype")),
        hints=tuple(dict.fromkeys(name for name in (path, *served.hints) if name)),
    )


def _from_ollama(client: Client, served: Served) -> Served:
    shown = _object(client.post("/api/show", {"model": served.id}))
    details = _mapping(shown.get("details"))
    info = _mapping(shown.get("model_info"))
    return replace(
        served,
        parameters=_number(info.get("general.parameter_count")),
        file_type=_text(details.get("quantization_level")),
    )


def loaded_vram_bytes(client: Client, served: Served) -> int | None:
    """Bytes of the loaded model that Ollama holds in GPU memory (0: it runs on the CPU); None when unknown."""
    if served.server != "ollama":
        return None
    models = _object(client.get("/api/ps")).get("models")
    for entry in models if isinstance(models, list) else []:
        if isinstance(entry, dict) and served.id in {entry.get("name"), entry.get("model")}:
            held = entry.get("size_vram", 0)
            return held if isinstance(held, int) else None
    return None


def _object(answer: Answer) -> dict[str, Any]:
    return _mapping(answer.document) if answer.status == 200 else {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
