"""The command line as a user meets it: results on stdout, the rest on stderr, promised exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from planner.cli.app import build

RTX_4090 = ["--gpu", "RTX 4090", "--ram", "64GiB", "--ram-bandwidth", "80GB/s", "--cores", "16"]
WHAT_IFS = {
    "one gpu": ["--gpu", "RTX 4090", "--ram", "64GiB"],
    "two gpus, ten users": ["--gpu", "RTX 3090:2", "--ram", "128GiB", "--users", "10"],
    "two nodes": ["--cores", "64", "--ram", "512GiB", "--ram-bandwidth", "400GB/s", "--numa-nodes", "2"],
}


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(build(), list(arguments))


@pytest.mark.parametrize("machine", WHAT_IFS.values(), ids=WHAT_IFS.keys())
def test_recommend_and_render_for_imagined_machines(machine: list[str], tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert run("recommend", *machine, "--workload", "code", "--save", str(plan)).exit_code == 0
    rendered = run("render", "compose", "--plan", str(plan))
    assert rendered.exit_code == 0
    assert rendered.stdout.startswith("#")
    assert "services:" in rendered.stdout


def test_apple_renders_launchd_and_refuses_compose(tmp_path: Path) -> None:
    machine = ["--apple", "M3 Max 40c 128GiB", "--workload", "macos"]
    plan = str(tmp_path / "plan.json")
    assert run("recommend", *machine, "--save", plan).exit_code == 0
    for target in ("launch", "launchd"):
        assert run("render", target, "--plan", plan, "--out", str(tmp_path / target)).exit_code == 0
    refused = run("render", "compose", "--plan", plan)
    assert refused.exit_code == 1
    assert "launchd" in refused.stderr
    assert "launch" in refused.stderr


def test_first_screen_fits_80_columns_and_30_lines() -> None:
    for machine in WHAT_IFS.values():
        lines = run("recommend", *machine, "--workload", "code").stdout.splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= 80
        text = "\n".join(lines)
        for word in ("Plan for", "Memory", "GiB", "tok/s", "Why", "Next: planner render"):
            assert word in text


def test_a_moe_on_a_small_gpu_keeps_its_experts_in_ram() -> None:
    wanted = ["--model", "qwen3-235b-a22b", "--quant", "Q4_K_M", "--gpu", "RTX 4090", "--ram-bandwidth", "80GB/s"]
    enough = run("recommend", *wanted, "--ram", "192GiB", "--json")
    assert enough.exit_code == 0
    service = json.loads(enough.stdout)["answer"]["plan"]["services"][0]
    assert service["placement"]["kind"] == "experts-in-ram"
    # 142.3 GB of tensors: published Q4_K_M files of this model hold 142 to 143 GB.
    assert service["footprint"]["weights_bytes"] == pytest.approx(142.5e9, rel=0.01)
    assert service["speed"]["decode_tokens_per_s"]["expected"] > 0
    too_small = run("recommend", *wanted, "--ram", "64GiB")
    assert too_small.exit_code == 4
    assert "hint" in too_small.stderr


def test_render_follows_the_last_recommendation_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("recommend", *RTX_4090, "--workload", "prototype").exit_code == 0
    rendered = run("render", "compose")
    assert rendered.exit_code == 0
    assert "last recommendation" in rendered.stderr


def test_check_exits_5_after_an_edit(tmp_path: Path) -> None:
    out = tmp_path / "stack"
    plan = str(tmp_path / "plan.json")
    assert run("recommend", *RTX_4090, "--save", plan).exit_code == 0
    assert run("render", "compose", "--plan", plan, "--out", str(out)).exit_code == 0
    assert run("render", "compose", "--plan", plan, "--out", str(out), "--check").exit_code == 0
    main = out / "compose.yaml"
    main.write_text(main.read_text() + "# edited\n")
    checked = run("render", "compose", "--plan", plan, "--out", str(out), "--check")
    assert checked.exit_code == 5
    assert "compose.yaml" in checked.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["recommend", *RTX_4090, "--model", "qwen3-14c"], 1, "qwen3-14b"),
        (["recommend", "--gpu", "RTX 4091", "--ram", "64GiB"], 1, "4090"),
        (["recommend", "--gpu", "RTX 4090", "--ram", "64"], 2, "unit"),
        (["recommend", "--gpu", "RTX 4090", "--apple", "M3 Max"], 2, "--apple"),
        (["size", "qwen3-14b", "--quant", "Q4_K_M", "--server", "vllm"], 2, "AWQ"),
        (["size", "qwen3-14b", "--context", "8k,32k"], 2, "--quant"),
        (["render", "composer", *RTX_4090], 2, "compose"),
        (["render", "compose", "--check"], 2, "--out"),
        (["catalog", "show", "qwen3-14c"], 1, "qwen3-14b"),
        (["recommend", "--hardware", "absent.json"], 1, "absent.json"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments: list[str], code: int, said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_size_table_and_growth_table() -> None:
    over_quants = run("size", "qwen3-14b")
    assert over_quants.exit_code == 0
    assert "Q4_K_M" in over_quants.stdout
    growth = run("size", "qwen3-14b", "--quant", "Q4_K_M", "--context", "8k,32k", "--json")
    small, large = json.loads(growth.stdout)["footprints"]
    # 40 layers x 2 x 8 heads x 128 x 2 bytes per token, from the model's config.
    assert small["kv_cache_bytes"] == 163840 * 8192
    assert large["kv_cache_bytes"] == 4 * small["kv_cache_bytes"]
    assert small["total_bytes"] < large["total_bytes"]


def test_estimate_names_placement_and_depth() -> None:
    result = run("estimate", "qwen3-14b", "--quant", "Q4_K_M", *RTX_4090, "--depth", "4k", "--explain")
    assert result.exit_code == 0
    assert "4k depth" in result.stdout
    assert "tok/s" in result.stdout


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        plan = tmp_path / f"{name}.json"
        run("recommend", *RTX_4090, "--workload", "team", "--save", str(plan))
        out = tmp_path / name
        run("render", "all", "--plan", str(plan), "--out", str(out))
        files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        made.append((plan.read_bytes(), files))
    assert made[0] == made[1]
    assert made[0][1]


def test_probe_of_a_captured_tree_asks_nothing_of_this_machine(tmp_path: Path) -> None:
    result = run("probe", "--root", str(tmp_path), "--json")
    assert result.exit_code == 0
    hardware = json.loads(result.stdout)
    assert hardware["gpus"] == []
    assert hardware["cpu"]["threads"] is None


def test_catalog_list_and_check() -> None:
    assert "qwen3-14b" in run("catalog", "list", "models").stdout
    checked = run("catalog", "check")
    assert checked.exit_code == 0, checked.stdout[-2000:]
    assert "233 models checked, 0 errors" in checked.stdout


def test_why_not_answers_for_any_model() -> None:
    lost = run("recommend", *RTX_4090, "--why-not", "llama-3.1-8b-instruct")
    assert lost.exit_code == 0
    assert "Why not Llama-3.1-8B" in lost.stdout
    too_big = run("recommend", *RTX_4090, "--why-not", "deepseek-v3.1")
    assert "GiB" in too_big.stdout


def test_the_cost_of_tokens_stands_beside_the_plan_and_not_in_it(tmp_path: Path) -> None:
    plain, priced = tmp_path / "plain.json", tmp_path / "priced.json"
    shown = run("recommend", *RTX_4090, "--save", str(plain))
    assert "kWh per 1M tokens written" in shown.stdout
    asked = run("recommend", *RTX_4090, "--price-kwh", "0.30", "--price-gpu-hour", "1.20", "--save", str(priced))
    assert "kWh" not in asked.stdout
    assert "per 1M tokens written" in asked.stdout
    assert plain.read_bytes() == priced.read_bytes()
    reported = json.loads(run("recommend", *RTX_4090, "--price-kwh", "0.30", "--json").stdout)
    cost = reported["cost"]
    assert cost["prices"] == {"per_kwh": 0.3, "per_gpu_hour": None, "power_watts": None}
    written = cost["services"][0]["written"]
    assert written["energy_price_per_million"]["expected"] == pytest.approx(
        0.3 * written["kwh_per_million"]["expected"]
    )
    assert cost["hardware"] == "imagined"


def test_explain_says_where_the_cost_comes_from() -> None:
    text = " ".join(run("recommend", *RTX_4090, "--explain", "--power", "500W", "--price-kwh", "0.30").stdout.split())
    assert "500 W as given, for the whole machine under load" in text
    assert "to buy, unless somebody has it" in text
    assert "prices as given, in their own currency: 0.3 for a kWh" in text


@pytest.mark.parametrize("workload", ["chat", "team", "multimodal", "embedding"])
@pytest.mark.parametrize("machine", WHAT_IFS)
def test_the_first_screen_keeps_its_size_with_prices(machine: str, workload: str) -> None:
    prices = ["--price-kwh", "0.30", *(["--price-gpu-hour", "1.2"] if "gpu" in machine else [])]
    lines = run("recommend", *WHAT_IFS[machine], "--workload", workload, *prices).stdout.splitlines()
    assert 0 < len(lines) <= 30
    assert max(map(len, lines)) <= 80


def test_the_pareto_view_fits_80_columns_and_hides_what_is_dominated() -> None:
    view = run("recommend", *RTX_4090, "--pareto")
    assert view.exit_code == 0
    assert max(map(len, view.stdout.splitlines())) <= 80
    assert "Dominated" not in view.stdout
    assert "the plan is" in view.stdout
    document = json.loads(run("recommend", *RTX_4090, "--pareto", "--family", "qwen3", "--dominated", "--json").stdout)
    options, dominated = document["pareto"]["options"], document["pareto"]["dominated"]
    assert options
    assert dominated
    assert {entry["model"].split("-")[0] for entry in (*options, *dominated)} == {"qwen3"}


def test_cards_that_make_a_wish_fit_are_named_with_their_speed() -> None:
    wish = ["--model", "qwen3-32b", "--quant", "Q4_K_M", "--min-decode", "50", "--budget-vram", "32GiB"]
    found = run("recommend", *RTX_4090, *wish)
    assert found.exit_code == 0
    assert "1 x GeForce RTX 5090 (to buy, 575 W)" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80
    cards = json.loads(run("recommend", *RTX_4090, *wish, "--json").stdout)["cards"]
    assert cards["met_here"] is False
    assert cards["choices"][0]["vram_bytes"] == 32 * 1024**3
    none = run("recommend", *RTX_4090, *wish[:-1], "12GiB")
    assert none.exit_code == 4
    assert "--budget-vram" in none.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pareto", "--why-not", "phi-4"], "--pareto and --why-not contradict each other"),
        (["--pareto", "--budget-vram", "24GiB"], "--pareto and --budget-vram contradict each other"),
        (["--budget-vram", "24GiB", "--save", "plan.json"], "--budget-vram and --save contradict each other"),
        (["--pareto", "--price-kwh", "0.3"], "--price-kwh prices the plan"),
        (["--dominated"], "--dominated belongs to --pareto"),
        (["--budget-vram", "24"], "no unit"),
        (["--power", "350"], "no unit"),
        (["--price-kwh", "0"], "more than zero"),
        (["--model", "qwen3-14b", "--license", "gemma"], "--model qwen3-14b and --license gemma contradict each other"),
    ],
)
def test_options_that_cannot_go_together_are_usage_errors(arguments: list[str], message: str) -> None:
    refused = run("recommend", *RTX_4090, *arguments)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stdout == ""
