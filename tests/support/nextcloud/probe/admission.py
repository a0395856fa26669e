"""Sign-in, throttling, accounts and sites that are shut, public links."""

from __future__ import annotations

import json

from support.nextcloud.probe.client import Client
from support.nextcloud.probe.names_and_writes import ASKED, Observations
from support.nextcloud.probe.namespace import SIZES


def sign_in(ask: Client) -> Observations:
    """Passwords, app passwords, tokens."""
    site = ask.site
    home = ask.files + "/"
    yield "no sign-in", Client(site, password="")("PROPFIND", home, Depth=0)
    own = Client(site, password=site.account_password)
    yield "the account's password", own("PROPFIND", home, Depth=0)
    bearer = Client(site, password="")
    for name, token in (("an app password", site.app_password), ("nonsense", "nonsense")):
        answer = bearer("PROPFIND", home, Depth=0, Authorization=f"Bearer {token}")
        yield f"Bearer {name}", answer
    ocs = {"OCS_APIRequest": "true"}
    made = own("GET", "/ocs/v2.php/core/getapppassword?format=json", **ocs)
    other = Client(site, password=json.loads(made.body)["ocs"]["data"]["apppassword"])
    yield "a new app password", other("PROPFIND", home, Depth=0)
    again = other("GET", "/ocs/v2.php/core/getapppassword?format=json", **ocs)
    yield "an app password makes no other", again.status
    yield "revoked", other("DELETE", "/ocs/v2.php/core/apppassword?format=json", **ocs).status
    yield "after that", other("PROPFIND", home, Depth=0)
    site.forgive()
    told = json.loads(ask("GET", "/ocs/v2.php/cloud/capabilities?format=json", **ocs).body)
    known = told["ocs"]["data"]["capabilities"]
    yield "dav", (known["dav"].get("bulkupload"), known["dav"]["chunking"])
    yield "chunked_upload", known["files"]["chunked_upload"]
    for name in ("forbidden_filenames", "forbidden_filename_characters"):
        yield name, known["files"][name]
    without = ask("GET", "/ocs/v2.php/cloud/capabilities?format=json")
    yield "OCS without its header", without.status
    public = bearer("GET", "/ocs/v2.php/cloud/capabilities?format=json", **ocs)
    names = json.loads(public.body)["ocs"]["data"]["capabilities"]
    yield "capabilities without sign-in", (public.status, "dav" in names)


def shut(ask: Client) -> Observations:
    """A disabled account, maintenance, and too many wrong passwords."""
    site = ask.site
    home = ask.files + "/"
    site.set_enabled(False)
    try:
        disabled = ask("PROPFIND", home, Depth=0)
        yield "disabled", disabled
        yield "its message", disabled.find("<s:message>(.*?)<")
    finally:
        site.set_enabled(True)
    site.set_maintenance(True)
    try:
        for method, path in (
            ("PROPFIND", home),
            ("PUT", home + "x"),
            ("GET", "/ocs/v2.php/cloud/capabilities?format=json"),
            ("GET", "/login"),
            ("GET", "/status.php"),
        ):
            yield f"maintenance: {method} {path.rpartition('/')[2]}", ask(method, path)
    finally:
        site.set_maintenance(False)
    wrong = Client(site, password="wrong")
    refused = [wrong("PROPFIND", home, Depth=0).status for _ in range(13)]
    yield "wrong passwords before 429", refused.count(401)
    throttled = ask("PROPFIND", home, Depth=0)
    yield "the right one after that", throttled
    ocs = ask("GET", "/ocs/v2.php/cloud/capabilities?format=json", OCS_APIRequest="true")
    yield "OCS after that", ocs.status
    yield "status.php after that", ask("GET", "/status.php").status
    site.forgive()
    yield "forgiven", ask("PROPFIND", home, Depth=0)


def links(ask: Client) -> Observations:
    """Public links: to read, to write, to drop files; with a password; of one file; of none."""
    site = ask.site
    ask("MKCOL", "links")
    ask("PUT", "links/f.txt", "file")
    tokens = {kind: site.share("/probe/links", kind) for kind in ("read", "write", "drop")}
    tokens["file"] = site.share("/probe/links/f.txt", "read")
    tokens["none"] = "nonesuch"
    for kind, token in tokens.items():
        old, new = Client(site, token, "-"), Client(site, password="")
        for name, link, at in (
            ("webdav", old, "/public.php/webdav"),
            ("dav", new, f"/public.php/dav/files/{token}"),
        ):
            listed = link("PROPFIND", at + "/", SIZES, Depth=1)
            hrefs = [href.replace(token, "TOKEN") for href in listed.find("<d:href>(.*?)</")]
            yield f"{kind}, {name}: PROPFIND", (str(listed), hrefs)
            yield f"{kind}, {name}: GET", link("GET", at + "/f.txt")
            yield f"{kind}, {name}: PUT", link("PUT", f"{at}/{name}-{kind}", "x")
            yield f"{kind}, {name}: PUT again", link("PUT", f"{at}/{name}-{kind}", "y")
            yield f"{kind}, {name}: MKCOL", link("MKCOL", f"{at}/{name}-{kind}-d")
        yield f"{kind}: page", ask("GET", f"/s/{token}").status
        yield f"{kind}: download", ask("GET", f"/s/{token}/download").status
    site.forgive()
    yield (
        "what the links left",
        sorted(
            href.rpartition("/links/")[2]
            for href in ask("PROPFIND", "links", ASKED, Depth=1).find("<d:href>(.*?)</")
        ),
    )
    token = site.share("/probe/links", "read", "c0rrect-Horse-battery")
    at = f"/public.php/dav/files/{token}"
    for what, password in (("no", ""), ("a wrong", "wrong"), ("its", "c0rrect-Horse-battery")):
        guest = Client(site, "anonymous", password)
        yield f"link with {what} password", guest("PROPFIND", at, SIZES, Depth=0)
        named = Client(site, token, password or "-")
        yield (
            f"webdav link with {what} password",
            named("PROPFIND", "/public.php/webdav/", SIZES, Depth=0),
        )
    site.unshare(token)
    yield "a link taken back", Client(site, password="")("PROPFIND", at, SIZES, Depth=0)
    site.forgive()
