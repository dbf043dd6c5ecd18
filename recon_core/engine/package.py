"""Model packages: a network's weights and what is known of them, in a folder whose every byte is checked.

::

    model.safetensors   the weights; a format that holds arrays and can run nothing
    model.toml          the manifest, with the SHA-256 of the weights
    model.sha256        the SHA-256 of the manifest, as `sha256sum --check` reads it: the hash of the package
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from recon_core.engine.manifest import Manifest, problems
from recon_core.engine.toml import to_toml
from recon_core.errors import InputError, ModelError
from recon_core.nets.registry import build

WEIGHTS, MANIFEST, SIGNATURE = "model.safetensors", "model.toml", "model.sha256"
MAX_WEIGHTS_BYTES = 2 << 30
MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class ModelPackage:
    """A verified package: its weights are those in memory, whatever becomes of the folder."""

    folder: Path
    manifest: Manifest
    hash: str
    """SHA-256 of the manifest, and through it of the weights."""
    _weights: dict[str, torch.Tensor] = field(repr=False)

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def network(self, device: torch.device | str = "cpu") -> torch.nn.Module:
        """A new copy of the network (`recon_core.nets.undersampled.Network`), in eval mode, no gradients.

        Raises ModelError where architecture, config and weights do not fit together.
        """
        where = f"{self.folder / MANIFEST}"
        try:
            with torch.random.fork_rng(devices=[]):  # first weights are drawn; nobody's seed should notice
                network = build(self.manifest.architecture, self.manifest.config)
            network.load_state_dict(self._weights)
        except (InputError, RuntimeError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(
                f"{where}: expected weights of architecture '{self.manifest.architecture}' with its config, "
                f"got others: {reason}"
            ) from error
        return network.requires_grad_(False).eval().to(device)


def write_package(folder: Path, network: torch.nn.Module, manifest: Manifest) -> ModelPackage:
    """Write the package to `folder`, which must not exist yet, whole or not at all; the same weights and
    manifest give the same bytes. `manifest.sha256` is filled in.

    Raises ModelError for a manifest that `load_package` would refuse, and where `folder` exists.
    """
    if folder.exists():
        raise ModelError(
            f"{folder}: expected a new folder for the model package, got one that exists; move it"
        )
    weights = {name: t.detach().cpu().clone().contiguous() for name, t in network.state_dict().items()}
    content = save(weights)
    manifest = msgspec.structs.replace(manifest, sha256=hashlib.sha256(content).hexdigest())
    text = to_toml(msgspec.to_builtins(manifest)).encode()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (unfinished / WEIGHTS).write_bytes(content)
        (unfinished / MANIFEST).write_bytes(text)
        (unfinished / SIGNATURE).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
        unfinished.chmod(0o755)
        package = load_package(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return replace(package, folder=folder)


def load_package(folder: Path) -> ModelPackage:
    """The package in `folder`, every file of it verified.

    Raises ModelError for a missing or foreign file, a changed byte, a missing, unknown or ill-typed field,
    another FFT convention or intensity scaling than ours, weights that are no safetensors, are not finite
    or do not fit the architecture.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: expected the folder of a model package, got none; correct the path")
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if found != {WEIGHTS, MANIFEST, SIGNATURE}:
        raise ModelError(
            f"{folder}: expected {WEIGHTS}, {MANIFEST} and {SIGNATURE}, "
            f"got {', '.join(sorted(found)) or 'nothing'}"
        )
    text = _read(folder / MANIFEST, MAX_MANIFEST_BYTES)
    package_hash = hashlib.sha256(text).hexdigest()
    if _read(folder / SIGNATURE, 1024).split() != [package_hash.encode(), MANIFEST.encode()]:
        raise ModelError(
            f"{folder / MANIFEST}: expected the SHA-256 that {SIGNATURE} states, got {package_hash}; "
            "it was changed or damaged: fetch the package again"
        )
    manifest = _manifest(folder / MANIFEST, text)
    package = ModelPackage(folder, manifest, package_hash, _weights(folder / WEIGHTS, manifest.sha256))
    package.network()
    return package


def _read(path: Path, limit: int) -> bytes:
    try:
        if (size := path.stat().st_size) > limit:
            raise ModelError(f"{path}: expected at most {limit} bytes, got {size}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: expected a readable file, got {error.strerror}") from error


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        manifest = msgspec.convert(tomllib.loads(text.decode()), Manifest)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, msgspec.ValidationError) as error:
        raise ModelError(f"{path}: expected a model's manifest, got: {error}") from error
    if found := list(problems(manifest)):
        raise ModelError(f"{path}: {'; '.join(found)}")
    return manifest


def _weights(path: Path, expected: str) -> dict[str, torch.Tensor]:
    content = _read(path, MAX_WEIGHTS_BYTES)
    if (got := hashlib.sha256(content).hexdigest()) != expected:
        raise ModelError(
            f"{path}: expected SHA-256 {expected or 'in the manifest'}, got {got}; these are not the weights "
            "that the manifest was written for: fetch the package again"
        )
    try:
        weights: dict[str, torch.Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path}: expected weights as safetensors, got: {error}; pickles are not read"
        ) from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: expected finite weights, got others in {name}")
    return weights
