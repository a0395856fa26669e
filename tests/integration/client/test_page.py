"""The page in a real browser: filled in, sent, shown; by keyboard, and on a narrow screen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from efss_transfer.service.openapi import examples
from support import faulty_webdav, http_servers, service_process
from support.browser import Seen, chromium, opened
from support.contract import schema
from support.nginx import Gateway, gateway
from support.service_process import Function
from support.storages import Storage

pytestmark = pytest.mark.slow

SECRET = "canary-of-the-page"
DOTS = "••••••"
TOKEN = "canary-token-of-the-page"
SITE = {
    **service_process.LOOPBACK,
    "authentication": {
        "mode": "tokens",
        "tokens": [{"caller": "person", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
    },
    "callers": {"person": {}},
}
NO_HURRY = {"rate=5r/s": "rate=1000r/s", "rate=50r/s": "rate=1000r/s"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = request.config.getoption("--screenshots")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def filled(seen: Seen, side: str, storage: Storage, path: str) -> None:
    """Enter a storage as a person would, by the labels of its fields."""
    described = schema("request")["$defs"][f"{storage.type}_parameters"]["properties"]
    seen.page.locator(f"#{side}-type").select_option(storage.type)
    seen.page.locator(f"#{side} details.inner > summary").click()
    for name, value in storage.endpoint()["parameters"].items():
        it = seen.page.locator(f"#{side}").get_by_label(described[name]["title"], exact=True)
        if it.count() == 0:  # the label of a required field says so
            it = seen.page.locator(f"#{side}").get_by_label(
                f"{described[name]['title']} (required)"
            )
        if it.evaluate("(it) => it.tagName") == "SELECT":
            it.select_option(str(value).lower() if isinstance(value, bool) else value)
        else:
            it.fill(str(value))
    where = storage.endpoint(path)["path"]
    seen.page.locator(f"#{side}").get_by_label("Path (required)", exact=True).fill(where)


def test_person_fills_in_the_form_and_sees_which_file_failed(
    browser: Browser, function: Function, s3: Storage, pictures: Path
) -> None:
    with faulty_webdav.serving() as dav, opened(browser, function.url) as seen:
        good = {f"run/{n}.bin": bytes([n]) * 2000 for n in range(5)}
        hashes = dav.storage.fill("data", good)
        dav.storage.fill("data", {"secret/locked.bin": b"x" * 100})
        dav.fail("GET", "/data/secret/locked.bin", faulty_webdav.status(403))
        filled(seen, "source", dav.storage, "data")
        filled(seen, "destination", s3, "from-the-page")
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("Some files were not copied.")

        assert s3.hashes("bucket/from-the-page") == hashes
        rows = seen.page.locator("#failures tbody tr")
        expect(rows).to_have_count(1)
        assert rows.locator("td").all_inner_texts()[:3] == [
            "secret/locked.bin",
            "source",
            "permission_denied",
        ]
        assert "5 copied, 0 skipped, 1 failed" in seen.text("#files-text")
        assert seen.page.evaluate("document.activeElement.id") == "run-title"
        assert "Some files" in str(seen.page.locator("#announcement").text_content())
        assert seen.barriers() == []
        seen.picture(pictures / "1280.png")
        seen.clean()


def test_violation_is_shown_at_its_field_while_the_user_types(
    browser: Browser, function: Function, pictures: Path
) -> None:
    with opened(browser, function.url) as seen:
        url = seen.field("source", "URL")
        url.press_sequentially("ftp://files")
        # No error while the user still types the address.
        assert url.get_attribute("aria-invalid") != "true"
        url.press("Tab")
        assert url.get_attribute("aria-invalid") == "true"
        message = "Must be an http or https URL, such as https://cloud.example.org, without user"
        described = str(url.get_attribute("aria-describedby")).split()
        assert any(message in seen.text(f"#{name}") for name in described)
        url.fill("https://cloud.example.org/dav")
        assert url.get_attribute("aria-invalid") == "false"
        for side in ("source", "destination"):
            seen.field(side, "Path (required)").fill("a")

        seen.page.get_by_role("button", name="Start transfer").click()
        message = "Give Access key ID and Secret access key, or Anonymous for public data."
        assert seen.text("#destination-error").endswith(message)
        assert f"Destination: {message}" in seen.text("#summary")
        assert seen.page.evaluate("document.activeElement.id") == "summary"
        assert seen.barriers() == []
        seen.picture(pictures / "1280-wrong.png")
        source, destination = (
            seen.page.locator(f"#{side}").bounding_box() for side in ("source", "destination")
        )
        assert source is not None
        assert destination is not None
        assert source["y"] + source["height"] + 8 < destination["y"], "a gap between the two"
        # Nothing was sent.
        assert seen.page.locator("#run").is_hidden()

        seen.page.locator("#more > summary").click()
        times = seen.page.get_by_label("Modified after")
        times.fill("yesterday")
        times.press("Tab")
        link = seen.page.locator("#summary a", has_text="Modified after")
        seen.page.locator("#more > summary").click()
        link.click()
        # The collapsed field is visible again and has the focus.
        assert times.evaluate("(it) => it === document.activeElement")
        seen.clean()


def test_secrets_are_masked_and_not_stored(
    browser: Browser, function: Function, webdav: Storage
) -> None:
    with opened(browser, function.url) as seen:
        seen.page.locator("#destination-type").select_option("sftp")
        for title in ("Password", "Private key"):
            it = seen.page.locator("#destination").get_by_label(title, exact=True)
            it.fill(SECRET)
            if it.evaluate("(it) => it.tagName") == "INPUT":
                assert it.get_attribute("type") == "password"
            else:
                assert it.evaluate("(it) => getComputedStyle(it).webkitTextSecurity") == "disc"
        seen.page.locator("#source-type").select_option("(site)")
        seen.field("source", "Storage (required)").fill("archive")
        seen.page.locator("#source details.inner > summary").click()
        seen.field("source", "Parameters").fill(json.dumps({"pass": SECRET}))

        shown = json.loads(seen.text("#json"))
        assert shown["destination"]["parameters"] == {"pass": DOTS, "key_pem": DOTS}
        assert shown["source"] == {"storage": "archive", "parameters": {"pass": DOTS}}
        assert SECRET not in seen.text("body")
        seen.page.reload()
        seen.page.wait_for_selector("#health.good")
        values = "[...document.querySelectorAll('input, textarea')].map((it) => it.value).join()"
        assert SECRET not in seen.page.evaluate(values)
        seen.clean()


def masked(described: Any, example: Any) -> Any:
    return {
        name: DOTS if described["properties"][name].get("writeOnly") else value
        for name, value in example.items()
    }


def test_every_storage_type_has_a_form(browser: Browser, function: Function) -> None:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    with opened(browser, function.url, width=390) as seen:
        offered = "(id) => [...document.getElementById(id).options].map((it) => it.value)"
        assert seen.page.evaluate(offered, "source-type") == [*types, "(site)"]
        assert {"http", "doi"}.isdisjoint(seen.page.evaluate(offered, "destination-type"))
        for storage in types:
            described = schema("request")["$defs"][f"{storage.replace(' ', '_')}_parameters"]
            [example, *_] = described["examples"]
            seen.page.locator("#source-type").select_option(storage)
            for name, value in example.items():
                title = described["properties"][name]["title"]
                it = seen.page.locator("#source .within > .grid").get_by_label(title).first
                if it.evaluate("(it) => it.tagName") == "SELECT":
                    it.select_option(str(value).lower() if value is True else str(value))
                else:
                    it.fill(str(value))
            shown = json.loads(seen.text("#json"))["source"]
            assert shown == {"type": storage, "parameters": masked(described, example)}
            assert seen.wide() == 0, storage
        seen.clean()


def test_progress_moves_and_cancel_button_cancels(
    browser: Browser, function: Function, s3: Storage, pictures: Path
) -> None:
    with (
        http_servers.slow_source(4_000_000, 200_000, files=3) as source,
        opened(browser, function.url, width=390, height=844, scheme="dark") as seen,
    ):
        filled(seen, "source", source, "data")
        filled(seen, "destination", s3, "slow")
        seen.page.get_by_role("button", name="Start transfer").click()
        moved = "() => document.getElementById('bytes-bar').value > 300000"
        seen.page.wait_for_function(moved, timeout=60_000)
        assert "of 12.0 MB" in seen.text("#bytes-text")
        assert "0 of 3 copied" in seen.text("#files-text")
        assert "/s" in seen.text("#speed")
        assert ".bin" in seen.text("#flight")
        assert seen.wide() == 0
        seen.page.locator("#run").screenshot(path=pictures / "390-running-dark.png")
        assert seen.page.get_by_role("button", name="Start transfer").is_disabled()

        seen.page.get_by_role("button", name="Cancel transfer").click()
        seen.ends("Transfer cancelled")
        assert seen.page.get_by_role("button", name="Cancel transfer").is_hidden()
        function.wait_clean(20)
        seen.clean()


def focused(seen: Seen) -> str:
    """The label of the focused element."""
    named: str = seen.page.evaluate(
        """() => {
          const it = document.activeElement;
          const group = it.closest("fieldset.card")?.id ?? "";
          return `${group} ${it.labels?.[0]?.innerText ?? it.innerText ?? ""}`.trim();
        }"""
    )
    return named


def reach(seen: Seen, name: str) -> None:
    """Press Tab until the element with this label has a visible focus."""
    for _ in range(80):
        seen.page.keyboard.press("Tab")
        if focused(seen) == name:
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert seen.page.evaluate(outline) != "none"
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_page_works_by_keyboard_alone(
    browser: Browser, function: Function, webdav: Storage
) -> None:
    hashes = webdav.fill("keys", {"a.txt": b"a", "b/c.txt": b"c"})
    given = webdav.endpoint()["parameters"]
    with opened(browser, function.url) as seen:
        keyboard = seen.page.keyboard
        reach(seen, "Skip to the form")
        keyboard.press("Enter")
        for side, path in (("source", "keys"), ("destination", "keys-copy")):
            if side == "destination":
                reach(seen, "destination Storage")
                keyboard.type("WebDAV")
            reach(seen, f"{side} URL (required)")
            keyboard.type(given["url"])
            reach(seen, f"{side} User")
            keyboard.type(given["user"])
            reach(seen, f"{side} Password")
            keyboard.type(given["pass"])
            reach(seen, f"{side} Path (required)")
            keyboard.type(path)
        keyboard.press("Enter")
        seen.ends("Copy complete.")

        assert webdav.hashes("keys-copy") == hashes
        assert focused(seen) == "Transfer"
        seen.clean()


def test_narrow_screen_cuts_nothing_off(
    browser: Browser, function: Function, s3: Storage, pictures: Path
) -> None:
    with (
        faulty_webdav.serving() as dav,
        opened(browser, function.url, width=390, height=844) as seen,
    ):
        long = "a-folder-with-a-name-that-is-long/" * 4 + "locked.bin"
        dav.storage.fill("data", {"good.bin": b"x" * 2000, long: b"x"})
        dav.fail("GET", f"/data/{long}", faulty_webdav.status(403))
        filled(seen, "source", dav.storage, "data")
        filled(seen, "destination", s3, "narrow")
        seen.page.locator("#more > summary").click()
        assert seen.wide() == 0
        assert seen.barriers() == []
        seen.page.locator("#more > summary").click()
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("Some files were not copied.")
        assert seen.wide() == 0
        assert long in seen.text("#failures")
        shown = seen.page.locator("#failures td").first.bounding_box()
        assert shown is not None
        assert shown["x"] >= 0
        assert shown["x"] + shown["width"] <= 390
        seen.picture(pictures / "390.png")
        seen.clean()


def test_refusal_by_the_service_is_shown_at_its_field(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with opened(browser, function.url) as seen:
        filled(seen, "destination", s3, "nowhere")
        url = seen.field("source", "URL")
        url.fill("http://10.0.0.1/dav")
        seen.field("source", "Path (required)").fill("a")
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("This site does not allow the request.")

        assert url.get_attribute("aria-invalid") == "true"
        assert "/source/parameters/url" in seen.text("#outcome")
        seen.clean("403")


def test_page_works_without_streams(browser: Browser, function: Function, s3: Storage) -> None:
    def whole(route: Route) -> None:
        asked = route.request.headers
        if route.request.method != "POST":
            return route.continue_()
        # A runtime without streams refuses a client that does not accept JSON.
        assert "application/json" in asked["accept"]
        return route.continue_(headers={**asked, "accept": "application/json"})

    with faulty_webdav.serving() as dav, opened(browser, function.url) as seen:
        dav.storage.fill("data", {"good.bin": b"x" * 2000, "locked.bin": b"x"})
        dav.fail("GET", "/data/locked.bin", faulty_webdav.status(403))
        seen.page.route("**/*", whole)
        filled(seen, "source", dav.storage, "data")
        filled(seen, "destination", s3, "whole")
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("Some files were not copied.")
        assert "locked.bin" in seen.text("#failures")
        assert "1 copied, 0 skipped, 1 failed" in seen.text("#files-text")
        seen.clean("502")


def test_page_shows_the_warnings_of_a_success(browser: Browser, function: Function) -> None:
    warning = {
        "code": "time_not_kept",
        "message": "Compare by size.",
        "count": 3,
        "samples": [{"path": "old/<b>.txt", "message": "before 1970"}],
    }

    def warned(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        told = {**examples.result().to_json(), "warnings": [warning]}
        return route.fulfill(json=told, content_type="application/json")

    with faulty_webdav.serving() as dav, opened(browser, function.url) as seen:
        seen.page.route("**/*", warned)
        filled(seen, "source", dav.storage, "data")
        filled(seen, "destination", dav.storage, "to")
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("Copy complete.")
        shown = seen.text("#outcome")
        assert "Warning time_not_kept" in shown
        assert "3 cases. Compare by size. Example: old/<b>.txt: before 1970" in shown
        assert seen.barriers() == []
        seen.clean()


def test_browser_enforces_the_security_policy(browser: Browser, function: Function) -> None:
    with (
        opened(browser, function.url) as seen,
        http_servers.misbehaving(lambda handler: http_servers.reply(handler, 200)) as other,
    ):
        sent = "(url) => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'refused')"
        assert seen.page.evaluate(sent, other) == "refused"
        run = """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          return window.ran === true;
        }"""
        assert seen.page.evaluate(run) is False
        directives = {it.split()[0] for it in seen.page.evaluate("window.violated")}
        assert directives == {"connect-src", "script-src-elem"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("p")
    (folder / "run").mkdir()
    with (
        service_process.function(folder / "run", unix=folder / "http", site=SITE),
        gateway(folder / "n", folder / "http", NO_HURRY) as running,
    ):
        yield running


def test_page_works_behind_a_gateway_with_a_token(
    browser: Browser, front: Gateway, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("fronted", {"a.bin": b"a" * 3000})
    with opened(browser, f"https://transfer.example.org:{front.port}/") as seen:
        filled(seen, "source", webdav, "fronted")
        filled(seen, "destination", s3, "fronted")
        token = seen.page.get_by_label("Token", exact=True)
        assert token.get_attribute("type") == "password"
        token.fill("of-somebody-else")
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("The caller is not authenticated.")

        token.fill(TOKEN)
        seen.page.get_by_role("button", name="Start transfer").click()
        seen.ends("Copy complete.")
        assert s3.hashes("bucket/fronted") == hashes
        assert TOKEN not in seen.text("body")
        seen.clean("401")
