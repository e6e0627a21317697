"""The AWS clients of a process: made on first use, kept for its life, closed at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, overload

import aioboto3  # type: ignore[import-untyped]
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fareway.log import log

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_firehose import FirehoseClient
    from types_aiobotocore_s3 import S3Client

#: What a call fails with, a budget that ran out included.
FAILURES = (BotoCoreError, ClientError, TimeoutError, OSError)
#: One try: each caller has a budget of its own and a fallback behind it.
CONFIG = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"max_attempts": 1, "mode": "standard"},
    tcp_keepalive=True,
    max_pool_connections=50,
)


def condition_failed(error: Exception) -> bool:
    """Whether a conditional write was refused because its condition does not hold."""
    return (
        isinstance(error, ClientError)
        and error.response["Error"]["Code"] == "ConditionalCheckFailedException"
    )


class Aws:
    """Clients by service name. Region, endpoint and credentials are the SDK's own business."""

    def __init__(self) -> None:
        self._session = aioboto3.Session()
        self._open = AsyncExitStack()
        self._clients: dict[str, asyncio.Task[Any]] = {}

    @overload
    async def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    async def client(self, service: Literal["firehose"]) -> FirehoseClient: ...
    @overload
    async def client(self, service: Literal["s3"]) -> S3Client: ...
    async def client(self, service: str) -> Any:
        """The process's client for a service.

        A caller whose budget runs out while the client is made leaves it to be finished for
        the next one: a slow first start must not mean that there never is a client.
        """
        making = self._clients.get(service)
        if making is None or (making.done() and (making.cancelled() or making.exception())):
            making = self._clients[service] = asyncio.create_task(self._make(service))
        return await asyncio.shield(making)

    async def _make(self, service: str) -> Any:
        return await self._open.enter_async_context(self._session.client(service, config=CONFIG))

    async def put_all(
        self, table: str, items: Sequence[Mapping[str, Any]], budget_s: float, what: str
    ) -> bool:
        """Puts at most 25 items into a DynamoDB table -> whether it took them all. Never raises.

        Args:
            budget_s: how long it may take, seconds.
            what: is written, for the log line of a failure.
        """
        puts: Any = [{"PutRequest": {"Item": item}} for item in items]
        try:
            async with asyncio.timeout(budget_s):
                client = await self.client("dynamodb")
                answer = await client.batch_write_item(RequestItems={table: puts})
        except FAILURES as error:
            log("warning", f"{what} write failed", error=type(error).__name__)
            return False
        if undone := bool(answer.get("UnprocessedItems")):
            log("warning", f"{what} write failed", error="UnprocessedItems")
        return not undone

    async def close(self) -> None:
        """Closes every client."""
        await asyncio.gather(*self._clients.values(), return_exceptions=True)
        self._clients.clear()
        await self._open.aclose()
