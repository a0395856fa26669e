"""Lines of rclone's log, and their parsing.

The lines are rclone 1.75.2's own, from runs with `--use-json-log -vv`; only the time is left out.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.redaction import Redactor

COPIED = (
    '{"level":"info","msg":"Copied (new)","size":4,"object":"one","objectType":"*local.Object",'
    '"source":"operations/copy.go:382"}'
)
COPIED_ODD = (
    '{"level":"info","msg":"Copied (replaced existing)","size":6,'
    '"object":"deep/émoji 🎉 \\"q\\".txt","objectType":"*local.Object",'
    '"source":"operations/copy.go:382"}'
)
COPIED_BY_THE_STORAGE = (
    '{"level":"info","msg":"Copied (server-side copy) to: two","size":9,"object":"one",'
    '"objectType":"*s3.Object","source":"operations/copy.go:382"}'
)
COPIED_UNSIZED = (
    '{"level":"info","msg":"Copied (Rcat, new)","size":-1,"object":"f.bin",'
    '"objectType":"*http.Object","source":"operations/copy.go:382"}'
)
SKIPPED = (
    '{"level":"debug","msg":"Unchanged skipping","object":"same","objectType":"*local.Object",'
    '"source":"operations/operations.go:1828"}'
)
DENIED = (
    '{"level":"error","msg":"Failed to copy: unchunked simple update failed: '
    'Sabre\\\\DAV\\\\Exception\\\\Forbidden: 403 Forbidden","object":"denied",'
    '"objectType":"*local.Object","source":"operations/copy.go:349"}'
)
UNREADABLE = (
    '{"level":"error","msg":"Failed to copy: failed to open source object: 403 Forbidden",'
    '"object":"secret.h5","objectType":"*webdav.Object","source":"operations/copy.go:349"}'
)
CORRUPTED = (
    '{"level":"error","msg":"corrupted on transfer: sizes differ src(Local file system at c) 6 '
    'vs dst(webdav root \'\') 3","object":"wrong-size","objectType":"*webdav.Object",'
    '"source":"operations/copy.go:359"}'
)
CORRUPTED_PARTIAL = CORRUPTED.replace('"wrong-size"', '"wrong-size.18ce2bd0.partial"')
NOT_RENAMED = (
    '{"level":"error","msg":"partial file rename failed: can\'t move object - incompatible '
    'remotes","object":"x.42d1e3b1.partial","objectType":"*local.Object",'
    '"source":"operations/copy.go:369"}'
)
CUT_OFF = (
    '{"level":"error","msg":"Failed to copy: operation error S3: PutObject, https response error '
    'StatusCode: 0, RequestID: , HostID: , canceled, context canceled","object":"f",'
    '"objectType":"*webdav.Object","source":"operations/copy.go:349"}'
)
NO_SOURCE = (
    '{"level":"error","msg":"error reading source root directory: directory not found",'
    '"object":"webdav root \'nope\'","objectType":"*webdav.Fs","source":"march/march.go:568"}'
)
NO_LISTING = (
    '{"level":"error","msg":"error reading destination root directory: couldn\'t list files: '
    '403 Forbidden","object":"webdav root \'nope\'","objectType":"*webdav.Fs",'
    '"source":"march/march.go:568"}'
)
NO_LISTING_OF_FOLDER = (
    '{"level":"error","msg":"error reading destination directory: couldn\'t list files: '
    '500 Internal Server Error","object":"sub","objectType":"string",'
    '"source":"march/march.go:579"}'
)
NO_FOLDER = (
    '{"level":"error","msg":"error reading source directory \\"deep/er\\": 403 Forbidden",'
    '"object":"deep/er","objectType":"string","source":"march/march.go:570"}'
)
CALL = (
    '{"level":"debug","msg":"rc: \\"sync/copy\\": with parameters map[_group:transfer '
    'dstFs:destination:bucket/a srcFs:source:a]","source":"rcserver/rcserver.go:300"}'
)
NOOP = (
    '{"level":"debug","msg":"rc: \\"rc/noop\\": reply map[]: <nil>",'
    '"source":"rcserver/rcserver.go:313"}'
)
REPLY = (
    '{"level":"debug","msg":"rc: \\"sync/copy\\": reply map[]: <nil>",'
    '"source":"rcserver/rcserver.go:313"}'
)
REFUSAL = (
    '{"level":"error","msg":"rc: \\"sync/copy\\": error: directory not found",'
    '"source":"rcserver/rcserver.go:187"}'
)
CREATING = (
    '{"level":"debug","msg":"Creating backend with remote \\"%s:a\\"","source":"fs/newfs.go:54"}'
)
WANTED = (
    '{"level":"debug","msg":"Need to transfer - File not found at Destination","object":"one",'
    '"objectType":"*local.Object","source":"sync/sync.go:1262"}'
)
UPLOADED = (
    '{"level":"debug","msg":"size = 4 OK","object":"one.18ce2bd0.partial",'
    '"objectType":"*local.Object","source":"operations/operations.go:188"}'
)
RENAMED = (
    '{"level":"debug","msg":"renamed to: one","object":"one.18ce2bd0.partial",'
    '"objectType":"*local.Object","source":"operations/copy.go:374"}'
)
REMOVING = (
    '{"level":"info","msg":"Removing failed copy","object":"x.42d1e3b1.partial",'
    '"objectType":"*local.Object","source":"operations/copy.go:48"}'
)
SET_TIME = (
    '{"level":"info","msg":"Set directory modification time (using DirSetModTime)",'
    '"object":"deep","objectType":"string","source":"operations/operations.go:2794"}'
)
NOTHING_TO_DO = '{"level":"info","msg":"There was nothing to transfer","source":"sync/sync.go:980"}'
LINK = (
    '{"level":"notice","msg":"Can\'t follow symlink without -L/--copy-links","object":"link",'
    '"objectType":"*local.Object","source":"local/local.go:1370"}'
)
SUMMARY = (
    '{"level":"notice","msg":"Failed to copy with 3 errors: last error was: 403 Forbidden",'
    '"source":"cmd/cmd.go:336"}'
)
WITHOUT_OUTCOME = (WANTED, UPLOADED, RENAMED, REMOVING, SET_TIME, NOTHING_TO_DO, LINK, SUMMARY)


@dataclass(frozen=True)
class ParsedLog:
    """A parser, and the outcomes that it adds to."""

    parser: LogParser
    outcomes: FileOutcomes


def parsed(*lines: str) -> ParsedLog:
    """A parser that has read these lines. `canary-password` is a secret."""
    outcomes = FileOutcomes()
    log = ParsedLog(LogParser(outcomes, Redactor(["canary-password"])), outcomes)
    for line in lines:
        log.parser.take(line.encode() + b"\n")
    return log


def states(log: ParsedLog) -> dict[str, str]:
    """The state of each file since the last call."""
    return {outcome.path: outcome.state.value for outcome in log.outcomes.drain()}


def log_of(rclone: Path, home: Path, *arguments: str | Path) -> list[bytes]:
    """The log of rclone, with an empty environment."""
    done = subprocess.run(
        [rclone, *arguments, "--config=", "--use-json-log", "-vv", "--retries=1"],
        env={"HOME": str(home)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    return done.stderr.splitlines(keepends=True)
