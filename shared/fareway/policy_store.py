"""Policies in S3, and which of them is in force: applied one after the other, undone in turn.

    policies/<version>.toml    a policy; never another one under a version that is there
    policies/<shadow.policy>   what a policy's [shadow] names, as it lay beside it
    policies/applied.json      {"applied": ["<version>", ...]}: the last is in force

Where none is applied the shipped one is in force.
A process reads them when it starts. Those that run keep the policy that they have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fareway.errors import ConfigError, FarewayError
from fareway.log import log
from fareway.policy import load_policy
from fareway.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_APPLIED = "applied.json"
#: How S3 says that an object is not there, and that a condition on it does not hold.
_MISSING = ("NoSuchKey", "404")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")


class PolicyConflict(FarewayError):
    """A version that is taken by another policy, or someone who applied one at the same time."""


@dataclass(frozen=True, slots=True)
class PolicyStore:
    """Policies under one prefix of a bucket.

    Its methods raise ClientError or BotoCoreError where S3 does not answer, and ConfigError where
    somebody else wrote what is there.
    """

    client: S3Client
    bucket: str
    prefix: str

    @classmethod
    def at(cls, client: S3Client, uri: str) -> PolicyStore:
        """`s3://bucket/prefix` -> the store there.

        Raises:
            ConfigError: it is no such address.
        """
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket or not prefix.strip("/"):
            raise ConfigError("policy store", [f"it is s3://BUCKET/PREFIX, not {uri!r}"])
        return cls(client, bucket, prefix.strip("/"))

    def applied(self) -> list[str]:
        """Versions in the order in which they were applied; the last is in force."""
        return self._applied()[0]

    def text(self, name: str) -> str | None:
        """A file's text; None where it is not there."""
        found = self._get(name)
        return found[0] if found else None

    def fetch(self, folder: Path) -> Path | None:
        """The policy in force, and what its [shadow] names, as files in a folder; None: none is."""
        applied = self.applied()
        text = self.text(f"{applied[-1]}.toml") if applied else None
        if text is None:
            return None
        file = folder / f"{applied[-1]}.toml"
        file.write_text(text, encoding="utf-8")
        shadow = load_policy(file).shadow.policy
        if shadow and (other := self.text(shadow)) is not None:
            (folder / shadow).write_text(other, encoding="utf-8")
        return file

    def apply(self, file: Path) -> str:
        """Puts a policy in force -> its version. What its [shadow] names goes into the store too.

        Raises:
            ConfigError: it is faulty, or its shadow is, which lies beside it or is in the store.
            PolicyConflict: its version, or its shadow's file, is another policy's, or the order of
                things changed meanwhile.
        """
        policy, text = load_policy(file), file.read_text(encoding="utf-8")
        version, shadow = policy.version, policy.shadow
        if shadow.share:
            self._add_shadow(file.with_name(shadow.policy))
        self._add(f"{version}.toml", text)
        applied, tag = self._applied()
        if applied[-1:] != [version]:
            self._keep([*applied, version], tag)
        return version

    def _add_shadow(self, file: Path) -> None:
        if file.is_file():
            load_policy(file)
            self._add(file.name, file.read_text(encoding="utf-8"))
        elif self.text(file.name) is None:
            raise ConfigError(
                "policy store",
                [f"shadow.policy: {file.name} is neither beside the policy nor in the store"],
            )

    def _add(self, name: str, text: str) -> None:
        """A policy's file, unless it is there."""
        known = self.text(name)
        if known is None:
            self._put(name, text, {"IfNoneMatch": "*"})
        elif known != text:
            version = name.removesuffix(".toml")
            raise PolicyConflict(f"version {version} is another policy's: give it a new one")

    def rollback(self) -> str | None:
        """Puts the one before in force -> its version; None: the shipped one.

        Raises:
            PolicyConflict: none was applied, or the order of things changed meanwhile.
        """
        applied, tag = self._applied()
        if not applied:
            raise PolicyConflict("no policy was applied: the shipped one is in force")
        self._keep(applied[:-1], tag)
        return applied[-2] if len(applied) > 1 else None

    def _applied(self) -> tuple[list[str], str | None]:
        found = self._get(_APPLIED)
        if found is None:
            return [], None
        try:
            return [str(version) for version in json.loads(found[0])["applied"]], found[1]
        except (ValueError, KeyError, TypeError) as error:
            fault = f'{_APPLIED} is not {{"applied": [...]}}: put an earlier version of it back'
            raise ConfigError("policy store", [fault]) from error

    def _keep(self, applied: Sequence[str], tag: str | None) -> None:
        """Only over what was read."""
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        self._put(_APPLIED, json.dumps({"applied": applied}), condition)

    def _get(self, name: str) -> tuple[str, str] | None:
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return found["Body"].read().decode(), found["ETag"]

    def _put(self, name: str, text: str, condition: dict[str, str]) -> None:
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=f"{self.prefix}/{name}",
                Body=text.encode(),
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _CHANGED:
                raise PolicyConflict(f"{name} was changed meanwhile: try again") from error
            raise


def policy_in_force(settings: Settings) -> Path:
    """The policy that a process starts with: the store's, else the one that ships."""
    if not settings.policy_store:
        return settings.policy_file
    config = Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 3})
    try:
        store = PolicyStore.at(boto3.client("s3", config=config), settings.policy_store)
        folder = Path(tempfile.mkdtemp(prefix="fareway-policy-"))
        return store.fetch(folder) or settings.policy_file
    except (BotoCoreError, ClientError, ConfigError, ValueError, KeyError) as error:
        log("error", "stored policy unavailable: the shipped one is used", reason=str(error))
        return settings.policy_file
