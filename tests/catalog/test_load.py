"""Loading: layers override by id, the cache is invisible, the digest is the content's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from planner.catalog import parsing, paths
from planner.catalog.cache import cache_file
from planner.catalog.load import load_catalog
from planner.errors import CatalogError

DEVICE = "{id: %s, name: %s, vendor: V, kind: gpu, source: test, memory_bandwidth_gb_per_s: %s}"


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "planner"


def no_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("YAML was parsed")

    monkeypatch.setattr(parsing, "parse_yaml", refuse)


def own_folder(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / "own" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return tmp_path / "own"


def test_a_warm_start_parses_no_yaml(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cold = load_catalog()
    assert list(fresh_cache.glob("catalog-*.msgpack"))
    no_parsing(monkeypatch)
    warm = load_catalog()
    assert warm.digest == cold.digest
    assert warm.devices == cold.devices
    assert warm.models == cold.models
    assert warm.matrix == cold.matrix
    assert warm.speed == cold.speed


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 5000])
def test_a_broken_cache_is_ignored_and_written_anew(
    content: bytes, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load_catalog().digest
    (file,) = fresh_cache.glob("catalog-*.msgpack")
    file.write_bytes(content)
    assert load_catalog().digest == digest
    no_parsing(monkeypatch)
    assert load_catalog().digest == digest


def test_a_cache_with_one_flipped_byte_is_ignored(fresh_cache: Path) -> None:
    expected = load_catalog().devices
    (file,) = fresh_cache.glob("catalog-*.msgpack")
    stored = bytearray(file.read_bytes())
    stored[len(stored) // 2] ^= 0xFF
    file.write_bytes(bytes(stored))
    assert load_catalog().devices == expected


def test_the_cache_can_be_switched_off(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_CACHE", "off")
    assert load_catalog().quant("Q4_K_M").format == "gguf"
    assert not fresh_cache.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_catalog().models


def test_no_home_folder_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    assert cache_file("1", ()) is None
    assert load_catalog().quants


def test_an_edit_is_seen_even_with_the_old_size_and_time(fresh_cache: Path, tmp_path: Path) -> None:
    """Installers and version control restore modification times."""
    folder = own_folder(tmp_path, "devices/mine.yaml", "- " + DEVICE % ("mine", "Mine", "100"))
    assert load_catalog(folder).device("Mine").bandwidth_bytes_per_s == 100e9
    file = folder / "devices/mine.yaml"
    before = file.stat()
    file.write_text("- " + DEVICE % ("mine", "Mine", "200"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_catalog(folder).device("Mine").bandwidth_bytes_per_s == 200e9


def test_the_digest_is_of_names_and_contents_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel holds the same files in planner/_data, with other times and in another place."""
    here = load_catalog().digest
    package = tmp_path / "site-packages" / "planner"
    shutil.copytree(paths.data_folder("catalog"), package / "_data" / "catalog", copy_function=shutil.copyfile)
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", package)
    assert paths.data_folder("catalog") == package / "_data" / "catalog"
    assert load_catalog().digest == here
    (package / "_data/catalog/cpus.yaml").write_text("[]\n")
    assert load_catalog().digest != here


def test_the_packaged_data_go_before_the_folder_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "planner"
    (tmp_path / "catalog").mkdir()
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", package)
    assert paths.data_folder("catalog") == tmp_path / "catalog"
    (package / "_data" / "catalog").mkdir(parents=True)
    assert paths.data_folder("catalog") == package / "_data" / "catalog"


def test_an_installation_without_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "planner")
    with pytest.raises(CatalogError, match="'absent' is missing"):
        paths.data_folder("absent")


def test_an_own_folder_overrides_by_id_and_adds(tmp_path: Path) -> None:
    shipped = load_catalog()
    text = "- " + DEVICE % ("rtx-4090", "GeForce RTX 4090", "1") + "\n- " + DEVICE % ("zx-1", "ZX 1", "2")
    more = load_catalog(own_folder(tmp_path, "devices/mine.yaml", text))
    assert more.device("RTX 4090").bandwidth_bytes_per_s == 1e9
    assert more.device("zx1").bandwidth_bytes_per_s == 2e9
    assert more.device("RTX 3090") == shipped.device("RTX 3090")
    assert len(more.devices) == len(shipped.devices) + 1
    assert more.digest != shipped.digest


def test_the_layers_are_shipped_then_own_then_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, given = tmp_path / "config/planner/catalog", tmp_path / "given"
    for folder, rate in ((own, "10"), (given, "20")):
        (folder / "devices").mkdir(parents=True)
        (folder / "devices/a.yaml").write_text("- " + DEVICE % ("zx-1", "ZX 1", rate))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert load_catalog().device("ZX 1").bandwidth_bytes_per_s == 10e9
    assert load_catalog(given).device("ZX 1").bandwidth_bytes_per_s == 20e9
    monkeypatch.setenv("PLANNER_CATALOG", str(given))
    assert load_catalog().device("ZX 1").bandwidth_bytes_per_s == 20e9


def test_a_named_folder_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CatalogError, match="no catalog folder"):
        load_catalog(tmp_path / "absent")
    monkeypatch.setenv("PLANNER_CATALOG", str(tmp_path / "absent"))
    with pytest.raises(CatalogError, match="PLANNER_CATALOG"):
        load_catalog()


def test_a_misspelt_section_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as raised:
        load_catalog(own_folder(tmp_path, "device/mine.yaml", "[]"))
    assert "devices" in (raised.value.hint or "")


def test_an_id_twice_in_one_folder_names_both_files(tmp_path: Path) -> None:
    own_folder(tmp_path, "devices/a.yaml", "- " + DEVICE % ("zx-1", "ZX 1", "1"))
    folder = own_folder(tmp_path, "devices/b.yaml", "- " + DEVICE % ("zx-1", "ZX 1", "2"))
    with pytest.raises(CatalogError, match=r"b\.yaml.*zx-1.*a\.yaml"):
        load_catalog(folder)


def test_a_fault_in_an_own_file_names_it(tmp_path: Path) -> None:
    folder = own_folder(
        tmp_path, "quants.yaml", "- {id: X, format: gguf, scheme: s, nominal_bits: '4', speed_class: low}"
    )
    with pytest.raises(CatalogError, match=r"own/quants\.yaml: X: nominal_bits: Expected `float`, got `str`"):
        load_catalog(folder)


def test_own_matrix_rows_are_asked_first(tmp_path: Path) -> None:
    shipped = load_catalog()
    row = "- {id: mine, title: t, when: [always], servers: [ollama], because: b, cost: c}"
    more = load_catalog(own_folder(tmp_path, "decision_matrix.yaml", row))
    assert [each.id for each in more.matrix] == ["mine", *(each.id for each in shipped.matrix)]


def test_another_matrix_replaces_all_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.yaml"
    file.write_text("- {id: mine, title: t, when: [always], servers: [ollama], because: b, cost: c}")
    shipped = load_catalog()
    other = shipped.with_matrix(file)
    assert [row.id for row in other.matrix] == ["mine"]
    assert other.models == shipped.models
    assert other.digest != shipped.digest
    for broken in ("[]", "- {id: mine}", "a: ["):
        file.write_text(broken)
        with pytest.raises(CatalogError, match=r"rows\.yaml"):
            shipped.with_matrix(file)
    with pytest.raises(CatalogError, match="absent"):
        shipped.with_matrix(tmp_path / "absent.yaml")


def test_a_cache_of_other_records_is_read_again_from_the_files(fresh_cache: Path) -> None:
    """A section that no longer decodes (records changed under a running cache) falls back to the files."""
    import msgspec

    catalog = load_catalog()
    broken = msgspec.structs.replace(catalog._parsed, sections={**catalog._parsed.sections, "devices": b"\x91\x80"})
    catalog._parsed = broken
    assert catalog.device("RTX 4090").vendor == "NVIDIA"
