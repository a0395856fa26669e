"""One request to the stand-in of Nextcloud, and its answer."""

from __future__ import annotations

from support.nextcloud.cloud import Nextcloud
from support.stand_in import exchange

Exchange = exchange.Exchange[Nextcloud]
