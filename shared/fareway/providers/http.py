"""The process's HTTP client: one pool of connections to all upstreams.

aiohttp, which the AWS SDK brings along: of a request that is passed on, httpx took 0.7 of 1.3 ms
(docs/adr/0012).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.request import getproxies

import certifi
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

CONNECTIONS = 200
KEEP_ALIVE_S = 30


@dataclass(slots=True)
class Http:
    """A session made on first use: it belongs to the event loop that runs then."""

    _session: ClientSession | None = None

    def session(self) -> ClientSession:
        if self._session is None:
            tls = ssl.create_default_context(cafile=certifi.where())
            self._session = ClientSession(
                connector=TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ssl=tls),
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=None),
                trust_env=bool(getproxies()),
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
