"""`fareway doctor`: what is well with a deployment, what is not, and what to do about it."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.markup import escape

from fareway.cli.console import out
from fareway.doctor import examine
from fareway.inventory import Finding

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def doctor(
    function: Annotated[
        str,
        typer.Option(help="Check with the settings of this deployed function (ApiFunctionName)."),
    ] = "",
    live: Annotated[
        bool, typer.Option(help="Call each aggregator once: one token, far below a cent.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Checks settings, policy, prices, classifier, tables, ledger, Athena, keys and aggregators.

    It changes nothing. Ends with 1 where a check failed.
    """
    findings = []
    for finding in examine(os.environ, function=function, live=live):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    failed = sum(finding.state == "failed" for finding in findings)
    spent = sum((f.cost_usd for f in findings if f.cost_usd is not None), Decimal(0))
    if as_json:
        print(json.dumps(_document(findings, spent)))  # noqa: T201
    else:
        verdict = f"checks that failed: {failed or 'none'}"
        out.print(f"\n{verdict}; spent on calls: {spent:f} USD", highlight=False)
    if failed:
        raise typer.Exit(1)


def _tell(finding: Finding) -> None:
    style = _STYLES[finding.state]
    out.print(
        f"[{style}]{finding.state:<8}[/] {finding.check:<16} {escape(finding.told)}",
        highlight=False,
        soft_wrap=True,
    )
    if finding.fix:
        out.print(f"{'':<26}-> {escape(finding.fix)}", highlight=False, soft_wrap=True)


def _document(findings: list[Finding], spent: Decimal) -> dict[str, Any]:
    checks = [
        {
            "check": f.check,
            "state": f.state,
            "told": f.told,
            "fix": f.fix,
            "cost_usd": None if f.cost_usd is None else f"{f.cost_usd:f}",
        }
        for f in findings
    ]
    ok = all(f.state != "failed" for f in findings)
    return {"ok": ok, "checks": checks, "spent_usd": f"{spent:f}"}
