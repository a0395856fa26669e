"""The page of a first copy is what the command prints."""

from __future__ import annotations

import pytest

import transcript
from support import service_process

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not service_process.GATEWAY, reason="the page shows the gateway's answers")
def test_page_of_a_first_copy_is_what_a_fresh_run_prints() -> None:
    assert transcript.PAGE.read_text("utf-8") == transcript.page(), "run scripts/transcript"
