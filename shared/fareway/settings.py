"""The environment -> Settings. The only room that knows an environment variable's name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fareway.errors import ConfigError

PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between deployments; all else is in `policy.toml`.

    An empty name means that the part is not there: no cache table, no ledger stream, and so on.

    Units: `*_ms` milliseconds. `metrics` is "emf" for a line on stdout for each request, or empty.
    """

    stage: str = "local"
    policy_file: Path = PACKAGE / "policy.toml"
    policy_store: str = ""
    classifier_dir: Path = PACKAGE.parents[1] / "models" / "classifier"
    classifier_threads: int = 1
    classifier_budget_ms: int = 400
    cache_table: str = ""
    cache_budget_ms: int = 60
    sessions_table: str = ""
    decisions_table: str = ""
    circuits_table: str = ""
    keys_table: str = ""
    spend_table: str = ""
    api_key: str = ""
    ledger_stream: str = ""
    ledger_bucket: str = ""
    ledger_budget_ms: int = 1500
    ledger_database: str = ""
    batch_bucket: str = ""
    batch_rpm: int = 600
    athena_workgroup: str = ""
    upstream_secret: str = ""
    new_version: str = ""
    deadline_ms: int = 60_000
    port: int = 8080
    metrics: str = ""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    upstream_keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Reads `FAREWAY_*`, and `<AGGREGATOR>_API_KEY` for upstream keys.

        `FAREWAY_<AGGREGATOR>_BASE_URL` sends one aggregator's calls elsewhere. A teacher that is
        no aggregator's goes by the name of TEACHER in both.

        Raises:
            ConfigError: naming each variable that cannot be used.
        """
        faults: list[str] = []

        def number(name: str, default: int) -> int:
            text = env.get(name, "").strip() or str(default)
            if text.isdigit():
                return int(text)
            faults.append(f"{name} must be a whole number of at least 0, not {text!r}")
            return default

        settings = cls(
            stage=env.get("FAREWAY_STAGE") or "local",
            policy_file=Path(env.get("FAREWAY_POLICY") or PACKAGE / "policy.toml"),
            policy_store=env.get("FAREWAY_POLICY_STORE", ""),
            classifier_dir=Path(env.get("FAREWAY_CLASSIFIER_DIR") or _classifier_dir()),
            classifier_threads=number("FAREWAY_CLASSIFIER_THREADS", 1),
            classifier_budget_ms=number("FAREWAY_CLASSIFIER_BUDGET_MS", 400),
            cache_table=env.get("FAREWAY_CACHE_TABLE", ""),
            cache_budget_ms=number("FAREWAY_CACHE_BUDGET_MS", 60),
            sessions_table=env.get("FAREWAY_SESSIONS_TABLE", ""),
            decisions_table=env.get("FAREWAY_DECISIONS_TABLE", ""),
            circuits_table=env.get("FAREWAY_CIRCUITS_TABLE", ""),
            keys_table=env.get("FAREWAY_KEYS_TABLE", ""),
            spend_table=env.get("FAREWAY_SPEND_TABLE", ""),
            api_key=env.get("FAREWAY_API_KEY", ""),
            ledger_stream=env.get("FAREWAY_LEDGER_STREAM", ""),
            ledger_bucket=env.get("FAREWAY_LEDGER_BUCKET", ""),
            ledger_budget_ms=number("FAREWAY_LEDGER_BUDGET_MS", 1500),
            ledger_database=env.get("FAREWAY_LEDGER_DATABASE", ""),
            batch_bucket=env.get("FAREWAY_BATCH_BUCKET", ""),
            batch_rpm=number("FAREWAY_BATCH_RPM", 600),
            athena_workgroup=env.get("FAREWAY_ATHENA_WORKGROUP", ""),
            upstream_secret=env.get("FAREWAY_UPSTREAM_SECRET", ""),
            new_version=env.get("FAREWAY_NEW_VERSION", ""),
            port=number("AWS_LWA_PORT", 8080),
            deadline_ms=number("FAREWAY_DEADLINE_MS", 60_000),
            metrics=env.get("FAREWAY_METRICS", ""),
            base_urls=_by_aggregator(env, "FAREWAY_", "_BASE_URL"),
            upstream_keys=_by_aggregator(env, "", "_API_KEY"),
        )
        if settings.metrics not in ("", "emf"):
            faults.append(f"FAREWAY_METRICS must be 'emf' or empty, not {settings.metrics!r}")
        if faults:
            raise ConfigError("environment", faults)
        return settings


def _by_aggregator(env: Mapping[str, str], prefix: str, suffix: str) -> dict[str, str]:
    """`OPENROUTER_API_KEY=x` -> `{"openrouter": "x"}`; empty values and our own are left out."""
    return {
        name[len(prefix) : -len(suffix)].lower(): value.strip()
        for name, value in env.items()
        if name.startswith(prefix) and name.endswith(suffix) and value.strip()
        if prefix or not name.startswith("FAREWAY_")
    }


def _classifier_dir() -> Path:
    """The model's folder: the checkout's, or the classifier layer's, found as Python finds it."""
    checkout = PACKAGE.parents[1] / "models" / "classifier"
    layers = (Path(entry) / "fareway_classifier" for entry in sys.path)
    return next((folder for folder in (checkout, *layers) if folder.is_dir()), checkout)
