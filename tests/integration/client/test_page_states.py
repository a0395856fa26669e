"""The page in each of its states, held against axe-core; programs that it gives; tokens."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support import nextcloud, service_process, storages
from support.browser import Seen, chromium, opened
from support.nginx import Gateway, gateway
from support.page_user import measured, side, start, states
from support.service_process import Function
from support.storages import ROOT, Storage

pytestmark = pytest.mark.slow

TOKEN = "canary-token-of-the-page"
NO_HURRY = {"rate=5r/s": "rate=1000r/s", "rate=50r/s": "rate=1000r/s"}
STATES = ["empty", "checked", "browsing", "running", "done", "failed"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("width", [390, 1280])
def test_no_state_of_the_page_keeps_people_out(
    browser: Browser, function: Function, s3: Storage, width: int
) -> None:
    found = {}
    for name, seen in states(browser, function.url, s3, width):
        for scheme in ("dark", "light"):
            seen.page.emulate_media(color_scheme=scheme)
            found[name, scheme] = seen.barriers()
        assert seen.wide() <= 0, name
        if name == "failed":
            seen.clean()
    assert found == {(name, scheme): [] for name in STATES for scheme in ("dark", "light")}


def test_folded_parts_keep_nobody_out(browser: Browser, function: Function) -> None:
    with opened(browser, function.url) as seen:
        side(seen, "source").choose("SFTP")
        side(seen, "destination").choose("Other")
        seen.page.evaluate("for (const it of document.querySelectorAll('details')) it.open = true")
        assert seen.barriers() == []
        seen.clean()


def test_motion_is_reduced_for_those_who_ask(browser: Browser, function: Function) -> None:
    with opened(browser, function.url) as seen:
        moves = """() => [...document.querySelectorAll("*")].filter((it) => {
          const style = getComputedStyle(it);
          return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
        }).length + (getComputedStyle(document.documentElement).scrollBehavior === "smooth")"""
        assert seen.page.evaluate(moves) == 0
        seen.page.emulate_media(reduced_motion="no-preference")
        assert seen.page.evaluate(moves) > 0
        seen.clean()


def test_page_gives_programs_that_do_the_same(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with nextcloud.serving() as cloud, opened(browser, function.url) as seen:
        measured(cloud)
        seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        secrets = [cloud.app_password(), s3.parameters["secret_access_key"]]
        side(seen, "source").nextcloud(cloud, secrets[0], "Measurements")
        seen.page.locator("#sent > summary").click()
        commands = {"curl": ["bash"], "Python": [sys.executable, "-"], "Command": ["bash"]}
        for name, command in commands.items():
            side(seen, "destination").s3(s3, f"bucket/by-{name}")
            seen.page.locator("#sent").get_by_label(name, exact=True).check(force=True)
            texts = []
            for include in (False, True):
                seen.page.get_by_label("Include my passwords").set_checked(include)
                seen.page.get_by_role("button", name="Copy to clipboard").click()
                expect(seen.page.locator("#sent-state")).to_contain_text("Copied")
                texts.append(seen.page.evaluate("navigator.clipboard.readText()"))
            safe, whole = texts
            assert [it for it in secrets if it in safe + seen.text("#sent")] == []
            assert "YOUR_SOURCE_PASS" in safe
            ran = subprocess.run(
                command,
                input=whole,
                text=True,
                capture_output=True,
                timeout=60,
                env={
                    **os.environ,
                    "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
                    "NO_PROXY": "127.0.0.1",
                    "no_proxy": "127.0.0.1",
                },
            )
            assert ran.returncode == 0, (name, ran.stdout, ran.stderr)
            assert s3.hashes(f"bucket/by-{name}") == cloud.hashes("Measurements"), name
        seen.clean()


@pytest.fixture(scope="module")
def archive() -> Iterator[Storage]:
    with storages.s3() as running:
        yield running


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, archive: Storage) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("p")
    (folder / "run").mkdir()
    public = {name: archive.parameters[name] for name in ("provider", "endpoint", "region")}
    keys = ["access_key_id", "secret_access_key"]
    site = {
        **service_process.LOOPBACK,
        "authentication": {
            "mode": "tokens",
            "tokens": [{"caller": "person", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
        },
        "callers": {"person": {"storages": ["group-archive"]}},
        "storages": {
            "group-archive": {
                "type": "s3",
                "parameters": public,
                "caller_parameters": keys,
                "root": "bucket/archive",
                "use": ["destination"],
            },
            "of-others": {"type": "s3", "parameters": public, "caller_parameters": keys},
        },
    }
    with (
        service_process.function(folder / "run", unix=folder / "http", site=site),
        gateway(folder / "n", folder / "http", NO_HURRY) as running,
    ):
        yield running


def test_storage_of_the_site_is_chosen_from_a_list_behind_a_gateway(
    browser: Browser, front: Gateway, archive: Storage
) -> None:
    with (
        nextcloud.serving() as cloud,
        opened(browser, f"https://transfer.example.org:{front.port}/") as seen,
    ):
        measured(cloud)
        source, destination = side(seen, "source"), side(seen, "destination")
        source.nextcloud(cloud, cloud.app_password(), "Measurements")
        destination.choose("This site")
        assert "Enter your access token above" in seen.text("#destination")
        token = seen.page.get_by_label("Access token", exact=True)
        assert token.get_attribute("type") == "password"
        token.fill("of-somebody-else")
        token.press("Tab")
        expect(seen.page.locator("#token-state")).to_contain_text("does not accept this token")
        assert "group-archive" not in seen.page.content()

        token.fill(TOKEN)
        token.press("Tab")
        expect(seen.page.locator("#token-state")).to_have_text("Token accepted.")
        options = destination.field("Storage").locator("option").all_inner_texts()
        assert options == ["Choose …", "group-archive"]
        start(seen)
        # The first error has the focus; a link leads to each, by the label that stands there.
        expect(seen.page.locator("#summary")).to_contain_text("Destination, Folder or file")
        destination.fill(
            Access_key_ID=archive.parameters["access_key_id"],
            Secret_access_key=archive.parameters["secret_access_key"],
            Folder_or_file="fronted",
        )
        start(seen)
        seen.ends("Copy complete.")
        assert archive.hashes("bucket/archive/fronted") == cloud.hashes("Measurements")
        assert TOKEN not in seen.page.content()
        assert seen.page.get_by_label("Access token").input_value() == ""
        seen.clean()


def test_refused_token_is_shown_at_the_token(browser: Browser, front: Gateway) -> None:
    with opened(browser, f"https://transfer.example.org:{front.port}/") as seen:
        token = seen.page.get_by_label("Access token", exact=True)
        token.fill("of-somebody-else")
        for name in ("source", "destination"):
            one = side(seen, name)
            one.choose("Nextcloud")
            one.fill(Address="cloud.example.org", User=name, App_password="x", Folder_or_file="a")
        start(seen)
        expect(token).to_be_focused()
        assert token.get_attribute("aria-invalid") == "true"
        assert "The caller is not authenticated." in seen.text("#state")
        seen.clean("401")


def options_of(seen: Seen) -> list[str]:
    seen.page.locator("#more > summary").click()
    return seen.page.locator("#options label").all_inner_texts()


def test_engine_is_a_choice_where_the_site_has_several(
    browser: Browser, function: Function, tmp_path: Path
) -> None:
    with opened(browser, function.url) as seen:
        shown = options_of(seen)
        assert "Overwrite" in shown
        assert not {"Engine", "Detach", "Token"} & set(shown)
        seen.clean()
    fts = {"url": "https://fts.example.org:8446"}
    site = {"engines": {"tpc": {}, "fts": fts}, "allow": {"networks": ["127.0.0.0/8"]}}
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", site=site) as grid:
        with opened(browser, grid.url) as seen:
            assert {"Engine", "Detach"} < set(options_of(seen))
            choices = seen.page.get_by_label("Engine", exact=True).locator("option")
            assert choices.all_inner_texts()[1:] == ["fts", "rclone", "tpc"]
            seen.page.get_by_label("Engine", exact=True).select_option("tpc")
            expect(seen.page.locator("#json")).to_contain_text('"engine": "tpc"')
            assert seen.barriers() == []
            seen.clean()
        grid.wait_clean()
