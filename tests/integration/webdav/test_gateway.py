"""A real rclone that copies through the WebDAV gateway; contents are compared by hash."""

from __future__ import annotations

import os
import time
import unicodedata
from pathlib import Path

import pytest

from support import faulty_webdav as faulty
from support import nextcloud
from support.faulty_webdav import NEXTCLOUD, Faulty, sabre, status
from support.listings import with_status
from support.storages import Storage, digest, hash_tree
from support.webdav_gateway import gateway, run

FILES = {
    "plain.txt": b"plain",
    "empty": b"",
    "deep/er/still/file.bin": os.urandom(100_000),
    "deep/large.bin": os.urandom(3_000_000),
    "with space.txt": b"space",
    "100% #1 [a]{b}?.txt": b"signs",
    "émoji 🎉 ü.txt": b"letters",
    unicodedata.normalize("NFD", "zerlegt é.txt"): b"decomposed",
    "colon:quote\"'.txt": b"quotes",
    "&lt;xml>.txt": b"markup",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the files."""
    for name, content in FILES.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_bytes(content)
    return tmp_path / "here"


def one_file(folder: Path, content: bytes, name: str = "f.bin") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return str(folder)


def to(storage: Storage, **options: object) -> dict[str, object]:
    """How the gateway is given a storage."""
    parameters = storage.parameters
    return {
        "url": parameters["url"],
        "vendor": parameters["vendor"],
        "user": parameters.get("user"),
        "password": parameters.get("pass", ""),
        **options,
    }


@pytest.mark.parametrize("kind", ["wsgidav", "rclone"])
def test_files_arrive_whole_both_ways(
    kind: str, storages: dict[str, Storage], rclone: Path, here: Path, tmp_path: Path
) -> None:
    storage = storages[kind]
    base = f"gateway-{kind}"
    expected = hash_tree(here)
    with gateway(**to(storage)) as running:  # type: ignore[arg-type]
        there = running.connection_string(f"{base}/new/folder")
        up = run(rclone, "copy", str(here), there, "--transfers", "16")
        assert up.returncode == 0, up.stderr
        assert storage.hashes(f"{base}/new/folder") == expected
        again = run(rclone, "copy", str(here), there)
        assert "There was nothing to transfer" in again.stderr
        down = run(rclone, "copy", there, str(tmp_path / "back"), "--transfers", "16")
        assert down.returncode == 0, down.stderr
        assert hash_tree(tmp_path / "back") == expected
        check = run(rclone, "check", "--download", str(here), there)
        assert "0 differences found" in check.stderr
        assert not running.gateway.record.failures
        # What rclone was given, and said at its most talkative, has no credential in it.
        for done in (up, again, down, check):
            assert storage.parameters["pass"] not in f"{done.args}{done.stderr}{done.stdout}"
            assert "Authorization" not in done.stderr


def test_files_arrive_at_nextcloud_with_their_times(
    dav: Faulty, rclone: Path, here: Path, tmp_path: Path
) -> None:
    os.utime(here / "plain.txt", (1_600_000_000, 1_600_000_000))
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        there = running.connection_string("new")
        assert run(rclone, "copy", str(here), there, "--transfers", "16").returncode == 0
        assert dav.nextcloud.hashes("new") == {
            name: digest(content) for name, content in FILES.items()
        }
        listed = run(rclone, "lsl", there).stdout
        assert "2020-09-13" in next(line for line in listed.splitlines() if "plain.txt" in line)
        running.gateway.forget()
        assert "There was nothing to transfer" in run(rclone, "copy", str(here), there).stderr


def test_small_files_cost_one_request_each(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    for number in range(60):
        one_file(tmp_path / f"d{number % 3}", b"%d" % number, f"f{number}")
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        done = run(
            rclone, "copy", str(tmp_path), running.connection_string("x/y"), "--transfers", "16"
        )
    assert done.returncode == 0, done.stderr
    assert len(dav.nextcloud.hashes("x/y")) == 60
    assert len(dav.seen("PUT")) == 60
    made = [request.path for request in dav.seen("MKCOL")]
    # The two of the path to copy to, of which the lower one is tried first, and three more; and
    # one look at what is there at the beginning.
    assert len(made) <= 6
    assert [made.count(f"{NEXTCLOUD}/x/y/d{number}") for number in range(3)] == [1, 1, 1]
    assert len(dav.seen("PROPFIND")) <= 3


def test_uploads_to_nextcloud_do_not_collide(rclone: Path, tmp_path: Path) -> None:
    for number in range(40):
        one_file(tmp_path / f"d{number % 4}", b"%d" % number, f"f{number}")
    with nextcloud.serving(cost=nextcloud.OBSERVED) as cloud:
        storage = cloud.storage()
        with gateway(**to(storage)) as running:  # type: ignore[arg-type]
            there = running.connection_string("x")
            done = run(rclone, "copy", str(tmp_path), there, "--transfers", "16")
        assert done.returncode == 0, done.stderr
        assert storage.hashes("x") == hash_tree(tmp_path)
        # rclone alone: 202 requests for 60 files, 423 and 409 among them.
        assert cloud.statuses("MKCOL") == {201: 5}
        assert cloud.statuses("PUT") == {201: 40}
        assert sum(cloud.statuses("PROPFIND").values()) <= 3


# Hrefs as servers behind proxies write them; each is what stands for "/data" in a listing.
SPELLINGS = {
    "prefix stripped": (b"/web/data", b"/data"),
    "prefix added": (b"/web/data", b"/inner/web/data"),
    "prefix replaced": (b"/web/data", b"/remote.php/dav/data"),
    "other host": (b"/web/data", b"http://inner:8080/web/data"),
    "other case": (b"/web/data", b"/Web/DATA"),
}


@pytest.mark.field_case("A1", "A2")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_hrefs_in_the_servers_own_spelling_are_understood(
    spelling: str, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    expected = dav.fill("web/data", {"a": b"1", "sub/b": b"22", "sub/deep/c": b"333"})
    dav.rewrite = lambda _, body: body.replace(*SPELLINGS[spelling])
    with gateway(f"{dav.url}/web") as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == expected


def test_entry_that_fits_nowhere_fails_the_listing(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill("data", {"a": b"1", "b": b"2"})
    dav.rewrite = lambda _, body: body.replace(b"/data/b", b"/elsewhere/b")
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
        assert done.returncode != 0
        (failure,) = running.gateway.record.failures.values()
        assert "/elsewhere/b" in failure.words.message


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Please log in",
        b'{"installed":true}',
        b'<d:multistatus xmlns:d="DAV:"/>',
        b"<Error><Code>AccessDenied</Code></Error>",
        b"",
    ],
)
@pytest.mark.parametrize("folder", ["/data", "/data/sub"])
def test_something_else_in_place_of_a_listing_fails_it(
    body: bytes, folder: str, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill("data", {"a": b"1", "sub/b": b"2"})
    dav.rewrite = lambda path, right: body if path == folder else right
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
        assert done.returncode != 0
        assert running.gateway.record.failures


def test_listing_that_breaks_off_is_asked_for_again(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    expected = dav.fill("data", {f"f{number:05}": b"x" for number in range(3000)})
    cut = [1]

    def rewrite(_: str, body: bytes) -> bytes:
        return body[: len(body) * 9 // 10] if cut and cut.pop() else body

    dav.rewrite = rewrite
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data/"), str(tmp_path / "to"))
    assert not cut
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == expected


@pytest.mark.parametrize("code", [403, 404, 500, 507])
@pytest.mark.parametrize("where", ["propstat", "response"])
def test_entry_with_a_bad_status_is_a_failed_file(
    where: str, code: int, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill("data", {"good": b"1", "bad": b"22"})
    dav.fail("*", "/data/bad", status(code))
    dav.rewrite = lambda _, body: with_status(body, "/data/bad", code, where)
    with gateway(dav.url, patience=0.1) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
        assert done.returncode != 0
        assert "data/bad" in running.gateway.record.failures
    assert hash_tree(tmp_path / "to") == {"good": digest(b"1")}


def test_entry_with_a_bad_status_that_can_be_read_is_copied(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    expected = dav.fill("data", {"good": b"1", "odd": b"22"})
    dav.rewrite = lambda _, body: with_status(body, "/data/odd", 500, "response")
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == expected


@pytest.mark.field_case("A4")
def test_file_in_processing_is_waited_for(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    expected = dav.fill("data", {"ready": b"1", "processed": b"22"})
    dav.fail("GET", "/data/processed", status(425), times=3)
    dav.fail("HEAD", "/data/processed", status(425), times=1)
    dav.rewrite = lambda _, body: with_status(body, "/data/processed", 425, "propstat")
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == expected


@pytest.mark.parametrize("length", [b"", b"<d:getcontentlength/>"])
def test_length_that_a_listing_lacks_is_asked_for(
    length: bytes, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    expected = dav.fill("data", {"a": b"1234", "empty": b""})
    dav.rewrite = lambda _, body: body.replace(
        b"<d:getcontentlength>4</d:getcontentlength>", length
    ).replace(b"<d:getcontentlength>0</d:getcontentlength>", length)
    with gateway(dav.url) as running:
        there = running.connection_string("data")
        assert "4 a" in run(rclone, "ls", there).stdout
        done = run(rclone, "copy", there, str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == expected


def test_file_that_is_listed_as_empty_and_is_not_is_found(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    expected = dav.fill("data", {"a": b"1234"})
    dav.rewrite = lambda _, body: body.replace(b"length>4<", b"length>0<")
    with gateway(dav.url) as running:
        there, back = running.connection_string("data"), str(tmp_path / "to")
        assert run(rclone, "copy", there, back).returncode != 0
        again = run(rclone, "copy", there, back)
    assert again.returncode == 0, again.stderr
    assert hash_tree(tmp_path / "to") == expected


REFUSALS = [(code, 100, "other") for code in (403, 413, 415, 500, 502, 504, 507)]
REFUSALS += [(code, 100, "nextcloud") for code in (500, 507)]
REFUSALS += [(code, 1_000_000, vendor) for code in (413, 507) for vendor in ("other", "nextcloud")]


@pytest.mark.parametrize(("code", "size", "vendor"), REFUSALS)
def test_old_file_survives_an_upload_that_is_refused(
    code: int, size: int, vendor: str, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill(NEXTCLOUD.strip("/"), {"f.bin": b"old"})
    dav.fail("PUT", "*", status(code))
    with gateway(dav.url + NEXTCLOUD, vendor=vendor, patience=0.1) as running:
        source = one_file(tmp_path / "from", os.urandom(size))
        done = run(rclone, "copy", source, running.connection_string("/"))
        assert done.returncode != 0
        assert running.gateway.record.failures["f.bin"].words.status == code
    assert dav.nextcloud.hashes("") == {"f.bin": digest(b"old")}
    assert not [one for one in dav.seen("DELETE") if one.path.endswith("/f.bin")]


def test_old_file_survives_a_source_that_breaks_off(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill("to", {"f.bin": b"old"})
    with faulty.serving() as source, gateway(dav.url) as running:
        source.fill("from", {"f.bin": os.urandom(4_000_000)})
        source.fail("GET", "*", faulty.reset(1_000_000))
        with gateway(source.url) as reading:
            there = running.connection_string("to")
            done = run(rclone, "copy", reading.connection_string("from"), there)
        assert done.returncode != 0
    assert dav.hashes("to") == {"f.bin": digest(b"old")}


def test_upload_replaces_the_old_file_when_it_is_whole(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill("to", {"f.bin": b"old", "small": b"old"})
    content = os.urandom(2_000_000)
    source = one_file(tmp_path / "from", content)
    one_file(tmp_path / "from", b"newer", "small")
    with gateway(dav.url) as running:
        done = run(rclone, "copy", source, running.connection_string("to"))
    assert done.returncode == 0, done.stderr
    assert dav.hashes("to") == {"f.bin": digest(content), "small": digest(b"newer")}


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_file_that_somebody_else_changed_is_looked_at_again(
    size: int, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill(NEXTCLOUD.strip("/"), {"f.bin": b"old"})
    content = os.urandom(size)
    with gateway(dav.url + NEXTCLOUD, vendor="nextcloud") as running:
        there = running.connection_string("/")
        assert run(rclone, "lsl", there).returncode == 0  # so that it knows the old one's ETag
        dav.fill(NEXTCLOUD.strip("/"), {"f.bin": b"changed"})
        listed = dav.listing(NEXTCLOUD, "1")
        assert listed is not None
        source = one_file(tmp_path / "from", content)
        dav.rewrite = lambda _, body: (
            body.replace(
                faulty.etag(b"changed").encode(),
                faulty.etag(b"old").encode(),
            )
            if not dav.seen("PUT")
            else body
        )
        done = run(rclone, "copy", source, there)
    assert done.returncode == 0, done.stderr
    assert len(dav.seen("PUT")) == 2
    assert dav.nextcloud.hashes("") == {"f.bin": digest(content)}
    assert not dav.hashes("remote.php/dav/uploads")


def test_large_file_replaces_another_at_nextcloud_in_chunks(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fill(NEXTCLOUD.strip("/"), {"f.bin": b"old"})
    content = os.urandom(2_000_000)
    source = one_file(tmp_path / "from", content)
    dav.fail("PUT", "*", faulty.truncate(500_000))
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        there = running.connection_string("/")
        assert run(rclone, "copy", source, there).returncode != 0
        # Nextcloud itself would have written over what there was.
        assert dav.nextcloud.hashes("") == {"f.bin": digest(b"old")}
        dav.heal()
        done = run(rclone, "copy", source, there)
    assert done.returncode == 0, done.stderr
    assert dav.nextcloud.hashes("") == {"f.bin": digest(content)}
    assert not dav.hashes("remote.php/dav/uploads")


def test_credential_that_is_refused_is_sent_once(dav: Faulty, rclone: Path, here: Path) -> None:
    dav.fail("*", "*", sabre(401, "Sabre\\DAV\\Exception\\NotAuthenticated", "No."))
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        done = run(rclone, "copy", str(here), running.connection_string("x"), tries="3")
    assert done.returncode != 0
    assert "401" in done.stderr
    assert len(dav.seen()) == 1


def test_credential_that_dies_is_hardly_used_again(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    for number in range(300):
        one_file(tmp_path / "from", b"%d" % number, f"f{number}")
    dav.fail("*", "*", status(401), skip=60)
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        there = running.connection_string("x")
        done = run(rclone, "copy", str(tmp_path / "from"), there, "--transfers", "8", tries="3")
    assert done.returncode != 0
    refused = [request for request in dav.seen() if request.failed]
    # Each of eight transfers may be on its way, and one request confirms.
    assert 1 <= len(refused) <= 9


def test_busy_server_is_given_the_time_that_it_asks_for(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.fail("PUT", "*", status(503, Retry_After="1"), times=1)
    dav.fail("PUT", "*", status(423), times=2, skip=1)
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        source = one_file(tmp_path / "from", b"content")
        done = run(rclone, "copy", source, running.connection_string("x"))
    assert done.returncode == 0, done.stderr
    assert dav.nextcloud.hashes("x") == {"f.bin": digest(b"content")}
    first, second = dav.seen("PUT")[:2]
    assert second.at - first.at >= 1.0


def test_servers_own_words_are_on_record(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    exception, message = "Sabre\\DAV\\Exception\\InsufficientStorage", "Insufficient space <1>"
    dav.fail("PUT", "*", sabre(507, exception, message))
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        source = one_file(tmp_path / "from", b"content")
        done = run(rclone, "copy", source, running.connection_string("x"))
        (failure,) = running.gateway.record.failures.values()
    assert (failure.method, failure.path) == ("PUT", "x/f.bin")
    assert failure.words.exception == exception
    assert failure.words.message == message
    # rclone has them as well, as it would without the gateway.
    assert f"{message}: {exception}: 507" in done.stderr


def test_stored_encoding_is_copied_as_it_is(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    import gzip

    packed = gzip.compress(b"a,b\n" * 10_000)
    dav.fill("data", {"table.csv.gz": packed})
    dav.fail("GET", "*", status(200, packed, Content_Encoding="gzip"))
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
    assert done.returncode == 0, done.stderr
    assert hash_tree(tmp_path / "to") == {"table.csv.gz": digest(packed)}


def test_body_that_breaks_off_is_no_file(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    dav.fill("data", {"f": os.urandom(2_000_000)})
    dav.fail("GET", "*", faulty.truncate(1_000_000))
    with gateway(dav.url) as running:
        done = run(rclone, "copy", running.connection_string("data"), str(tmp_path / "to"))
    assert done.returncode != 0
    assert not hash_tree(tmp_path / "to")


@pytest.mark.parametrize("is_destination", [True, False])
def test_what_a_killed_gateway_left_is_hidden_and_removed_when_nobody_writes_it(
    is_destination: bool, dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    now = int(time.time())
    # Cut off long ago; long ago, with the file's own time; now on its way; of somebody else.
    old, older = partial(now - 3600), partial(now - 100_000)
    whole, mine = partial(now - 1000), ".efss-transfer-mine.partial"
    dav.fill("to", dict.fromkeys(("f", old, older, whole, mine), b"x"))
    dav.store(f"/to/{old}", b"2", now - 3500)
    dav.store(f"/to/{older}", b"2", 1_000_000)
    dav.store(f"/to/{whole}", b"2", 1_000_000)
    with gateway(dav.url, is_destination=is_destination) as running:
        listed = run(rclone, "lsf", running.connection_string("to")).stdout.splitlines()
    assert listed == [mine, "f"]
    gone = {old, older} if is_destination else set()
    assert dav.hashes("to").keys() == {"f", old, older, whole, mine} - gone


def partial(begun: int) -> str:
    return f".efss-transfer-{begun:08x}{'0' * 8}.partial"


def test_time_that_nextcloud_refuses_is_left_out(dav: Faulty, rclone: Path, tmp_path: Path) -> None:
    source = one_file(tmp_path / "from", b"content")
    os.utime(tmp_path / "from" / "f.bin", (0, 0))
    with gateway(**to(dav.nextcloud)) as running:  # type: ignore[arg-type]
        done = run(rclone, "copy", source, running.connection_string("x"))
        ((code, warned),) = running.gateway.record.warnings.items()
    assert (code, warned.count) == ("time_not_kept", 1)
    assert warned.samples == [
        ("x/f.bin", "The server refuses the modification time 1970-01-01T00:00:00Z.")
    ]
    assert done.returncode == 0, done.stderr
    assert "x-oc-mtime" not in dav.seen("PUT")[0].headers
    assert dav.nextcloud.hashes("x") == {"f.bin": digest(b"content")}
