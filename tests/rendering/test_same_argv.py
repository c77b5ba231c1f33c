"""Every target decodes to the same command, whatever the names are."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace

from planner.hardware.facts import Os
from planner.planning.plan import Plan
from planner.rendering import lay_out
from planner.rendering.deployment import Unit
from planner.rendering.parsing import compose_value, kubernetes_value, systemd_words, unit_settings
from planner.servers.records import Argument
from tests.rendering import plans
from tests.rendering.test_quoting import NASTY

# No control characters: XML cannot hold them, and server rooms refuse them.
WORD = st.one_of(
    st.sampled_from([word for word in NASTY if word.isprintable() and word]),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp"), exclude_characters="\ufeff"), min_size=1),
)


def hostile(text: str, variable: str) -> tuple[Plan, Unit]:
    """The CPU plan with a strange file name, a strange argument and a strange variable."""
    plan, (unit,) = plans.cpu()
    argv = [replace(a, text=text) if a.kind == "models" else a for a in unit.launch.argv]
    launch = replace(
        unit.launch, argv=(*argv, Argument(text="--odd"), Argument(text=text)), environment=(("ODD", variable),)
    )
    return plan, replace(unit, launch=replace(launch, image_entrypoint_words=1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORD, WORD)
def test_five_targets_say_the_same_words(text: str, variable: str) -> None:
    plan, unit = hostile(text, variable)
    service = yaml.safe_load(lay_out(plan, (unit,), "compose")["compose.yaml"])["services"]["interactive"]
    compose = [compose_value(word, {}) for word in service["command"]]
    unit_text = lay_out(plan, (unit,), "systemd")["planner-interactive.service"]
    execs = [value for _, key, value in unit_settings(unit_text) if key == "ExecStart"]
    systemd = systemd_words(execs[0], {"d": "/creds"}, {})
    container = lay_out(plan, (unit,), "quadlet")["planner-interactive.container"]
    quadlet = systemd_words(next(value for _, key, value in unit_settings(container) if key == "Exec"), {}, {})
    manifest = next(iter(yaml.safe_load_all(lay_out(plan, (unit,), "kubernetes")["interactive.yaml"])))
    pod = manifest["spec"]["template"]["spec"]["containers"][0]
    kubernetes = [kubernetes_value(word, {}) for word in pod["args"]]
    mac = replace(plan, hardware=replace(plan.hardware, os=Os(name="macos")))
    launchd = plistlib.loads(lay_out(mac, (unit,), "launchd")["com.planner.interactive.plist"].encode())

    def told(words: list[str], models: str, key: str) -> list[str]:
        plain = ["KEY" if word == key else word for word in words]
        return ["MODEL" if word == models + text else "HOST" if word == "0.0.0.0" else word for word in plain]

    one = told(compose, "/models/", "/run/secrets/api_key")
    two = told(list(systemd[5:]), "/var/lib/planner/models/", "/creds/api-key")
    three = told(
        launchd["ProgramArguments"][1:], "/Users/Shared/planner/models/", "/Users/Shared/planner/secrets/api_key"
    )
    assert two == three
    assert kubernetes == compose == list(quadlet)
    assert [word if word != "HOST" else "127.0.0.1" for word in one] == two
    assert compose_value(service["environment"]["ODD"], {}) == variable
    assert launchd["EnvironmentVariables"]["ODD"] == variable
    assert {entry["name"]: kubernetes_value(entry["value"], {}) for entry in pod["env"]} == {"ODD": variable}


def test_a_launch_script_really_hands_over_every_nasty_word(tmp_path: Path) -> None:
    """Bash runs the script; a stand-in for the server writes down what it was given."""
    nasty = [word for word in NASTY if word]
    plan, (unit,) = plans.cpu()
    launch = replace(
        unit.launch,
        argv=(*unit.launch.argv, *(Argument(text=word) for word in nasty)),
        numa="none",
        environment=(("ODD", "it's $HOME `id`"),),
    )
    bundle = lay_out(plan, (replace(unit, launch=launch),), "launch")
    script = tmp_path / "interactive.sh"
    script.write_text(bundle["interactive.sh"])
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api_key").write_text("key\n")
    (tmp_path / "models dir").mkdir()
    (tmp_path / "models dir" / "Qwen3-14B-Q4_K_M.gguf").touch()
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "llama-server"
    server.write_text('#!/bin/sh\nprintf "%s\\0" "$ODD" "$@"\n')
    server.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PLANNER_MODELS_DIR": str(tmp_path / "models dir")}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, check=True)
    words = done.stdout.decode().split("\0")[:-1]
    assert words[:3] == ["it's $HOME `id`", "--model", str(tmp_path / "models dir" / "Qwen3-14B-Q4_K_M.gguf")]
    assert words[-len(nasty) :] == nasty
    assert words[words.index("--api-key-file") + 1] == str(tmp_path / "secrets" / "api_key")


def refusal(folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", str(folder / "interactive.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_a_launch_script_says_what_is_missing(tmp_path: Path) -> None:
    plan, (unit,) = plans.cpu()
    bundle = lay_out(plan, (replace(unit, launch=replace(unit.launch, numa="none")),), "launch")
    (tmp_path / "interactive.sh").write_text(bundle["interactive.sh"])
    (tmp_path / "bin").mkdir()
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PLANNER_MODELS_DIR": str(tmp_path)}
    assert "llama-server is not installed" in refusal(tmp_path, environment)
    server = tmp_path / "bin" / "llama-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    assert f"no model at {tmp_path}/Qwen3-14B-Q4_K_M.gguf" in refusal(tmp_path, environment)
    (tmp_path / "Qwen3-14B-Q4_K_M.gguf").touch()
    assert "no API key in" in refusal(tmp_path, environment)
