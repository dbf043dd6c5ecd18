"""Packages are found by name in two folders, and nowhere else."""

from pathlib import Path

import pytest

from recon_core.engine.package import MANIFEST
from recon_core.engine.store import VARIABLE, ModelStore
from recon_core.errors import ModelError
from tests.recon_core.engine.tiny import tiny_package


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "added")


def test_shipped_and_added_packages_are_found_by_name(store: ModelStore, tmp_path: Path) -> None:
    assert store.folders() == {}
    tiny_package(store.shipped / "tiny")
    store.add(tiny_package(tmp_path / "mine", name="mine").folder)
    assert store.folders() == {"mine": store.added / "mine", "tiny": store.shipped / "tiny"}
    assert store.load("mine").id == "mine@1"


@pytest.mark.parametrize("name", ["other", "", ".", "../shipped/tiny", "tiny/", "/etc"])
def test_a_name_is_never_a_path(store: ModelStore, name: str) -> None:
    tiny_package(store.shipped / "tiny")
    with pytest.raises(ModelError, match=r"expected one of those there are \(tiny\)"):
        store.load(name)


def test_packages_with_swapped_folders_are_refused(store: ModelStore) -> None:
    tiny_package(store.shipped / "a", name="b")
    with pytest.raises(ModelError, match="expected model 'a', got 'b'"):
        store.load("a")


def test_adding_copies_the_verified_package_and_removing_deletes_it(
    store: ModelStore, tmp_path: Path
) -> None:
    original = tiny_package(tmp_path / "anywhere")
    added = store.add(original.folder)
    assert (added.folder, added.hash) == (store.added / "tiny", original.hash)
    with pytest.raises(ModelError, match="expected a new name"):
        store.add(original.folder)
    store.remove("tiny")
    assert list(store.added.iterdir()) == []
    assert original.folder.exists()


def test_an_added_package_takes_the_place_of_a_shipped_one_until_it_is_removed(
    store: ModelStore, tmp_path: Path
) -> None:
    shipped = tiny_package(store.shipped / "tiny")
    adapted = tiny_package(tmp_path / "adapted", seed=1, version="1+site")
    assert store.add(adapted.folder).hash == store.load("tiny").hash == adapted.hash
    with pytest.raises(ModelError, match="models remove tiny"):
        store.add(adapted.folder)
    store.remove("tiny")
    assert store.load("tiny").hash == shipped.hash


def test_a_damaged_package_is_not_added(store: ModelStore, tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny").folder
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace("MIT", "GPL"))
    with pytest.raises(ModelError, match="changed or damaged"):
        store.add(folder)
    assert not store.added.exists()


def test_only_what_was_added_is_removed(store: ModelStore) -> None:
    tiny_package(store.shipped / "tiny")
    with pytest.raises(ModelError, match="got one that came with reconstream"):
        store.remove("tiny")
    with pytest.raises(ModelError, match="got an unknown name"):
        store.remove("other")
    assert store.load("tiny").id == "tiny@1"


def test_the_environment_says_where_added_packages_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert ModelStore.default().added == tmp_path
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert ModelStore.default().added == tmp_path / "reconstream" / "models"
