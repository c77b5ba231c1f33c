"""A whole measurement against a server on loopback, and everything that can go wrong with one."""

from __future__ import annotations

import json
import random
import socket

import pytest

import planner
from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.bench.identify import served_models, with_details
from planner.bench.prediction import verdict
from planner.bench.prompts import WORDS, Prompts, words_for
from planner.bench.run import Names, Questions, bench
from planner.errors import PlannerError, UsageError
from planner.speed.records import Range
from tests.bench.server import Script, chunk, serving, tokens, words_of

SHORT = Questions(concurrency=(1, 2), prompt_tokens=80, output_tokens=6, rounds=2)
NOTHING_SAID = Names()


@pytest.fixture(scope="module")
def catalog():
    return planner.load_catalog()


@pytest.fixture(scope="module")
def machine():
    return planner.what_if(cores=8, ram="32GiB", ram_bandwidth="40GB/s")


def measure(script, catalog, questions=SHORT, names=NOTHING_SAID, **options):
    with serving(script):
        return bench(script.url, catalog, questions, names, **options)


def test_levels_of_a_plain_server(catalog):
    script = Script()
    result = measure(script, catalog)
    one, two = result.levels
    assert (one.requests, two.requests) == (2, 4)
    assert (one.prompt_tokens, one.output_tokens, one.tokens_counted) == (80, 6, "usage")
    for level in result.levels:
        assert level.inter_token_s is not None
        assert 0 < level.inter_token_s.p50 <= level.inter_token_s.p90 <= level.inter_token_s.p99
        assert level.inter_token_s.count == level.requests * 5
        assert level.decode_tokens_per_s is not None
        assert level.decode_tokens_per_s > 0
        assert level.aggregate_tokens_per_s > 0
        assert level.ttft_s.p50 > 0.001  # the server waits so long before its first token
    assert result.calibration is None
    assert any("model unknown" in note for note in result.notes)


def test_no_two_prompts_begin_alike(catalog):
    script = Script()
    measure(script, catalog)
    prompts = [body["messages"][0]["content"] for _, body in script.seen]
    assert len(prompts) == 9  # warm-up, two for the length, two for one user, four for two
    starts = {tuple(prompt.split()[:6]) for prompt in prompts}
    assert len(starts) == len(prompts)
    assert len({prompt.split()[0] for prompt in prompts}) > 1


def test_prompts_are_random_words():
    seeded = Prompts(random.Random(3))
    one, two = seeded.of(30).split(), seeded.of(30).split()
    assert one[:30] != two[:30]
    assert set(one[:30]) <= set(WORDS)
    assert len(set(WORDS)) == len(WORDS) > 200
    assert {len(word) for word in WORDS} == {4}  # or a vocabulary of letters would give prompts of chance lengths


@pytest.mark.parametrize("per_word", [1, 2, 6])
def test_words_for_a_length_in_tokens(per_word):
    words = words_for(512, lambda n: n * per_word + 11)
    assert words * per_word + 11 == pytest.approx(512, abs=per_word)


def test_words_for_a_server_that_counts_nothing():
    assert 400 < words_for(512, lambda _: None) < 512


def llama_script(model="Qwen3-0.6B-Q8_0.gguf", parameters=596_049_920):
    timings = {"prompt_n": 80, "prompt_ms": 100.0, "predicted_n": 6, "predicted_ms": 10.0, "cache_n": 0}
    meta = {"n_params": parameters, "n_ctx": 4096, "ftype": "Q8_0"}
    return Script(
        models=[{"id": model, "object": "model", "owned_by": "llamacpp", "meta": meta}],
        headers={"Server": "llama.cpp"},
        pages={"/props": (200, {"total_slots": 1, "build_info": "b11669-abc", "model_path": f"/models/{model}"})},
        stream=lambda body: tokens(body, extra={"timings": timings}),
    )


def test_llama_server_is_known_compared_and_calibrated(catalog, machine):
    script = llama_script()
    result = measure(script, catalog, hardware=lambda: machine)
    assert (result.served.server, result.served.build, result.served.slots) == ("llama-server", "b11669-abc", 1)
    assert (result.model, result.quant) == ("qwen3-0.6b", "Q8_0")
    one, two = result.levels
    assert one.server is not None
    assert one.server.prefill_tokens_per_s == pytest.approx(800.0)
    assert [figure.name for figure in one.predicted] == ["decode", "prefill", "ttft", "aggregate"]
    assert [figure.name for figure in two.predicted] == ["decode", "aggregate"]
    decode = one.predicted[0]
    speed = planner.estimate("qwen3-0.6b", "Q8_0", machine, context=256, depth=83, prompt_tokens=80, output_tokens=6)
    assert decode.expected == pytest.approx(speed.decode_tokens_per_s.expected)
    row = result.calibration
    assert row is not None
    assert (row.engine, row.placement_class, row.build) == ("llama.cpp-cpu", "cpu", "b11669-abc")
    assert (row.model, row.quant, row.rows) == ("qwen3-0.6b", "Q8_0", 2)
    assert row.measured_over_predicted == pytest.approx(one.decode_tokens_per_s / decode.expected, rel=1e-3)
    assert any("1 requests at once" in note for note in result.notes)
    assert script.seen[0][1]["ignore_eos"] is True
    assert script.seen[0][1]["cache_prompt"] is False


def test_verdicts():
    predicted = Range(low=8.0, expected=10.0, high=12.5)
    assert [verdict(value, predicted) for value in (7.9, 8.0, 12.5, 12.6)] == ["below", "inside", "inside", "above"]


def test_a_calibration_does_not_compound(catalog, machine):
    """The second measurement is held against the constants, not against the first."""
    from planner.bench.keep import with_calibration
    from planner.hardware.facts import Calibration

    row = Calibration(
        engine="llama.cpp-cpu", placement_class="cpu", model="qwen3-0.6b", quant="Q8_0", measured_over_predicted=0.1
    )
    result = measure(llama_script(), catalog, hardware=with_calibration(machine, row))
    plain = planner.estimate("qwen3-0.6b", "Q8_0", machine, context=256, depth=83, prompt_tokens=80, output_tokens=6)
    level, kept = result.levels[0], result.calibration
    assert kept is not None
    ratio = level.decode_tokens_per_s / plain.decode_tokens_per_s.expected
    assert kept.measured_over_predicted == pytest.approx(ratio, rel=1e-3)
    assert level.predicted[0].expected < 0.2 * plain.decode_tokens_per_s.expected


def test_a_plan_is_compared_in_its_own_placement(catalog, machine):
    answer = planner.recommend(
        machine, "chat", model="qwen3-0.6b", quant="Q8_0", server="llama-server", users=1, context=2048
    )
    result = measure(llama_script(), catalog, plan=answer.plan, hardware=None)
    assert result.placement == answer.plan.services[0].placement.text
    assert result.levels[0].predicted


def test_vllm_is_known_by_its_owner_and_asked_for_full_length(catalog):
    entry = {"id": "chat", "root": "Qwen/Qwen3-8B-FP8", "owned_by": "vllm", "max_model_len": 8192}
    script = Script(models=[entry], pages={"/version": (200, {"version": "0.11.0"})})
    result = measure(script, catalog)
    assert (result.served.server, result.served.build) == ("vllm", "0.11.0")
    assert (result.model, result.quant) == ("qwen3-8b", "FP8")
    assert script.seen[0][1]["ignore_eos"] is True


def test_ollama_tells_its_quant_and_durations(catalog, machine):
    shown = {"details": {"quantization_level": "Q4_K_M"}, "model_info": {"general.parameter_count": 8190735360}}
    timed = {"eval_count": 6, "eval_duration": 60_000_000, "prompt_eval_count": 80, "prompt_eval_duration": 10**9}
    script = Script(
        models=[{"id": "qwen3:8b", "object": "model", "owned_by": "library"}],
        pages={"/api/version": (200, {"version": "0.12.3"})},
        posts={"/api/show": lambda _: (200, shown), "/api/generate": lambda _: (200, timed)},
    )
    result = measure(script, catalog, hardware=machine)
    assert (result.model, result.quant) == ("qwen3-8b", "Q4_K_M")
    assert result.levels[0].server is not None
    assert result.levels[0].server.decode_tokens_per_s == pytest.approx(100.0)
    assert result.calibration is not None
    assert (result.calibration.engine, result.calibration.build) == ("ollama-cpu", "0.12.3")


def test_localai_and_mlx_are_told_apart():
    localai = Script(pages={"/system": (200, {"backends": ["llama-cpp"]})}, models=[{"id": "m"}])
    mlx = Script(headers={"Server": "BaseHTTP/0.6 Python/3.12"}, models=[{"id": "m", "object": "model"}])
    for script, wanted in ((localai, "localai"), (mlx, "mlx-lm")):
        with serving(script):
            client = Client(parse_endpoint(script.url))
            (served,) = served_models(client)
            assert with_details(client, served).server == wanted


@pytest.mark.parametrize(
    ("name", "file_type", "model", "quant"),
    [
        ("/models/Qwen3-8B-Q4_K_M.gguf", None, "qwen3-8b", "Q4_K_M"),
        ("Qwen_Qwen3-8B-Q4_K_L.gguf", None, None, "Q4_K_L"),
        ("ggml-org/gpt-oss-20b-GGUF:MXFP4", None, "gpt-oss-20b", "MXFP4_MOE"),
        ("unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL", None, "qwen3-30b-a3b", "UD-Q4_K_XL"),
        ("qwen3-32b", "Q4_K - Small", "qwen3-32b", "Q4_K_S"),
        ("qwen3-32b", "Q2_K - Medium", "qwen3-32b", "Q2_K"),
        ("qwen3-32b", "IQ4_XS - 4.25 bpw", "qwen3-32b", "IQ4_XS"),
        ("qwen3-32b", "(guessed) Q6_K", "qwen3-32b", "Q6_K"),
        ("llama-3.3-70b-instruct-q5_k_m-00001-of-00002.gguf", None, "llama-3.3-70b-instruct", "Q5_K_M"),
        ("chat", None, None, None),
    ],
)
def test_served_names_mean_models_and_quants(catalog, name, file_type, model, quant):
    from planner.bench.records import Served
    from planner.bench.subject import identify

    subject = identify(catalog, Served(id=name, server="llama-server", file_type=file_type, hints=(name,)))
    assert (subject.model.id if subject.model else None) == model
    assert (subject.quant.id if subject.quant else None) == quant


def test_a_name_that_the_parameters_contradict_is_not_believed(catalog):
    result = measure(llama_script(parameters=119_000_000), catalog)
    assert result.model is None
    assert any("0.60 billion" in note and "0.12" in note for note in result.notes)
    with pytest.raises(PlannerError, match=r"1\.\d+ billion"):
        measure(llama_script(), catalog, names=Names(model="llama-3.2-1b-instruct"))


def test_reasoning_counts_as_tokens(catalog):
    def thinking(body):
        for index in range(body["max_tokens"]):
            yield json.dumps(chunk(**{("reasoning_content", "reasoning", "content")[index % 3]: "x"}))
        yield "[DONE]"

    result = measure(Script(stream=thinking), catalog)
    assert result.levels[0].output_tokens == 6
    assert result.levels[0].tokens_counted == "events"
    assert any("counts no tokens" in note for note in result.notes)


def test_a_server_without_chat_or_counts_is_asked_plainly(catalog):
    def refuse(path, body):
        if path != "/v1/completions" or "stream_options" in body:
            return 400, {"error": {"message": "extra fields not permitted"}}
        return None

    def completion(body):
        for _ in range(body["max_tokens"]):
            yield json.dumps({"choices": [{"text": " a", "finish_reason": None}]})
        yield json.dumps({"choices": [{"text": "", "finish_reason": "length"}]})

    script = Script(refuse=refuse, stream=completion)
    result = measure(script, catalog)
    assert result.levels[1].requests == 4
    assert words_of(script.seen[-1][1]) > 60


def test_failures_of_some_requests_are_told(catalog):
    calls = []

    def refuse(_path, body):
        if body["max_tokens"] == 6:
            calls.append(1)
            if len(calls) == 4:
                return 429, {"error": "slow down"}
        return None

    result = measure(Script(refuse=refuse), catalog)
    assert [level.failed_requests for level in result.levels] == [0, 1]
    assert any("2 users: 1 requests failed" in note and "slow down" in note for note in result.notes)


def broken(data):
    def stream(_body):
        yield json.dumps(chunk(content="a"))
        yield from data

    return Script(stream=stream)


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        (Script(key="secret"), "401.*Invalid API Key", "--api-key-file"),
        (Script(pages={"/v1/models": (200, "<html>hi</html>")}), "no OpenAI-compatible", "root"),
        (Script(pages={"/v1/models": (404, {})}), "no OpenAI-compatible.*404", "root"),
        (Script(pages={"/v1/models": (503, {"error": {"message": "Loading model"}})}), "not ready: Load", "wait"),
        (Script(models=[]), "serves no model", "load"),
        (Script(refuse=lambda *_: (500, {"error": {"message": "boom"}})), "500: boom", None),
        (Script(refuse=lambda *_: (200, {"choices": []})), "instead of a stream", "proxy"),
        (broken([]), "broke off", "log"),
        (broken(["{nonsense"]), "no JSON", "log"),
        (broken([json.dumps({"error": {"message": "out of memory"}})]), "out of memory", "log"),
        (Script(stream=lambda _: iter(["[DONE]"])), "without a token", "chat"),
    ],
)
def test_what_a_server_does_wrong_is_said(catalog, script, message, hint):
    with pytest.raises(PlannerError, match=message) as caught:
        measure(script, catalog)
    assert hint is None or hint in (caught.value.hint or "")


def test_a_refused_key_is_told_from_a_missing_one(catalog, tmp_path):
    key = tmp_path / "key"
    key.write_text("wrong\n")
    with pytest.raises(PlannerError, match="401") as caught:
        measure(Script(key="right"), catalog, api_key_file=key)
    assert "does not accept" in (caught.value.hint or "")
    key.write_text("right\n")
    assert measure(Script(key="right"), catalog, api_key_file=key).levels
    for content in ("", "two\nlines", "schlüssel"):
        key.write_text(content)
        with pytest.raises(PlannerError):
            measure(Script(), catalog, api_key_file=key)
    with pytest.raises(PlannerError, match="cannot be read"):
        measure(Script(), catalog, api_key_file=tmp_path / "none")


def test_nothing_listens(catalog):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    with pytest.raises(PlannerError, match="nothing listens"):
        bench(f"http://127.0.0.1:{port}", catalog)


def test_no_http_there(catalog):
    import threading

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def talk():
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                peer.recv(4096)

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(PlannerError, match="does not speak HTTP"):
            bench(f"127.0.0.1:{listener.getsockname()[1]}", catalog)
        thread.join()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("localhost:8000", "http://localhost:8000"),
        ("https://host/llm/v1", "https://host:443/llm"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_urls(url, where):
    assert parse_endpoint(url).url == where


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://u:p@host", "http://host:99999", "http://h?k=v"])
def test_urls_that_are_none(url):
    with pytest.raises(UsageError):
        parse_endpoint(url)


@pytest.mark.parametrize(
    "questions",
    [
        Questions(concurrency=()),
        Questions(concurrency=(0,)),
        Questions(concurrency=(513,)),
        Questions(prompt_tokens=0),
        Questions(output_tokens=1),
        Questions(rounds=0),
    ],
)
def test_questions_that_make_no_sense(catalog, questions):
    with pytest.raises(UsageError):
        bench("http://127.0.0.1:1", catalog, questions)


def test_what_cannot_be_stored_fails_before_measuring(catalog, machine):
    cases = (
        (Script(), {}, "model unknown"),
        (llama_script(), {"questions": Questions(concurrency=(2,))}, "single user"),
        (Script(models=[{"id": "qwen3-8b-q8_0"}]), {}, "does not say what it is"),
    )
    for script, options, message in cases:
        with pytest.raises(PlannerError, match=message):
            measure(script, catalog, hardware=machine, for_calibration=True, **options)
        assert not script.seen


def test_more_context_than_the_server_gives(catalog):
    with pytest.raises(UsageError, match="4096"):
        measure(llama_script(), catalog, Questions(prompt_tokens=4000, output_tokens=200))


def test_several_models(catalog):
    models = [{"id": "qwen3:8b"}, {"id": "gemma3:4b"}]
    with pytest.raises(UsageError, match="several models"):
        measure(Script(models=models), catalog)
    with pytest.raises(PlannerError, match="neither served") as caught:
        measure(Script(models=models), catalog, names=Names(model="qwen3-9b"))
    assert "qwen3:8b" in (caught.value.hint or "")
    script = Script(models=models)
    assert measure(script, catalog, names=Names(model="qwen3-8b")).served.id == "qwen3:8b"
    assert script.seen[0][1]["model"] == "qwen3:8b"
