"""Where a job keeps what it has done: a folder, or a prefix of an S3 bucket.

Both do the same three things in one piece: an object is there whole or not at all, and of two who
create one key a single one wins. That is all that a job needs to be gone on from.

Source: S3's conditional writes (If-None-Match),
docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: S3 objects up to this many bytes stay in memory while they are read or written.
IN_MEMORY = 4 * 1024 * 1024


class Store(Protocol):
    """Objects by key. What reads raises FileNotFoundError where there is no such object."""

    def open(self, key: str) -> IO[bytes]:
        """An object, for reading; it can be sought in."""

    @contextmanager
    def write(self, key: str) -> Iterator[IO[bytes]]:
        """A file that becomes the object at the end of the `with` block, unless it raises."""

    def create(self, key: str, data: bytes) -> bool:
        """Puts an object where there is none -> whether it did."""

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, sorted."""


def read(store: Store, key: str) -> bytes | None:
    """A small object's bytes; None where there is none."""
    try:
        with store.open(key) as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(store: Store, key: str, data: bytes) -> None:
    """A small object, in place of whatever was there."""
    with store.write(key) as file:
        file.write(data)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine."""

    path: Path

    def open(self, key: str) -> IO[bytes]:
        return (self.path / key).open("rb")

    @contextmanager
    def write(self, key: str) -> Iterator[IO[bytes]]:
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
            try:
                yield cast(IO[bytes], file)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, target)

    def create(self, key: str, data: bytes) -> bool:
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, target)
            except FileExistsError:
                return False
        return True

    def keys(self, prefix: str) -> list[str]:
        folder = self.path / os.path.dirname(prefix)
        if not folder.is_dir():
            return []
        files = (f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
        keys = (file.relative_to(self.path).as_posix() for file in files)
        return sorted(key for key in keys if key.startswith(prefix))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of an S3 bucket; it ends in `/`."""

    s3: S3Client
    bucket: str
    prefix: str

    def open(self, key: str) -> IO[bytes]:
        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (the caller closes it)
        try:
            self.s3.download_fileobj(self.bucket, self.prefix + key, file)
        except ClientError as error:
            file.close()
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                raise FileNotFoundError(key) from error
            raise
        file.seek(0)
        return cast(IO[bytes], file)

    @contextmanager
    def write(self, key: str) -> Iterator[IO[bytes]]:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            yield cast(IO[bytes], file)
            file.seek(0)
            self.s3.upload_fileobj(file, self.bucket, self.prefix + key)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self.s3.put_object(
                Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in (
                "PreconditionFailed",
                "ConditionalRequestConflict",
            ):
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + prefix
        )
        return [o["Key"][len(self.prefix) :] for page in pages for o in page.get("Contents", [])]
