"""A package is what was written, byte for byte, or it is refused with a reason."""

import hashlib
import pickle
import subprocess
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save

from recon_core.engine.manifest import Manifest
from recon_core.engine.package import MANIFEST, SIGNATURE, WEIGHTS, load_package, write_package
from recon_core.errors import ModelError
from tests.recon_core.engine.tiny import Tiny, slices, tiny_manifest, tiny_network, tiny_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_package(tmp_path / "tiny").folder


def rewritten(folder: Path, old: str, new: str) -> None:
    """The manifest changed, and signed anew: what is left to refuse is what it says."""
    text = (folder / MANIFEST).read_text()
    assert text.count(old) == 1
    (folder / MANIFEST).write_text(text.replace(old, new))
    sign(folder)


def sign(folder: Path) -> None:
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    (folder / SIGNATURE).write_text(f"{digest}  {MANIFEST}\n")


def test_a_loaded_package_gives_the_images_of_the_network_written(folder: Path) -> None:
    package = load_package(folder)
    network = package.network()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    normalised, _ = slices(2).normalised()
    assert torch.equal(network(normalised), tiny_network()(normalised))
    assert package.id == "tiny@1"
    expected = msgspec.structs.replace(
        tiny_manifest(), sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    )
    assert package.manifest == expected


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (tiny_package(tmp_path / name).folder for name in ("a", "b"))
    for name in (WEIGHTS, MANIFEST, SIGNATURE):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert load_package(first).hash == load_package(second).hash
    assert load_package(first).hash != tiny_package(tmp_path / "c", seed=1).hash


def test_the_hash_is_the_one_that_sha256sum_checks(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", SIGNATURE], cwd=folder, check=True)


def test_weights_that_lie_otherwise_in_memory_are_written(tmp_path: Path) -> None:
    network = tiny_network().to(memory_format=torch.channels_last)
    assert (
        write_package(tmp_path / "tiny", network, tiny_manifest()).hash == tiny_package(tmp_path / "b").hash
    )


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_package(folder)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, SIGNATURE])
def test_every_changed_byte_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for position in {0, *range(0, len(content), 37), len(content) - 2}:
        changed = bytearray(content)
        changed[position] ^= 1
        (folder / name).write_bytes(changed)
        with pytest.raises(ModelError, match=r"model\.(toml|safetensors)"):
            load_package(folder)
    (folder / name).write_bytes(content)
    load_package(folder)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, SIGNATURE])
def test_a_truncated_or_missing_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="SHA-256"):
        load_package(folder)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"expected {WEIGHTS}, {MANIFEST} and {SIGNATURE}, got"):
        load_package(folder)


def test_weights_swapped_with_another_package_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tiny_package(tmp_path / "other", seed=1).folder
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(ModelError, match="not the weights that the manifest was written for"):
        load_package(folder)


def test_a_manifest_that_is_not_signed_for_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("n_coils = [1, 8]", "n_coils = [1, 64]"))
    with pytest.raises(ModelError, match="changed or damaged"):
        load_package(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "model.pt"])
def test_a_pickle_is_refused_and_not_run(folder: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("a pickle was run",)

    content = pickle.dumps(Bomb())
    old = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / name).write_bytes(content)
    if name == WEIGHTS:
        rewritten(folder, old, hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="pickles are not read" if name == WEIGHTS else "got model.pt"):
        load_package(folder)


REQUIRED = [f.name for f in msgspec.structs.fields(Manifest) if f.required]


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_refused_by_name(folder: Path, field: str) -> None:
    lines = (folder / MANIFEST).read_text().splitlines()
    kept, is_inside = [], False
    for line in lines:
        if line.startswith("["):
            is_inside = line.strip("[]").split(".")[0] == field
        if not is_inside and not line.startswith(f"{field} ="):
            kept.append(line)
    (folder / MANIFEST).write_text("\n".join(kept) + "\n")
    sign(folder)
    with pytest.raises(ModelError, match=f"missing required field `{field}`"):
        load_package(folder)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('fft = "centred-orthonormal"', 'fft = "uncentred"', "fft: expected 'centred-orthonormal', got"),
        ('"zero-filled-p99"', '"maximum"', "intensity_scaling: expected 'zero-filled-p99', got 'maximum'"),
        ('name = "tiny"', 'name = "../tiny"', "name: expected small letters"),
        ('version = "1"', 'version = "1/2"', "version: expected letters"),
        ('precision = ["float32"]', 'precision = ["bfloat16"]', "precision: expected float32 among them"),
        ('precision = ["float32"]', 'precision = ["float8"]', "Invalid enum value 'float8'"),
        ("acceleration = [1.5, 4]", "acceleration = [4, 1.5]", "ranges.acceleration: expected two growing"),
        ("acceleration = [1.5, 4]", "acceleration = [1.5, inf]", "ranges.acceleration: expected two growing"),
        ('masks = ["equispaced_lines"]', "masks = []", "ranges.masks: expected at least one name"),
        ('about = "A', 'abuot = "A', "unknown field `abuot`"),
        ("seed = 0", 'seed = "0"', "Expected `int`, got `str`"),
        ("seed = 0", "seed = ", "Invalid value"),
        ('architecture = "tiny"', 'architecture = "' + "a" * (2 << 20) + '"', "expected at most"),
        ("n_features = 4", "n_features = 5", "size mismatch"),
        ("n_features = 4", "n_feathers = 4", "n_feathers"),
        ('terms = "permissive"\nlicence', 'terms = "research"\nlicence', "terms: expected 'research'"),
    ],
)  # fmt: skip
def test_what_a_manifest_says_wrongly_is_named(folder: Path, old: str, new: str, reason: str) -> None:
    rewritten(folder, old, new)
    with pytest.raises(ModelError) as refused:
        load_package(folder)
    assert reason in str(refused.value)
    assert "model.toml" in str(refused.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = tiny_network()
    network.convolutions[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"finite weights, got others in convolutions\.0\.weight"):
        write_package(tmp_path / "tiny", network, tiny_manifest())
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    old = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / WEIGHTS).write_bytes(content := save(Tiny(n_features=6).state_dict()))
    rewritten(folder, old, hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match=r"architecture 'tiny' with its config, got others.*size mismatch"):
        load_package(folder)


def test_a_package_is_written_once(folder: Path) -> None:
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(ModelError, match="expected a new folder"):
        tiny_package(folder, seed=1)
    assert (folder / MANIFEST).read_bytes() == before


def test_names_and_texts_of_all_kinds_come_back(tmp_path: Path) -> None:
    strange = 'a "quoted" name\n\twith\\ lines, \x7f, ü and 脳'
    metrics = {strange: {"psnr": {"model": 1e-7, "fallback": 1e22}}, "empty": {}}
    package = tiny_package(tmp_path / "tiny", about=strange, metrics=metrics)
    assert (package.manifest.about, package.manifest.metrics) == (strange, metrics)
