"""One archive carries as much as is known to be wanted, and no file is in two."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from efss_transfer.webdav.archives.known_files import KnownFiles
from efss_transfer.webdav.archives.plans import FILE_BYTES, PARAMETERS, ArchivePlan, Planner
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments, encoded

ROOM = 8 << 20


def entry(size: int) -> Entry:
    properties = {"DAV: getcontentlength": str(size)}
    return Entry("", None, (), collection=False, properties=properties)


def planner(files: dict[str, int], root: str = "") -> Planner:
    """A planner that knows a tree of files with their sizes."""
    known = KnownFiles(1 << 24, 1 << 24)
    folders: dict[Segments, dict[str, int | None]] = {(): {}}
    for name, size in files.items():
        path = tuple(name.split("/"))
        folders.setdefault(path[:-1], {})[path[-1]] = size
        for count in range(1, len(path)):
            folders.setdefault(path[: count - 1], {})[path[count - 1]] = None
    for folder, inside in folders.items():
        arriving = known.arriving()
        for name, one in inside.items():
            if one is None:
                arriving.names.add_folder(name)
            else:
                arriving.add(name, entry(one))
        known.put(folder, arriving)
    made = Planner(known, lambda path: len(encoded(path)) + 1)
    made.root = tuple(filter(None, root.split("/")))
    return made


def asked(plan: ArchivePlan | None) -> tuple[str, list[str]]:
    """The folder of an archive, and the names that it is asked for."""
    assert plan is not None
    assert plan.size == sum(known.size + FILE_BYTES for _, known in plan.files.values())
    text = unquote(plan.parameters)
    names = json.loads(text.removeprefix(PARAMETERS)) if "files" in text else []
    return "/".join(plan.folder), names


def plan(made: Planner, path: str, room: int = ROOM) -> ArchivePlan | None:
    return made.plan(tuple(path.split("/")), room)


def test_highest_folder_that_fits_is_asked_for_as_a_whole() -> None:
    made = planner({f"r/{n % 3}/{n % 2}/{n}": 100 for n in range(60)}, "r")
    found = plan(made, "r/1/0/4")
    assert asked(found) == ("r", [])
    assert found is not None
    assert len(found.files) == 60
    assert found.files["r/1/0/4"][0] == ("r", "1", "0", "4")
    assert {"r", "r/0", "r/1", "r/2", "r/2/1"} <= found.folders
    # Each file is read ahead once.
    assert plan(made, "r/2/1/5") is None


def test_configured_url_itself_is_never_asked_for_as_a_whole() -> None:
    """The name that its entries would have is not known."""
    made = planner({f"{n % 3}/{n}": 100 for n in range(60)})
    assert asked(plan(made, "0/3")) == ("", ["0", "1", "2"])
    assert plan(made, "1/1") is None
    named = planner({f"{n}": 100 for n in range(30)})
    folder, names = asked(plan(named, "0"))
    assert (folder, len(names)) == ("", 30)


def test_folders_beside_it_are_taken_as_long_as_they_fit() -> None:
    made = planner({f"r/{n // 10:02}/{n}": 37_500 for n in range(100)}, "r")
    assert asked(plan(made, "r/00/0")) == ("r", ["00", "01", "02", "03"])
    assert asked(plan(made, "r/04/40")) == ("r", ["04", "05", "06", "07"])
    assert asked(plan(made, "r/09/90")) == ("r/09", [])


def test_file_after_an_archive_is_in_the_next_folder_or_the_next_by_name() -> None:
    def following(made: Planner, path: str) -> str | None:
        found = plan(made, path)
        assert found is not None
        after = made.following(found)
        return None if after is None else "/".join(after)

    made = planner({f"r/{n // 10:02}/in/{n}": 37_500 for n in range(100)}, "r")
    assert following(made, "r/00/in/0") == "r/04/in/40"
    assert following(made, "r/09/in/90") is None
    named = planner({"r/a/large": 1 << 20, **{f"r/a/{n:03}": 10 for n in range(150)}}, "r")
    assert following(named, "r/a/000") == "r/a/100"
    assert following(named, "r/a/100") is None


def test_folder_with_a_large_file_is_asked_for_by_names() -> None:
    made = planner({"r/a/large": 1 << 20, **{f"r/a/{n:03}": 10 for n in range(250)}}, "r")
    first = plan(made, "r/a/002")
    folder, names = asked(first)
    assert (folder, names[0], len(names)) == ("r/a", "000", 100)
    assert plan(made, "r/a/099") is None
    assert asked(plan(made, "r/a/100"))[1][0] == "100"
    # Far ahead: what is between is not asked for soon, or was read before.
    assert asked(plan(made, "r/a/248"))[1][0] == "200"


def test_name_far_ahead_begins_there() -> None:
    made = planner({"r/large": 1 << 20, **{f"r/{n:03}": 10 for n in range(250)}}, "r")
    assert asked(plan(made, "r/150"))[1][0] == "150"
    assert plan(made, "r/001") is None


def test_url_and_bytes_bound_the_names() -> None:
    long = planner({"r/l": 1 << 20, **{f"r/{n:02}{'ä' * 100}": 10 for n in range(80)}}, "r")
    assert 8 <= len(asked(plan(long, f"r/00{'ä' * 100}"))[1]) <= 10
    large = planner({"r/l": 1 << 20, **{f"r/{n:02}": 1 << 17 for n in range(80)}}, "r")
    assert len(asked(plan(large, "r/00"))[1]) == 15
    assert len(asked(plan(large, "r/20", 1 << 19))[1]) == 3
    assert plan(large, "r/60", 1 << 17) is None


def test_many_entries_are_not_asked_for_as_a_whole() -> None:
    made = planner({f"r/{n // 1500}/{n}": 1 for n in range(3000)}, "r")
    assert asked(plan(made, "r/0/0")) == ("r/0", [])
    assert asked(plan(made, "r/1/1500")) == ("r/1", [])


@pytest.mark.parametrize("path", ["other/a", "r", "r2/a"])
def test_nothing_is_read_ahead_elsewhere(path: str) -> None:
    files = {"r/a": 1, "r/b": 1, "other/a": 1, "other/b": 1, "r2/a": 1, "r2/b": 1}
    assert plan(planner(files, "r"), path) is None


def test_unlisted_folder_and_odd_name_are_not_asked_for_as_a_whole() -> None:
    made = planner({f"r/{n % 2}/{n}": 100 for n in range(20)}, "r")
    made.find = lambda folder: None if folder == ("r", "1") else Planner.find(made, folder)  # type: ignore[method-assign]
    assert asked(plan(made, "r/0/0")) == ("r/0", [])
    odd = planner({"r/e\u0301/1": 1, "r/e\u0301/2": 1, "r/b/1": 1, "r/b/2": 1}, "r")
    assert asked(plan(odd, "r/b/1")) == ("r/b", [])
