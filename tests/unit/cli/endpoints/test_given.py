"""The options of `endpoints add`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efss_transfer.cli.endpoints.draft import Draft, Invalid
from efss_transfer.cli.endpoints.given import Given, fill, missing
from efss_transfer.cli.endpoints.presets import preset_of


def filled(kind: str, texts: dict[str, str | None] | None = None, **more: Any) -> Draft:
    draft = Draft(preset_of(kind))
    fill(draft, Given(texts or {}, **more))
    return draft


def test_options_fill_parameters_secrets_and_folder(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret=key\r\n")
    draft = filled(
        "s3",
        {"address": "https://s3.example.org", "folder": "bucket/", "user": None},
        settings=["region=eu"],
        secret_files=[str(tmp_path / "key")],
        secret_variables=["access_key_id=KEY_ID"],
    )
    assert draft.parameters == {
        "provider": "Other",
        "endpoint": "https://s3.example.org",
        "region": "eu",
        "access_key_id": {"env": "KEY_ID"},
    }
    assert (draft.secrets, draft.path) == ({"secret_access_key": "secret=key"}, "bucket")
    assert missing(draft) == []
    assert draft.finish() == []


def test_command_may_have_an_equals_sign() -> None:
    draft = filled("nextcloud", secret_commands=["show --field=pass cloud"])
    assert draft.parameters["pass"] == {"command": "show --field=pass cloud"}
    assert missing(draft) == ["--address URL", "--user NAME"]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("nextcloud", {"settings": ["pass=canary"]}, "pass is a secret"),
        ("nextcloud", {"settings": ["vendor"]}, "must be PARAMETER=VALUE"),
        ("nextcloud", {"texts": {"user": "a\nb"}}, "--user: Must be a single line"),
        ("doi", {"texts": {"address": "https://x"}}, "doi has no address"),
        ("doi", {"secret_commands": ["canary"]}, "say which secret"),
        ("filescom", {"settings": ["site=!"]}, "--set site: "),
    ],
)
def test_wrong_option_is_named_and_no_secret_quoted(
    kind: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(Invalid, match=said) as told:
        filled(kind, **given)
    assert "canary" not in str(told.value)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="--secret-file pass: is not UTF-8 text"):
        filled("nextcloud", secret_files=[str(tmp_path / "key")])
