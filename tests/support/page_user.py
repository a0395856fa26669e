"""A person at the page: fills in what its presets ask for, by the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Locator, expect

from support import nextcloud
from support.browser import Seen, opened
from support.nextcloud import Nextcloud, errors
from support.storages import USER, Storage

PRIVATE = "raw/2026-11-21/private.h5"
MEASUREMENTS = {
    **{f"raw/2026-11-2{day}/scan-{n}.h5": 180_000 for day in range(3) for n in range(1, 5)},
    "notes.md": 1_834,
    "calibration.csv": 20_480,
    PRIVATE: 4_096,
}


@dataclass
class SideOfPage:
    """One side of the form."""

    seen: Seen
    name: str

    @property
    def form(self) -> Locator:
        return self.seen.page.locator(f"#{self.name}")

    def choose(self, preset: str) -> None:
        """Choose the kind of storage, by the words on its tile."""
        self.form.get_by_label(preset, exact=True).check(force=True)

    def field(self, label: str) -> Locator:
        return self.form.get_by_label(label).first

    def fill(self, **fields: str) -> None:
        """Fill in fields by their labels, `_` for a space."""
        for label, value in fields.items():
            it = self.field(label.replace("_", " "))
            it.fill(value)
            it.dispatch_event("change")

    def nextcloud(self, cloud: Nextcloud, password: str, path: str = "") -> None:
        """As a person has it: the address in the browser, the name, an app password."""
        self.choose("Nextcloud")
        site = cloud.storage().parameters["url"].partition("/remote.php")[0]
        address = f"{site}/apps/files/files/118?dir=/{path}"
        self.fill(Address=address, User=USER, App_password=password)

    def s3(self, storage: Storage, path: str) -> None:
        self.choose("S3")
        given = storage.parameters
        self.fill(
            Address=given["endpoint"],
            Access_key=given["access_key_id"],
            Secret_key=given["secret_access_key"],
            Bucket_and_folder=path,
        )

    def other(self, storage: Storage, path: str) -> None:
        """Any storage, by all the parameters of its type."""
        self.choose("Other")
        self.form.locator(f"#{self.name}-type").select_option(storage.type)
        if self.form.locator("details.inner > summary").count():
            self.form.locator("details.inner > summary").click()
        for name, value in storage.endpoint()["parameters"].items():
            it = self.parameter(storage.type, name)
            if it.evaluate("(it) => it.tagName") == "SELECT":
                it.select_option(str(value).lower() if isinstance(value, bool) else str(value))
            else:
                it.fill(str(value))
        self.form.get_by_label("Folder or file").fill(storage.endpoint(path)["path"])

    def parameter(self, kind: str, name: str) -> Locator:
        from support.contract import schema

        title = schema("request")["$defs"][f"{kind.replace(' ', '_')}_parameters"]["properties"]
        label = title[name]["title"]
        it = self.form.get_by_label(label, exact=True)
        return it if it.count() else self.form.get_by_label(f"{label} (required)")

    def check(self) -> None:
        """Press Check, and wait for what came of it."""
        button = self.form.get_by_role("button", name="Check")
        button.click()
        expect(self.form.locator(".check .state")).not_to_have_text("Checking …")

    def error(self, label: str) -> str:
        """The error at a field."""
        identifier = self.field(label).get_attribute("id")
        return self.seen.text(f"#{identifier}-error")


def side(seen: Seen, name: str) -> SideOfPage:
    return SideOfPage(seen, name)


def start(seen: Seen) -> None:
    seen.page.locator("#send").click()


def measured(cloud: Nextcloud) -> None:
    """Fill the cloud of a group that measures."""
    for path, size in MEASUREMENTS.items():
        cloud.write(f"Measurements/{path}", bytes(size))
    for path in ("Photos/boat.jpg", "Templates/letter.odt", "Readme.md"):
        cloud.write(path, b"x" * 2_000)


def states(
    browser: Browser, url: str, s3: Storage, width: int, scheme: Any = "light"
) -> Iterator[tuple[str, Seen]]:
    """The page in each of its states, one after another, as a person meets them."""
    height = 900 if width > 600 else 844
    with (
        nextcloud.serving() as cloud,
        opened(browser, url, width=width, height=height, scheme=scheme) as seen,
    ):
        measured(cloud)
        page = seen.page
        yield "empty", seen
        source, destination = side(seen, "source"), side(seen, "destination")
        source.nextcloud(cloud, cloud.app_password(), "Measurements")
        destination.s3(s3, f"bucket/{width}-{scheme}")
        source.check()
        destination.check()
        yield "checked", seen
        source.form.get_by_role("button", name="Browse").click()
        page.wait_for_selector("#picker-list li")
        yield "browsing", seen
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.locator("#more > summary").click()
        limit = page.get_by_label("Bandwidth limit")
        limit.fill("600000")
        page.locator("#more > summary").click()
        start(seen)
        moved = "() => document.getElementById('bytes-bar').value > 400000"
        page.wait_for_function(moved, timeout=60_000)
        yield "running", seen
        seen.ends("Copy complete.")
        yield "done", seen
        page.locator("#edit").click()
        limit.evaluate("(it) => { it.value = '' }")
        destination.field("Bucket and folder").fill(f"bucket/{width}-{scheme}-again")
        private = f"/remote.php/dav/files/{USER}/Measurements/{PRIVATE}"
        cloud.fail("GET", private, nextcloud.error(errors.forbidden("No read permissions")))
        start(seen)
        seen.ends("Some files were not copied.")
        yield "failed", seen
