"""Bundles: golden files, what every file carries, and which target can serve which plan."""

from __future__ import annotations

import hashlib
import json
import os
import plistlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml
from msgspec.structs import replace

from planner.errors import RenderError, UsageError
from planner.rendering import TARGETS, Bundle, RenderOptions, lay_out
from planner.rendering.parsing import unit_settings
from planner.rendering.write import check_bundle, diff_bundle, write_bundle
from planner.servers.records import Mount
from tests.rendering import plans

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMA = Path(__file__).parents[1] / "data" / "schemas" / "compose-spec.json"
GOLDEN_CASES = [
    ("cpu-numa", "launch"),
    ("cpu-numa", "compose"),
    ("cpu-numa", "systemd"),
    ("per-node", "systemd"),
    ("team-router", "compose"),
    ("mac", "launchd"),
    ("ollama", "compose"),
    ("team-router", "kubernetes"),
    ("per-node", "kubernetes"),
    ("ollama", "kubernetes"),
]
# What is asked for beside the servers, in the golden bundles that show it.
GOLDEN_OPTIONS: dict[tuple[str, str], dict[str, object]] = {
    ("team-router", "compose"): {"observability": True, "exports": ("haproxy", "litellm")},
    ("cpu-numa", "launch"): {"exports": ("llama-swap",)},
}


def rendered(case: str, target: str, **options: object) -> Bundle:
    plan, units = plans.CASES[case]()
    return lay_out(plan, units, target, RenderOptions(**options))  # type: ignore[arg-type]


def everything() -> list[tuple[str, Bundle]]:
    return [(case, rendered(case, "all")) for case in plans.CASES]


ALL = everything()


def files(suffix: str) -> list[tuple[str, str]]:
    return [(f"{case}/{path}", text) for case, b in ALL for path, text in b.items() if path.endswith(suffix)]


@pytest.mark.parametrize(("case", "target"), GOLDEN_CASES)
def test_bundles_are_the_golden_ones(case: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewrite them with PLANNER_UPDATE_GOLDEN=1 and review the difference like code.

    Digests are held still: a new field of a record, or another template's edit, is no change of a bundle."""
    monkeypatch.setattr("planner.rendering.header.plan_digest", lambda plan: "0" * 12)
    monkeypatch.setattr("planner.rendering.templates.template_digest", lambda texts: "1" * 12)
    bundle, folder = rendered(case, target, **GOLDEN_OPTIONS.get((case, target), {})), GOLDEN / case / target
    if os.environ.get("PLANNER_UPDATE_GOLDEN"):
        write_bundle(bundle, folder)
    assert not check_bundle(bundle, folder), diff_bundle(bundle, folder)


@pytest.mark.parametrize("case", plans.CASES)
def test_the_same_plan_gives_the_same_bytes(case: str) -> None:
    first, second = rendered(case, "all"), rendered(case, "all")
    assert dict(first) == dict(second)
    assert first.modes == second.modes


def test_all_holds_what_each_target_gives_alone() -> None:
    together = rendered("cpu-numa", "all")
    for target in ("launch", "compose", "systemd"):
        alone = rendered("cpu-numa", target)
        assert {path: together[f"{target}/{path}"] for path in alone} == dict(alone)
    assert not any(path.startswith("launchd/") for path in together)


@pytest.mark.parametrize(
    ("case", "target", "main"),
    [
        ("cpu-numa", "launch", "interactive.sh"),
        ("cpu-numa", "compose", "compose.yaml"),
        ("cpu-numa", "systemd", "planner-interactive.service"),
        ("per-node", "systemd", "planner-interactive@.service"),
        ("mac", "launchd", "com.planner.interactive.plist"),
        ("team-router", "kubernetes", "interactive.yaml"),
    ],
)
def test_main_files_have_their_promised_names(case: str, target: str, main: str) -> None:
    bundle = rendered(case, target)
    assert bundle.main == main
    assert main in bundle


@pytest.mark.parametrize("case", plans.CASES)
def test_every_text_ends_with_one_newline_and_has_no_trailing_blanks(case: str) -> None:
    for path, text in rendered(case, "all").items():
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert not [line for line in text.split("\n") if line != line.rstrip() and line.strip()], path
        assert "\r" not in text, path


@pytest.mark.parametrize("case", plans.CASES)
def test_manifests_name_every_file_with_mode_and_digest(case: str) -> None:
    plan, units = plans.CASES[case]()
    for target in TARGETS:
        try:
            bundle = lay_out(plan, units, target)
        except RenderError:
            continue
        manifest = json.loads(bundle[f"planner-manifest.{target}.json"])
        listed = {entry["path"]: entry for entry in manifest["files"]}
        assert set(listed) == set(bundle) - {f"planner-manifest.{target}.json"}
        for path, entry in listed.items():
            assert entry["sha256"] == hashlib.sha256(bundle[path].encode()).hexdigest()
            assert int(entry["mode"], 8) == bundle.modes[path]
        assert manifest["catalog_digest"] == plan.catalog_digest
        assert len(manifest["plan_digest"]) == len(manifest["template_digest"]) == 12


def test_files_say_where_they_come_from_and_the_version_stands_in_the_manifest_only() -> None:
    import planner

    bundle = rendered("team-router", "compose")
    digest = json.loads(bundle["planner-manifest.compose.json"])["plan_digest"]
    for path, text in bundle.items():
        if path.endswith(".json"):
            continue
        assert f"Generated by planner from plan {digest}" in text, path
        assert "planner render compose --plan plan.json --out DIR" in text, path
        assert planner.__version__ not in text.split("\n")[0], path


def test_another_plan_has_another_digest() -> None:
    plan, units = plans.cpu()
    other = replace(plan, catalog_digest="ba9876543210")
    one, two = (json.loads(lay_out(p, units, "launch")["planner-manifest.launch.json"]) for p in (plan, other))
    assert one["plan_digest"] != two["plan_digest"]
    assert one["template_digest"] == two["template_digest"]


def test_the_render_command_repeats_the_options() -> None:
    text = rendered("cpu-numa", "systemd", models_dir="/srv/models", numa_style="directives")[
        "planner-interactive.service"
    ]
    assert "planner render systemd --plan plan.json --models-dir /srv/models --numa-style directives --out DIR" in text


def test_scripts_are_executable_and_nothing_else_is() -> None:
    bundle = rendered("ollama", "launch")
    assert {path for path, mode in bundle.modes.items() if mode == 0o755} == {
        "interactive.sh",
        "interactive-prepare.sh",
        "router.sh",
    }


def test_no_secret_is_ever_rendered() -> None:
    for _, bundle in ALL:
        assert not [path for path in bundle if Path(path).name in ("api_key", "api-key", ".env")]


@pytest.mark.parametrize(
    ("case", "target", "remedy"),
    [
        ("mac", "compose", "launchd"),
        ("mac", "systemd", "launchd"),
        ("mac", "kubernetes", "launchd"),
        ("cpu-numa", "launchd", "compose"),
    ],
)
def test_a_target_that_cannot_serve_the_plan_names_those_that_can(case: str, target: str, remedy: str) -> None:
    with pytest.raises(RenderError) as caught:
        rendered(case, target)
    assert remedy in (caught.value.hint or "")


def test_an_unknown_target_is_a_usage_error_with_a_near_miss() -> None:
    with pytest.raises(UsageError, match="compos") as caught:
        rendered("cpu-numa", "compos")
    assert "compose" in (caught.value.hint or "")


def test_one_role_alone_needs_no_router() -> None:
    bundle = rendered("team-router", "compose", role="batch")
    document = yaml.safe_load(bundle["compose.yaml"])
    assert set(document["services"]) == {"batch", "pull"}
    assert document["services"]["batch"]["ports"][0]["host_ip"] == "127.0.0.1"
    with pytest.raises(RenderError, match="no service of the role image"):
        rendered("team-router", "compose", role="image")


@pytest.mark.parametrize("name", ["Chat", "a_b", "router", "", "a" * 41, "x.y", "-a", "a\nb"])
def test_names_that_cannot_name_units_are_refused(name: str) -> None:
    plan, (unit,) = plans.cpu()
    bad = replace(unit, service=replace(unit.service, name=name))
    with pytest.raises(RenderError, match="cannot name files"):
        lay_out(plan, (bad,), "launch")


def test_two_services_on_one_port_are_refused() -> None:
    plan, (gpu, batch) = plans.team()
    clash = replace(batch, launch=replace(batch.launch, port=8000))
    with pytest.raises(RenderError, match="both want port 8000"):
        lay_out(plan, (gpu, clash), "compose")


def test_a_server_without_a_key_is_never_bound_to_the_network() -> None:
    plan, (unit,) = plans.ollama()
    with pytest.raises(RenderError, match="checks no key"):
        lay_out(replace(plan, router=None), (unit,), "compose", RenderOptions(bind="0.0.0.0"))


def test_bind_moves_the_published_address() -> None:
    text = rendered("team-router", "compose", bind="192.0.2.7")["compose.yaml"]
    assert yaml.safe_load(text)["services"]["router"]["ports"][0]["host_ip"] == "192.0.2.7"
    unit = rendered("cpu-numa", "systemd", bind="192.0.2.7")["planner-interactive.service"]
    assert "--host 192.0.2.7" in unit
    assert "IPAddressDeny" not in unit
    assert "http://192.0.2.7:$$1/health" in unit


@pytest.mark.parametrize(
    ("target", "path", "expected"),
    [
        ("launch", "interactive.sh", "models=/srv/models\n"),
        ("compose", "compose.yaml", 'source: "/srv/models"'),
        ("systemd", "planner-interactive.service", "--model /srv/models/Qwen3-14B-Q4_K_M.gguf"),
    ],
)
def test_models_dir_fixes_the_folder(target: str, path: str, expected: str) -> None:
    assert expected in rendered("cpu-numa", target, models_dir="/srv/models")[path]


@pytest.mark.parametrize(("mount", "place"), [("", "/etc/planner/config"), ("a.yaml", "/etc/planner/config/a.yaml")])
def test_a_quadlet_mounts_the_very_file_that_a_launch_names(mount: str, place: str) -> None:
    plan, (unit,) = plans.cpu()
    launch = replace(unit.launch, mounts=(*unit.launch.mounts, Mount(source="config", name=mount, target="/etc/a")))
    text = lay_out(plan, (replace(unit, launch=launch),), "quadlet")["planner-interactive.container"]
    assert f"Volume={place}:/etc/a:ro" in text.split("\n")


# Validators.


@pytest.mark.parametrize(("name", "text"), files("compose.yaml"))
def test_compose_files_satisfy_the_schema(name: str, text: str) -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(yaml.safe_load(text))


@pytest.mark.parametrize(("name", "text"), files(".yaml"))
def test_yaml_of_every_target_passes_yamllint(name: str, text: str) -> None:
    from yamllint import linter
    from yamllint.config import YamlLintConfig

    config = YamlLintConfig("{extends: default, rules: {line-length: disable, document-start: disable}}")
    assert not list(linter.run(text, config))


@pytest.mark.parametrize(("name", "text"), files(".plist"))
def test_property_lists_parse_and_hold_the_keys_of_an_agent(name: str, text: str) -> None:
    document = plistlib.loads(text.encode())
    assert document["Label"] == name.rpartition("/")[2].removesuffix(".plist")
    assert document["ProgramArguments"][0].startswith("/")
    assert document["KeepAlive"] == {"SuccessfulExit": False}
    assert document["ProcessType"] == "Interactive"


def test_scripts_pass_bash_and_shellcheck(tmp_path: Path) -> None:
    paths = []
    for name, text in files(".sh"):
        path = tmp_path / name.replace("/", "_")
        path.write_text(text)
        paths.append(str(path))
    assert paths
    for path in paths:
        subprocess.run(["bash", "-n", path], check=True)
    done = subprocess.run(["shellcheck", *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "text"), files("README.md"))
def test_commands_of_readmes_are_shell(name: str, text: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_dockerfiles_pass_hadolint(tmp_path: Path) -> None:
    for number, (_, text) in enumerate(files("Dockerfile")):
        path = tmp_path / f"Dockerfile{number}"
        path.write_text(text)
        done = subprocess.run(["hadolint", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def unit_keys(text: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, key, value in unit_settings(text):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize(("name", "text"), files(".service"))
def test_units_are_sandboxed_and_their_first_word_is_absolute(name: str, text: str) -> None:
    keys = unit_keys(text)
    assert keys["ExecStart"][0].startswith("/")
    for key, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
        "UMask": "0077",
        "LockPersonality": "yes",
    }.items():
        assert keys[key] == [value], (name, key)
    assert "%i" not in " ".join(keys.get("NUMAMask", []) + keys.get("CPUAffinity", []))


def test_a_gpu_unit_keeps_its_devices_and_its_compiler() -> None:
    keys = unit_keys(rendered("team-router", "systemd")["planner-interactive.service"])
    assert keys["PrivateDevices"] == ["no"]
    assert keys["DevicePolicy"] == ["closed"]
    assert "char-nvidia rw" in keys["DeviceAllow"]
    assert "char-nvidia-uvm rw" in keys["DeviceAllow"]
    assert "MemoryDenyWriteExecute" not in keys
    assert "AF_NETLINK" in keys["RestrictAddressFamilies"][0]


def test_a_cpu_unit_is_bound_locked_and_limited_as_planned() -> None:
    keys = unit_keys(rendered("cpu-numa", "systemd")["planner-interactive.service"])
    assert keys["ExecStart"][0].startswith(
        "/usr/bin/numactl \\\n  --cpunodebind=0 \\\n  --membind=0 \\\n  -- /usr/local/bin/"
    )
    assert keys["MemoryMax"] == [str(14 * 1024**3)]
    assert keys["LimitMEMLOCK"] == ["infinity"]
    assert keys["LoadCredential"] == ["api-key:/etc/planner/api-key"]
    assert "--api-key-file %d/api-key" in keys["ExecStart"][0]
    assert "NUMAPolicy" not in keys


def test_numa_directives_replace_numactl() -> None:
    keys = unit_keys(rendered("cpu-numa", "systemd", numa_style="directives")["planner-interactive.service"])
    assert "numactl -" not in keys["ExecStart"][0]
    assert (keys["NUMAPolicy"], keys["NUMAMask"], keys["CPUAffinity"]) == (["bind"], ["0"], ["numa"])
    instances = rendered("per-node", "systemd", numa_style="directives")
    assert "NUMAPolicy" not in unit_keys(instances["planner-interactive@.service"])
    drop_in = unit_keys(instances["planner-interactive@1.service.d/instance.conf"])
    assert (drop_in["NUMAMask"], drop_in["Environment"]) == (["1"], ["PLANNER_PORT=8081"])
    with pytest.raises(RenderError, match="numa style"):
        rendered("cpu-numa", "systemd", numa_style="magic")


def test_a_daemon_sets_the_wired_limit_where_it_is_asked_for() -> None:
    assert not any(path.startswith("daemon/") for path in rendered("mac", "launchd"))
    bundle = rendered("mac", "launchd", wired_limit_bytes=48 * 1024**3)
    daemon = plistlib.loads(bundle["daemon/com.planner.wired-limit.plist"].encode())
    assert daemon["ProgramArguments"] == ["/usr/sbin/sysctl", "iogpu.wired_limit_mb=49152"]
    assert (daemon["RunAtLoad"], daemon["LaunchOnlyOnce"]) == (True, True)
    assert "--wired-limit 49152MiB" in bundle["README.md"]
    assert "/Library/LaunchDaemons/com.planner.wired-limit.plist" in bundle["README.md"]


@pytest.mark.parametrize(
    ("case", "limit_gib", "message"),
    [("mac", 60, "leaves too little of 64.0 GiB"), ("mac", 0, "leaves too little"), ("cpu-numa", 8, "only a Mac")],
)
def test_a_wired_limit_leaves_the_system_its_own(case: str, limit_gib: int, message: str) -> None:
    target = "launchd" if case == "mac" else "systemd"
    with pytest.raises(RenderError, match=message):
        rendered(case, target, wired_limit_bytes=limit_gib * 1024**3)


# Own templates.


def test_a_template_can_be_overridden_alone(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "env.example.j2").write_text("# mine\n")
    bundle = rendered("cpu-numa", "compose", templates=tmp_path)
    assert bundle[".env.example"] == "# mine\n"
    assert bundle["compose.yaml"].count("--templates TEMPLATES") == 1
    assert str(tmp_path) not in "".join(bundle.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ missing }}\n", "missing"),
        ("{% if %}\n", "line 1"),
        ("services: {}\n", "is missing"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_broken_template_is_an_error_that_names_the_fault(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "compose.yaml.j2").write_text(text)
    with pytest.raises(RenderError, match=message):
        rendered("cpu-numa", "compose", templates=tmp_path)


def test_a_template_that_loses_a_quote_is_caught(tmp_path: Path) -> None:
    from planner.rendering.templates import template_folder

    text = (template_folder() / "systemd" / "service.j2").read_text()
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "service.j2").write_text(text.replace("{{ exec_start }}", "{{ exec_start }} --more"))
    with pytest.raises(RenderError, match="does not read back as planned"):
        rendered("cpu-numa", "systemd", templates=tmp_path)


def test_a_missing_templates_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="does not exist"):
        rendered("cpu-numa", "launch", templates=tmp_path / "nothing")
