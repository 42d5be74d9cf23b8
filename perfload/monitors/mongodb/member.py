"""The address of one member of a replica set: a profiler is one server's own, whichever is primary later."""

from __future__ import annotations

_LEFT_OUT = frozenset(
    {
        *("directconnection", "loadbalanced", "readpreference", "readpreferencetags"),
        *("srvmaxhosts", "srvservicename"),
    }
)


def member_url(url: str, address: str) -> str:
    """Return `url` for the server at `address` (host:port) alone, with the same user and options."""
    scheme, _, rest = url.partition("://")
    # The last @, as in `address_of`: a password that is not escaped may hold others.
    user, at, rest = rest.rpartition("@")
    rest, _, query = rest.partition("?")
    database = rest.partition("/")[2]
    options = [option for option in query.split("&") if option]
    names = {option.partition("=")[0].lower() for option in options}
    kept = [option for option in options if option.partition("=")[0].lower() not in _LEFT_OUT]
    if scheme == "mongodb+srv":
        # What DNS says beside the hosts.
        kept += ["tls=true"] if not names & {"tls", "ssl"} else []
        kept += ["authSource=admin"] if user and "authsource" not in names else []
    return f"mongodb://{user}{at}{address}/{database}?{'&'.join([*kept, 'directConnection=true'])}"
