"""The answer to a third-party COPY, in the forms that storages give it."""

from __future__ import annotations

import pytest

from efss_transfer.engines.tpc.markers import Markers, Verdict

XROOTD = b"""Perf Marker
Timestamp: 1795979759
Stripe Index: 0
Stripe Bytes Transferred: 500
Total Stripe Count: 1
RemoteConnections: tcp:127.0.0.1:9443
End
"""


def read(*pieces: bytes) -> Markers:
    markers = Markers()
    for piece in pieces:
        markers.feed(piece)
    markers.close()
    return markers


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_may_end_anywhere(size: int) -> None:
    whole = XROOTD + b"success: Created"
    markers = read(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert markers.has_begun
    assert markers.moved == 500
    assert markers.verdict == Verdict(has_succeeded=True, text="Created")


def test_stripes_are_added_and_never_go_back() -> None:
    def stripe(index: int, moved: int) -> bytes:
        return f"Stripe Index: {index}\nStripe Bytes Transferred: {moved}\n".encode()

    markers = read(stripe(0, 10), stripe(1, 20))
    assert markers.moved == 30
    markers.feed(stripe(0, 5))
    assert markers.moved == 30


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b"success: Created\n", Verdict(has_succeeded=True, text="Created")),
        (b"Success\r\n", Verdict(has_succeeded=True, text="")),
        (b"failure: it broke\n", Verdict(has_succeeded=False, text="it broke")),
        (b"success: Created\nfailure: after all\n", Verdict(has_succeeded=False, text="after all")),
        (b"successful\n", None),
        (b"", None),
    ],
)
def test_last_line_is_the_outcome(line: bytes, verdict: Verdict | None) -> None:
    assert read(XROOTD, line).verdict == verdict


def test_another_answer_is_none_of_a_copy() -> None:
    markers = read(b"<html>Created</html>\n")
    assert (markers.has_begun, markers.verdict) == (False, None)


def test_endless_line_takes_no_memory() -> None:
    markers = Markers()
    for _ in range(100):
        markers.feed(b"x" * 100_000)
    assert len(markers._rest) <= 1 << 14
