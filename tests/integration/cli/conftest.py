"""Fixtures of the command's tests: a user with two storages, and a name that is not in use."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from support.cli_user import User
from support.service_process import Function
from support.storages import Storage


@pytest.fixture
def user(tmp_path: Path, function: Function, webdav: Storage, s3: Storage) -> User:
    """A user of two storages: `cloud`, with its password in a variable, and `archive`."""
    user = User.at(
        tmp_path / "home",
        EFSS_TRANSFER_URL=function.url,
        CLOUD_PASSWORD=str(webdav.parameters["pass"]),
    )
    cloud = {**webdav.parameters, "pass": {"env": "CLOUD_PASSWORD"}}
    user.write_endpoints(
        cloud={"type": "webdav", "parameters": cloud},
        archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
    )
    return user


@pytest.fixture
def name() -> str:
    """A folder that no other test uses."""
    return uuid.uuid4().hex
