"""Images pinned by digest: a catalog folder of one's own says what a tag stands for, every container target uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import planner
from planner.catalog.catalog import Catalog
from planner.cli.app import build
from planner.errors import CatalogError
from planner.rendering import Bundle

PLAN = Path(__file__).parents[2] / "examples" / "2x-rtx-3090" / "plan.json"
DIGEST = "sha256:" + 8 * "0123abcd"
BASE = "docker.io/library/python:3.13.9-slim-trixie"
TARGETS = ("compose", "quadlet", "kubernetes")


def images() -> list[str]:
    """What the plan's services run in, and what the router and the download job are built from."""
    found = [BASE]
    for service in planner.load_plan(PLAN).services:
        known = planner.load_catalog().server(service.server).images
        found.append(next(image.reference for image in known if image.backend == service.backend))
    return found


def own_catalog(folder: Path, digest: str = DIGEST) -> Path:
    folder.mkdir(exist_ok=True)
    entries = [{"id": image, "digest": digest, "source": "the registry, today"} for image in images()]
    (folder / "images.yaml").write_text(yaml.safe_dump(entries))
    return folder


def rendered(target: str, catalog: Catalog | None = None, **options: object) -> Bundle:
    return planner.render(planner.load_plan(PLAN), target, catalog=catalog, **options)


def everything(bundle: Bundle) -> str:
    return "\n".join(text for path, text in bundle.items() if path != "README.md")


@pytest.mark.parametrize("target", TARGETS)
def test_a_known_digest_stands_behind_every_tag(target: str, tmp_path: Path) -> None:
    bundle = rendered(target, planner.load_catalog(own_catalog(tmp_path / "own")), require_digests=True)
    text = everything(bundle)
    for image in images():
        assert text.count(f"{image}@{DIGEST}") == text.count(image) > 0
    assert "No digest is known" not in text
    assert "Pinning images" not in bundle["README.md"]


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_digest_is_said_and_never_invented(target: str) -> None:
    bundle = rendered(target)
    text = everything(bundle)
    assert text.count("No digest is known") == len(planner.load_plan(PLAN).services)
    assert "@sha256:" not in text
    for image in images():
        assert f"imagetools inspect {image} --format '{{{{.Manifest.Digest}}}}'" in bundle["README.md"]


def test_what_the_readme_says_to_write_is_a_catalog_file(tmp_path: Path) -> None:
    block = rendered("compose")["README.md"].partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "images.yaml").write_text(block.replace("sha256:...", DIGEST))
    assert rendered("compose", planner.load_catalog(tmp_path), require_digests=True)


@pytest.mark.parametrize("digest", ["", "latest", "sha256:12", "sha512:" + 64 * "a", DIGEST.upper(), DIGEST + "\n"])
def test_what_is_no_digest_is_an_error_with_its_place(digest: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"images\.yaml.*digest"):
        planner.load_catalog(own_catalog(tmp_path / "own", digest)).server("vllm")


def render(*options: str, catalog: Path | None = None) -> Result:
    environment = {"PLANNER_CATALOG": str(catalog)} if catalog else {}
    return CliRunner(env=environment).invoke(build(), ["render", "compose", "--plan", str(PLAN), *options])


def test_the_command_refuses_tags_alone_when_told_so(tmp_path: Path) -> None:
    assert render().exit_code == 0
    refused = render("--require-digests")
    assert refused.exit_code == 1
    assert "no digest is known for" in refused.stderr
    assert render("--require-digests", catalog=own_catalog(tmp_path / "own")).exit_code == 0
