"""Names of listed folders are kept in little memory, and in rclone's order."""

from __future__ import annotations

from efss_transfer.webdav.archives.folder_names import ArrivingNames, FolderNames, NamedFolder


def arrived(*names: str, folders: tuple[str, ...] = ()) -> ArrivingNames:
    arriving = ArrivingNames()
    for name in names:
        arriving.add(name, 10)
    for name in folders:
        arriving.add_folder(name)
    return arriving


def test_names_are_in_the_order_of_their_bytes() -> None:
    names = FolderNames(1 << 16)
    names.put(("a",), arrived("b", "ä", "B", "☃", folders=("z", "y")))
    assert names.find(("a",)) == NamedFolder(("B", "b", "ä", "☃"), ("y", "z"), 40, is_whole=True)
    assert names.find(("b",)) is None
    names.clear()
    assert names.find(("a",)) is None


def test_anything_else_makes_a_folder_less_than_whole() -> None:
    names = FolderNames(1 << 16)
    names.put(("twice",), arrived("b", "b"))
    other = arrived("b")
    other.add_other()
    names.put(("other",), other)
    for name in ("twice", "other"):
        found = names.find((name,))
        assert found is not None
        assert not found.is_whole


def test_memory_is_bounded() -> None:
    names = FolderNames(1 << 14)
    for number in range(100):
        names.put((f"{number}",), arrived(*(f"{number}-{n}" for n in range(100))))
    assert names.find(("0",)) is None
    assert names.find(("99",)) is not None
    names.put(("99",), arrived(*(f"{n:0100}" for n in range(1000))))
    assert names.find(("99",)) is None
    many = FolderNames(1 << 30)
    many.put((), arrived(*map(str, range(6000))))
    found = many.find(())
    assert found is not None
    assert len(found.names) == 5000
    assert not found.is_whole
