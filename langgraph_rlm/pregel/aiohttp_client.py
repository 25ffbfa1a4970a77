"""aiohttp client: OpenAI's client over aiohttp, with another transport in it.

Where a client makes its transports is private in httpx; OpenAI's client replaces the same two
methods. Connects to nobody.
"""

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

Transports = Callable[
    ["ssl.SSLContext", "httpx2.Limits", "httpx2.Proxy | None"], "httpx2.AsyncBaseTransport"
]
"""What makes a transport: for TLS, within limits, and through a proxy over plain HTTP."""


def aiohttp_client(make: Transports, **options: Any) -> "httpx2.AsyncClient":
    """Make an `openai.DefaultAioHttpClient` whose transports `make` makes.

    Args:
        make: called once for requests without a proxy, and once for each proxy.
        options: of the client. Proxies of the environment are looked up as httpx does.
    """
    import httpx2
    from openai import DefaultAioHttpClient

    class Client(DefaultAioHttpClient):
        """The client."""

        def _init_transport(self, *_: Any, transport: Any = None, **given: Any) -> Any:
            if transport is not None:
                return transport
            return make(_tls(given), given["limits"], None)

        def _init_proxy_transport(self, proxy: "httpx2.Proxy", *_: Any, **given: Any) -> Any:
            if proxy.url.scheme != "http":  # aiohttp speaks no SOCKS, and trusts all TLS alike
                return httpx2.AsyncHTTPTransport(proxy=proxy, **given)
            return make(_tls(given), given["limits"], proxy)

    return Client(**options)


def _tls(given: dict[str, Any]) -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context(
        verify=given["verify"], cert=given["cert"], trust_env=given["trust_env"]
    )
