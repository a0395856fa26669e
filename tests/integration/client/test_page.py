"""The page in a real browser: filled in, sent, shown; by keyboard, and on any screen."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, expect

from efss_transfer.service.openapi import examples
from support import faulty_webdav, http_servers, nextcloud
from support.browser import Seen, chromium, opened
from support.contract import schema
from support.page_user import measured, side, start
from support.service_process import Function
from support.storages import USER, Storage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def focused(seen: Seen) -> str:
    """The label of the focused element, after the side that it is in."""
    named: str = seen.page.evaluate(
        """() => {
          const it = document.activeElement;
          const side = it.closest(".side")?.id ?? "";
          return `${side} ${it.labels?.[0]?.innerText ?? it.innerText ?? ""}`.trim();
        }"""
    )
    return named


def test_researcher_copies_from_the_address_in_the_browser(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with nextcloud.serving() as cloud, opened(browser, function.url) as seen:
        measured(cloud)
        secrets = [cloud.app_password(), s3.parameters["secret_access_key"]]
        source, destination = side(seen, "source"), side(seen, "destination")
        source.nextcloud(cloud, secrets[0], "Measurements")
        site = cloud.storage().parameters["url"].partition("/remote.php")[0]
        link = source.form.get_by_role("link", name="Make an app password")
        assert link.get_attribute("href") == f"{site}/settings/user/security"
        assert source.field("Folder or file").input_value() == "Measurements"
        source.check()
        shown = seen.text("#source .check")
        assert "Everything works." in shown
        assert "May read this folder" in shown
        assert "Nextcloud 32.0.1" in shown
        destination.s3(s3, "")
        destination.form.get_by_role("button", name="Browse").click()
        seen.page.get_by_role("button", name="bucket", exact=False).first.click()
        seen.page.get_by_label("New folder below it").fill("from-the-page")
        seen.page.get_by_role("button", name="Choose this folder").click()
        assert destination.field("Bucket").input_value() == "bucket/from-the-page"
        destination.check()
        assert "May write here" in seen.text("#destination .check")

        start(seen)
        seen.ends("Copy complete.")
        assert s3.hashes("bucket/from-the-page") == cloud.hashes("Measurements")
        assert seen.page.title().startswith("Copy complete.")
        assert "15" in seen.text(".totals")
        assert seen.page.evaluate("document.activeElement.id") == "run-title"
        everywhere = seen.page.evaluate(
            """() => [document.documentElement.outerHTML, location.href,
            ...[...document.querySelectorAll("input, textarea")].map((it) => it.value)].join()"""
        )
        assert [it for it in secrets if it in everywhere] == []

        # The second copy needs no password again: it is in the page's memory.
        seen.page.get_by_role("button", name="Copy again").click()
        seen.ends("Nothing to copy: everything was already there.")
        seen.clean()


def test_failures_are_grouped_by_what_to_do_and_downloaded(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with faulty_webdav.serving() as dav, opened(browser, function.url) as seen:
        hashes = dav.storage.fill("data", {f"run/{n}.bin": bytes([n]) * 2000 for n in range(5)})
        dav.storage.fill("data", {"secret/=locked.bin": b"x" * 100})
        dav.fail("GET", "/data/secret/=locked.bin", faulty_webdav.status(403))
        side(seen, "source").other(dav.storage, "data")
        side(seen, "destination").s3(s3, "bucket/grouped")
        start(seen)
        seen.ends("Some files were not copied.")

        assert s3.hashes("bucket/grouped") == hashes
        group = seen.page.locator("[data-code=permission_denied]")
        shown = group.inner_text()
        assert "The storage refused access at the source (1 file)" in shown
        assert "Ask the owner of the folder to share it with you" in shown
        assert "secret/=locked.bin" in shown
        with seen.page.expect_download() as download:
            seen.page.get_by_role("button", name="Download report").click()
        rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
        assert {row["path"]: row["state"] for row in rows} == {
            **dict.fromkeys(hashes, "transferred"),
            "secret/=locked.bin": "failed",
        }
        [failed] = [row for row in rows if row["state"] == "failed"]
        assert (failed["code"], failed["side"]) == ("permission_denied", "source")
        assert "Some files" in str(seen.page.locator("#announcement").text_content())
        seen.clean()


@pytest.mark.parametrize("by", ["Check", "Start copy"])
def test_wrong_password_is_shown_at_the_password(
    browser: Browser, function: Function, s3: Storage, by: str
) -> None:
    with nextcloud.serving() as cloud, opened(browser, function.url) as seen:
        measured(cloud)
        source = side(seen, "source")
        source.nextcloud(cloud, "a-wrong-one", "Measurements")
        side(seen, "destination").s3(s3, "bucket/wrong")
        if by == "Check":
            source.check()
            assert "Cannot sign in" in seen.text("#source .check")
        else:
            start(seen)
            expect(source.field("App password")).to_be_focused(timeout=60_000)
            assert "The copy failed." in seen.text("#state")
        assert focused(seen) == "source App password"
        assert "The storage refused the credentials." in source.error("App password")
        assert source.field("App password").get_attribute("aria-invalid") == "true"
        # Another password takes the error away.
        source.field("App password").fill(cloud.app_password())
        assert source.error("App password") == ""
        cloud.forgive()
        start(seen)
        seen.ends("Copy complete.")
        assert s3.hashes("bucket/wrong") == cloud.hashes("Measurements")
        seen.clean()


def test_mistakes_of_newcomers_are_shown_at_their_fields(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with nextcloud.serving() as cloud, opened(browser, function.url) as seen:
        measured(cloud)
        source, destination = side(seen, "source"), side(seen, "destination")
        source.nextcloud(cloud, cloud.app_password(), "Measurements")
        address = source.field("Address").input_value()
        # A wrong port.
        source.fill(Address="http://127.0.0.1:9/apps/files/")
        source.check()
        assert "Cannot reach the server" in seen.text("#source .check")
        assert focused(seen) == "source Address"
        assert "The storage could not be reached." in source.error("Address")
        # A folder misspelt.
        source.fill(Address=address, Folder_or_file="measurements")
        assert source.error("Address") == ""
        source.check()
        assert focused(seen) == "source Folder or file"
        assert "Upper and lower case matter." in source.error("Folder or file")
        # A bucket misspelt: nothing is copied.
        source.fill(Folder_or_file="Measurements")
        destination.s3(s3, "buckett/2026")
        start(seen)
        expect(destination.field("Bucket and folder")).to_be_focused()
        assert "The destination does not exist." in destination.error("Bucket and folder")
        assert "The copy failed." in seen.text("#state")
        destination.fill(Bucket_and_folder="bucket/newcomer")
        start(seen)
        seen.ends("Copy complete.")
        assert s3.hashes("bucket/newcomer") == cloud.hashes("Measurements")
        seen.clean()


def test_empty_form_says_at_each_field_what_is_missing(
    browser: Browser, function: Function
) -> None:
    with opened(browser, function.url) as seen:
        start(seen)
        assert focused(seen) == "source Address"
        source, destination = side(seen, "source"), side(seen, "destination")
        for one, label in [
            *((source, it) for it in ("Address", "User", "App password")),
            *((destination, it) for it in ("Access key", "Secret key")),
        ]:
            assert one.error(label) == "This field is required.", label
        for one, label in ((source, "Folder or file"), (destination, "Bucket and folder")):
            assert one.error(label) == "Choose a folder. For the whole storage, enter /."
        assert "Fix 7 fields." in seen.text("#summary")
        seen.page.locator("#summary a", has_text="Destination, Secret key").click()
        assert focused(seen) == "destination Secret key"
        # Nothing was sent, and a look at a side asks for this side alone.
        assert seen.page.locator("#run").is_hidden()
        destination.form.get_by_role("button", name="Browse").click()
        assert focused(seen) == "destination Access key"
        assert seen.page.locator("#picker").is_hidden()
        assert seen.barriers() == []
        seen.clean()


def test_violation_is_shown_at_its_field_while_the_user_types(
    browser: Browser, function: Function
) -> None:
    with opened(browser, function.url) as seen:
        source = side(seen, "source")
        source.choose("Other")
        url = seen.field("source", "URL")
        url.press_sequentially("ftp://files")
        # No error while the user still types the address.
        assert url.get_attribute("aria-invalid") != "true"
        url.press("Tab")
        assert url.get_attribute("aria-invalid") == "true"
        assert "Must be an http or https URL" in source.error("URL")
        url.fill("https://cloud.example.org/dav")
        assert url.get_attribute("aria-invalid") == "false"
        seen.page.locator("#more > summary").click()
        times = seen.page.get_by_label("Modified after")
        times.fill("yesterday")
        times.press("Tab")
        start(seen)
        link = seen.page.locator("#summary a", has_text="Modified after")
        seen.page.locator("#more > summary").click()
        link.click()
        # The collapsed field is visible again and has the focus.
        assert times.evaluate("(it) => it === document.activeElement")
        seen.clean()


def test_refusal_by_the_service_is_shown_at_its_field(
    browser: Browser, function: Function, s3: Storage
) -> None:
    with opened(browser, function.url) as seen:
        source = side(seen, "source")
        source.fill(Address="http://10.0.0.1", User="alice", App_password="x", Folder_or_file="a")
        side(seen, "destination").s3(s3, "bucket/nowhere")
        start(seen)
        expect(source.field("Address")).to_be_focused()
        assert "This site does not allow the request." in seen.text("#state")
        assert source.error("Address") != ""
        seen.clean("403")


def test_every_storage_type_has_a_form(browser: Browser, function: Function) -> None:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    with opened(browser, function.url, width=390) as seen:
        source = side(seen, "source")
        for name in ("source", "destination"):
            side(seen, name).choose("Other")
        offered = "(id) => [...document.getElementById(id).options].map((it) => it.value)"
        assert seen.page.evaluate(offered, "source-type") == types
        assert {"http", "doi"}.isdisjoint(seen.page.evaluate(offered, "destination-type"))
        seen.page.locator("#sent > summary").click()
        for storage in types:
            described = schema("request")["$defs"][f"{storage.replace(' ', '_')}_parameters"]
            seen.page.locator("#source-type").select_option(storage)
            names = "(it) => it.querySelectorAll('.within input, .within select, .within textarea')"
            fields = source.form.evaluate(f"({names})(document.getElementById('source')).length")
            # The type, the path and all parameters.
            assert fields == len(described["properties"]) + 2, storage
            assert seen.wide() == 0, storage
        seen.clean()


def test_progress_moves_and_cancel_button_cancels(
    browser: Browser, function: Function, s3: Storage
) -> None:
    record = """
      window.told = [];
      window.Notification = class { constructor(title) { window.told.push(title); }
        static permission = "default";
        static requestPermission() { this.permission = "granted"; return Promise.resolve(); } };
    """
    with (
        http_servers.slow_source(4_000_000, 200_000, files=3) as source,
        opened(browser, function.url, width=390, height=844, scheme="dark", script=record) as seen,
    ):
        side(seen, "source").other(source, "data")
        side(seen, "destination").s3(s3, "bucket/slow")
        start(seen)
        seen.page.get_by_role("button", name="Notify me when it ends").click()
        assert "You will be notified." in seen.text("#notify-state")
        moved = "() => document.getElementById('bytes-bar').value > 300000"
        seen.page.wait_for_function(moved, timeout=60_000)
        assert "of 11.4 MiB" in seen.text("#bytes-text")
        assert "0 of 3" in seen.text("#files-text")
        expect(seen.page.locator("#speed")).to_contain_text("/s")
        expect(seen.page.locator("#flight")).to_contain_text(".bin")
        assert " % – " in seen.page.title()
        assert seen.wide() == 0
        assert seen.page.locator("#send").is_hidden()

        seen.page.get_by_role("button", name="Cancel copy").click()
        seen.ends("Copy cancelled.")
        assert seen.page.get_by_role("button", name="Cancel copy").is_hidden()
        [told] = seen.page.evaluate("window.told")
        assert told.startswith("Copy cancelled.")
        function.wait_clean(20)
        seen.clean()


def reach(seen: Seen, name: str) -> None:
    """Press Tab until the element with this label has a visible focus."""
    for _ in range(80):
        seen.page.keyboard.press("Tab")
        if focused(seen).startswith(name):
            outline = """(() => { const it = document.activeElement;
              return getComputedStyle(it.closest(".tile") ?? it).outlineStyle; })()"""
            assert seen.page.evaluate(outline) != "none"
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_page_works_by_keyboard_alone(browser: Browser, function: Function) -> None:
    with nextcloud.serving() as cloud, opened(browser, function.url) as seen:
        measured(cloud)
        address = cloud.storage().parameters["url"].partition("/remote.php")[0]
        keyboard = seen.page.keyboard
        reach(seen, "Skip to the form")
        keyboard.press("Enter")
        reach(seen, "source Nextcloud")
        for name in ("source", "destination"):
            if name == "destination":
                reach(seen, "destination S3")
                for _ in range(3):
                    keyboard.press("ArrowLeft")
                assert focused(seen) == "destination Nextcloud"
            reach(seen, f"{name} Address")
            keyboard.type(address)
            reach(seen, f"{name} User")
            keyboard.type(USER)
            reach(seen, f"{name} App password")
            keyboard.type(cloud.app_password())
            reach(seen, f"{name} Folder or file")
            if name == "destination":
                keyboard.type("Copy")
                break
            reach(seen, "source Browse")
            keyboard.press("Enter")
            seen.page.wait_for_selector("#picker-list li")
            reach(seen, "Measurements")
            keyboard.press("Enter")
            seen.page.wait_for_selector("#picker-list >> text=notes.md")
            reach(seen, "Choose this folder")
            keyboard.press("Enter")
            assert focused(seen) == "source Folder or file"
        keyboard.press("Enter")
        seen.ends("Copy complete.")

        assert cloud.hashes("Copy") == cloud.hashes("Measurements")
        assert "Copy complete." in focused(seen)
        seen.clean()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720), (2560, 1440)])
def test_start_is_in_view_on_every_screen(
    browser: Browser, function: Function, width: int, height: int
) -> None:
    with opened(browser, function.url, width=width, height=height) as seen:
        for scrolled in ("0", "document.body.scrollHeight / 2"):
            seen.page.evaluate(f"scrollTo(0, {scrolled})")
            box = seen.page.get_by_role("button", name="Start copy").bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
        assert seen.wide() == 0
        source, destination = (
            seen.page.locator(f"#{name}").bounding_box() for name in ("source", "destination")
        )
        assert source is not None
        assert destination is not None
        beside = source["x"] + source["width"] < destination["x"]
        below = source["y"] + source["height"] + 8 < destination["y"]
        assert (beside, below) == (width > 600, width < 600)
        seen.clean()


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
        side(seen, "source").other(dav.storage, "data")
        side(seen, "destination").s3(s3, "bucket/whole")
        start(seen)
        seen.ends("Some files were not copied.")
        assert "locked.bin" in seen.text("#outcome")
        seen.clean("502")


def test_page_shows_the_warnings_of_a_success(
    browser: Browser, function: Function, s3: Storage
) -> None:
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

    with opened(browser, function.url) as seen:
        seen.page.route("**/*", warned)
        side(seen, "source").s3(s3, "bucket/a")
        side(seen, "destination").s3(s3, "bucket/b")
        start(seen)
        seen.ends("Copy complete.")
        shown = seen.text("[data-code=time_not_kept]")
        assert "Compare by size. (3 cases)" in shown
        assert "For example old/<b>.txt: before 1970" in shown
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
