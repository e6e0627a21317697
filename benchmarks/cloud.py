"""AWS as Fareway meets it, small and fast, and as ill as it is told to be.

DynamoDB's items with the expressions that Fareway writes, Firehose's records, S3's objects and one
secret, on one port. Any of them can be slow, throttling, down, or cut off after the work is done:
then a caller cannot tell whether it was. moto speaks for more of AWS (the tests use it), but takes
milliseconds a call, and a soak makes half a million.

Errors: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
/firehose/latest/APIReference/API_PutRecord.html, /AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from aiohttp import web

Service = Literal["dynamodb", "firehose", "s3", "secretsmanager"]
Illness = Literal["slow", "throttling", "down", "cut"]
SERVICES: tuple[Service, ...] = ("dynamodb", "firehose", "s3", "secretsmanager")
ILLNESSES: tuple[Illness, ...] = ("slow", "throttling", "down", "cut")
SLOW_S = 3.0  # longer than any budget of Fareway's
THROTTLED: Mapping[str, tuple[int, str]] = {
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "firehose": (500, "ServiceUnavailableException"),
    "secretsmanager": (400, "ThrottlingException"),
}
SLOW_DOWN = (
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
NO_KEY = "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
Item = dict[str, Any]


class Refused(Exception):
    """An error of DynamoDB's. Args: its name, and what is said beside it."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name)
        self.body = {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": name, **more}


@dataclass(slots=True)
class Cloud:
    """What there is, and how it is.

    Args:
        ill: service -> illness, and the share of calls that meet it.
        calls: service and operation -> how often it was asked.
        units: DynamoDB's, by table and "read" or "write".
    """

    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)  # table -> the name of its key
    tables: dict[str, dict[str, Item]] = field(default_factory=lambda: defaultdict(dict))
    objects: dict[str, bytes] = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)
    secret: str = "{}"
    ill: dict[Service, tuple[Illness, float]] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        target = request.headers.get("x-amz-target", "")
        name, _, operation = target.partition(".")
        service: Service = next((s for s in SERVICES if name.lower().startswith(s)), "s3")
        self.calls[service, operation or request.method] += 1
        illness, share = self.ill.get(service, ("slow", 0.0))
        met = illness if self.chance.random() < share else None
        if met == "slow":
            await asyncio.sleep(SLOW_S)
        if met == "throttling":
            return _throttled(service)
        if met != "down":
            answer = self._answer(service, operation, request, body)
            if met != "cut":
                return answer
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)

    def _answer(
        self, service: Service, operation: str, request: web.Request, body: bytes
    ) -> web.Response:
        if service == "s3":
            return self._s3(request, body)
        asked = json.loads(body)
        if service == "firehose":
            self.records.append(base64.b64decode(asked["Record"]["Data"]))
            return _json({"RecordId": str(len(self.records)), "Encrypted": True})
        if service == "secretsmanager":
            return _json({"ARN": "a", "Name": "n", "SecretString": self.secret})
        try:
            return _json(getattr(self, f"_{operation}")(asked))
        except Refused as error:
            return _json(error.body, 400)

    def _s3(self, request: web.Request, body: bytes) -> web.Response:
        if request.method == "PUT":
            self.objects[request.path] = _unchunked(body, request.headers)
            return web.Response(headers={"etag": '"1"'})
        found = self.objects.get(request.path)
        if found is None:
            return web.Response(status=404, text=NO_KEY, content_type="application/xml")
        return web.Response(body=found, headers={"etag": '"1"'})

    # DynamoDB

    def _at(self, table: str, key: Item, reads: float = 0) -> Item | None:
        """Args: reads: units of 4 kB; half of one where it need not be consistent."""
        found = self.tables[table].get(key[self.keys[table]]["S"])
        self.units[table, "read"] += reads * math.ceil(max(1, _bytes(found or {})) / 4096)
        return found

    def _put(self, table: str, item: Item) -> None:
        self.units[table, "write"] += math.ceil(_bytes(item) / 1024)
        self.tables[table][item[self.keys[table]]["S"]] = item

    def _GetItem(self, asked: Item) -> Item:
        found = self._at(asked["TableName"], asked["Key"], _consistent(asked))
        return {"Item": found} if found else {}

    def _BatchGetItem(self, asked: Item) -> Item:
        wanted = asked["RequestItems"]
        found = {
            t: [self._at(t, k, _consistent(wanted[t])) for k in wanted[t]["Keys"]] for t in wanted
        }
        return {"Responses": {t: [i for i in found[t] if i] for t in found}, "UnprocessedKeys": {}}

    def _BatchWriteItem(self, asked: Item) -> Item:
        for table, puts in asked["RequestItems"].items():
            for put in puts:
                self._put(table, put["PutRequest"]["Item"])
        return {"UnprocessedItems": {}}

    def _PutItem(self, asked: Item) -> Item:
        _check(asked, self._at(asked["TableName"], asked["Item"]))
        self._put(asked["TableName"], asked["Item"])
        return {}

    def _DeleteItem(self, asked: Item) -> Item:
        self.tables[asked["TableName"]].pop(asked["Key"][self.keys[asked["TableName"]]]["S"], None)
        return {}

    def _UpdateItem(self, asked: Item) -> Item:
        table, before = asked["TableName"], self._at(asked["TableName"], asked["Key"])
        _check(asked, before)
        item = {**(before or {}), **asked["Key"]}
        names, values = _placeholders(asked)
        parts = re.split(r"\b(ADD|SET|REMOVE)\b", asked["UpdateExpression"])[1:]
        for verb, changes in zip(parts[::2], parts[1::2], strict=True):
            for change in changes.split(","):
                words = change.replace("=", " ").split()
                name = names.get(words[0], words[0])
                if verb == "REMOVE":
                    item.pop(name, None)
                elif verb == "SET":
                    item[name] = values[words[1]]
                else:
                    old = Decimal(item.get(name, {"N": "0"})["N"])
                    item[name] = {"N": str(old + Decimal(values[words[1]]["N"]))}
        self._put(table, item)
        return {"Attributes": item} if asked.get("ReturnValues") == "ALL_NEW" else {}


def _consistent(asked: Item) -> float:
    return 1.0 if asked.get("ConsistentRead") else 0.5


def _bytes(item: Item) -> int:
    """Names and values, a number as half of its digits. Source: the developer guide's CapacityUnit
    calculations, "Item sizes and formats"."""
    return sum(
        len(name) + (len(v["N"]) // 2 + 1 if "N" in v else len(json.dumps(v)) - len('{"S": ""}'))
        for name, v in item.items()
    )


def _placeholders(asked: Item) -> tuple[Item, Item]:
    return asked.get("ExpressionAttributeNames", {}), asked.get("ExpressionAttributeValues", {})


def _check(asked: Item, item: Item | None) -> None:
    """Raises: Refused, where the condition does not hold."""
    condition = asked.get("ConditionExpression")
    if condition and not _holds(condition, item or {}, *_placeholders(asked)):
        shown = asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and item
        raise Refused("ConditionalCheckFailedException", **({"Item": item} if shown else {}))


_TERM = re.compile(
    r"(?P<call>attribute_(?:not_)?exists)\((?P<of>[#\w]+)\)"
    r"|(?P<left>[#\w]+) (?P<operator>=|<>|<=|<) (?P<right>:\w+)"
)


def _holds(condition: str, item: Item, names: Item, values: Item) -> bool:
    """Terms, `AND`, `OR` and brackets: all that Fareway's conditions have."""

    def term(match: re.Match[str]) -> str:
        if match["call"]:
            there = names.get(match["of"], match["of"]) in item
            return str(there is (match["call"] == "attribute_exists"))
        left, right = item.get(names.get(match["left"], match["left"])), values[match["right"]]
        if left is None:
            return "False"  # a missing attribute compares to nothing
        a, b = (Decimal(v["N"]) if "N" in v else v["S"] for v in (left, right))
        compared = {"=": a == b, "<>": a != b, "<=": a <= b, "<": a < b}
        return str(compared[match["operator"]])

    told = _TERM.sub(term, condition).replace("AND", "and").replace("OR", "or")
    assert not re.sub(r"True|False|and|or|[() ]", "", told), condition
    return bool(eval(told))


def _throttled(service: Service) -> web.Response:
    if service == "s3":
        return web.Response(status=503, text=SLOW_DOWN, content_type="application/xml")
    status, name = THROTTLED[service]
    return _json({"__type": name, "message": "Rate exceeded"}, status)


def _json(body: Item, status: int = 200) -> web.Response:
    text = json.dumps(body)
    return web.Response(status=status, text=text, content_type="application/x-amz-json-1.0")


def _unchunked(body: bytes, headers: Mapping[str, str]) -> bytes:
    """A body that the SDK signed in chunks, as `aws-chunked` has it."""
    if "aws-chunked" not in headers.get("content-encoding", ""):
        return body
    size, _, rest = body.partition(b"\r\n")
    return rest[: int(size.split(b";")[0], 16)]


@contextmanager
def cloud(keys: Mapping[str, str]) -> Iterator[Cloud]:
    """One on a free port, in a thread of its own. Args: table -> the name of its key."""
    told, loop = Cloud(keys=dict(keys)), asyncio.new_event_loop()
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", told.answer)
    runner = web.AppRunner(app, access_log=None)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # callers that gave up are meant
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    told.url = f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(start(), loop).result(10)}"
    try:
        yield told
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
