"""An HTTP/1.1 client for virtual users: Locust's interface, at a fraction of its cost and with truer times.

- session: what a scenario calls; response, headers, content, stream, sse, cookies: what it gets back
- request, body, redirects: what is sent, as bytes
- connection: one exchange after another; pool, dialer, resolver, wire, proxy, tls: how there comes to be one
- failures, timeouts: how a request fails
"""

from perfload.load.http.failures import BadContent, RequestFailed
from perfload.load.http.response import Response
from perfload.load.http.session import HttpSession
from perfload.load.http.timeouts import Timeouts

__all__ = ["BadContent", "HttpSession", "RequestFailed", "Response", "Timeouts"]
