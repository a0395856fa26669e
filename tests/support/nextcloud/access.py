"""Authentication: passwords, app passwords, throttling, disabled accounts, public links."""

from __future__ import annotations

import base64
import binascii
import hmac

from support.nextcloud.cloud import Link, Nextcloud, User
from support.nextcloud.errors import not_authenticated, too_many_requests, unavailable
from support.nextcloud.exchange import Exchange


def _basic(exchange: Exchange) -> tuple[str, str] | None:
    """The user and password of the request, if it has any."""
    scheme, _, given = (exchange.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return "", given
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def check_throttle(cloud: Nextcloud) -> None:
    """Refuse everybody at this address once too many passwords were wrong."""
    if cloud.throttle_after is not None and cloud.refused_passwords > cloud.throttle_after:
        raise too_many_requests()


def refuse(cloud: Nextcloud, message: str, challenge: bool = True) -> Exception:
    """Count a wrong password, or an unknown link."""
    with cloud.guard:
        cloud.refused_passwords += 1
    return not_authenticated(message, challenge)


def signed_in(exchange: Exchange) -> User:
    """The account that asks.

    An app password is looked up; the account's own is hashed for each request, which costs
    ten times as much as all the rest. A Bearer token is an app password too.
    """
    cloud = exchange.cloud
    check_throttle(cloud)
    given = _basic(exchange)
    if given is None:
        raise not_authenticated("The request has no sign-in that the server can read")
    name, password = given
    for user in list(cloud.users.values()):
        if name not in ("", user.name):
            continue
        by_app = any(_same(password, one) for one in user.app_passwords)
        if not by_app:
            cloud.spend(cloud.cost.password)
        if by_app or (name and _same(password, user.password)):
            if not user.enabled:
                raise unavailable("OC\\User\\DisabledUserException: Account disabled")
            exchange.request.user = user.name
            return user
    raise refuse(cloud, "The user name or the password is wrong")


def link_of_user(exchange: Exchange) -> Link:
    """The link that a request to /public.php/webdav means by its user name."""
    cloud = exchange.cloud
    check_throttle(cloud)
    given = _basic(exchange)
    if given is None:
        raise not_authenticated("The request has no sign-in that the server can read")
    link = cloud.links.get(given[0])
    if link is None:
        raise refuse(cloud, "The user name or the password is wrong")
    _check_password(exchange, link, given[1])
    return link


def link_of_path(exchange: Exchange, token: str) -> Link:
    """The link that a path below /public.php/dav/files names."""
    cloud = exchange.cloud
    check_throttle(cloud)
    link = cloud.links.get(token)
    if link is None:
        with cloud.guard:
            cloud.refused_passwords += 1
        raise unavailable("Sabre\\DAV\\Exception\\NotFound: ")
    given = _basic(exchange)
    if link.password and given is None:
        raise not_authenticated("", challenge=False)
    _check_password(exchange, link, given[1] if given else "")
    return link


def _check_password(exchange: Exchange, link: Link, given: str) -> None:
    if not link.password:
        return
    exchange.cloud.spend(exchange.cloud.cost.password)
    if not _same(given, link.password):
        raise refuse(exchange.cloud, "The user name or the password is wrong")
