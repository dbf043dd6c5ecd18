"""Where model packages are found: those shipped beside this module, and those that the user added."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recon_core.engine.package import ModelPackage, load_package
from recon_core.errors import ModelError
from recon_core.user_folder import user_folder

SHIPPED = Path(__file__).parents[1] / "models"
VARIABLE = "RECONSTREAM_MODELS"


@dataclass(frozen=True)
class ModelStore:
    """The packages there are. A name is looked up among the folders found, and never made part of a path."""

    shipped: Path
    added: Path

    @classmethod
    def default(cls) -> ModelStore:
        return cls(SHIPPED, user_folder(VARIABLE, "models"))

    def folders(self) -> dict[str, Path]:
        """Each package's folder by its name; where both have the name, the one that was added."""
        found: dict[str, Path] = {}
        for parent in (self.shipped, self.added):
            if parent.is_dir():
                names = (p for p in sorted(parent.iterdir()) if p.is_dir() and p.name[0] not in "._")
                found |= {path.name: path for path in names}
        return dict(sorted(found.items()))

    def load(self, name: str) -> ModelPackage:
        """The package of that name, verified.

        Raises ModelError for an unknown name, a package that `load_package` refuses, and one of another name.
        """
        folders = self.folders()
        if name not in folders:
            known = ", ".join(folders) or "none"
            raise ModelError(
                f"model '{name}': expected one of those there are ({known}), got another; "
                "add it with `reconstream models add`, or correct the name"
            )
        package = load_package(folders[name])
        if package.manifest.name != name:
            raise ModelError(
                f"{folders[name]}: expected model '{name}', got '{package.manifest.name}'; "
                "a folder has its model's name"
            )
        return package

    def add(self, folder: Path) -> ModelPackage:
        """Verify the package in `folder` and copy it to the user's, whole or not at all.

        One of a shipped package's name takes its place: a site's own version of it, until it is removed.
        Raises ModelError as `load_package`, and where a model of that name was added before.
        """
        package = load_package(folder)
        name = package.manifest.name
        if (self.added / name).exists():
            raise ModelError(
                f"model '{name}': expected a new name, got one that was added before; remove that first "
                f"(`reconstream models remove {name}`)"
            )
        self.added.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.added))
        try:
            shutil.copytree(folder, unfinished / name, ignore=shutil.ignore_patterns(".*"))
            load_package(unfinished / name)
            (unfinished / name).rename(self.added / name)
        finally:
            shutil.rmtree(unfinished)
        return self.load(name)

    def remove(self, name: str) -> None:
        """Delete a package that was added.

        Raises ModelError for any other name.
        """
        folder = self.folders().get(name)
        if folder is None or folder.parent != self.added:
            added = [n for n, path in self.folders().items() if path.parent == self.added]
            raise ModelError(
                f"model '{name}': expected one that was added ({', '.join(added) or 'none'}), got "
                f"{'one that came with reconstream' if folder else 'an unknown name'}; name one of those"
            )
        shutil.rmtree(folder)
