"""Questions for a real Nextcloud and for the stand-in, and their answers.

`observe(site, section)` asks, and returns the observations by name. To ask a real server, write
a `Site` for it: its administrator sets quota, maintenance and the like. The answers of a real
server are in `observed.json`.
"""

from support.nextcloud.probe.client import Client, Site
from support.nextcloud.probe.run import observe

__all__ = ["Client", "Site", "observe"]
