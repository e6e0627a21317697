"""`make demo`: the whole deployment on this machine, 100 prompts through it, and what they saved.

Everything is real but the models: API Gateway, Lambda, DynamoDB, Secrets Manager, Firehose, S3,
Glue and Athena are MiniStack's, deployed from template.yaml; the prompts go through the `openai`
SDK; the figures come back from Athena. With OPENROUTER_API_KEY or TOKENMIX_API_KEY set, the models
are real too, and cost real money (cents).
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from openai import APIError, OpenAI
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fareway.athena import Athena
from fareway.cli.report import print_report
from fareway.keys import create_key
from fareway.policy import load_policy
from fareway.report import Report, report
from fareway.settings import Settings
from local import stack
from local.background import Background
from local.cloud import LocalCloudError, start_ministack

PROMPTS = Path(__file__).with_name("prompts.csv")
#: The prompt before which the first aggregator is stopped.
STOP_BEFORE = 60
LEDGER_LIMIT_S = 30.0

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Prompt:
    id: str
    text: str
    kind: str


def main() -> int:
    prompts = _prompts()
    keys = {
        name: os.environ[f"{name.upper()}_API_KEY"]
        for name in stack.SIMULATORS
        if os.environ.get(f"{name.upper()}_API_KEY")
    }
    console.rule("[bold]Fareway: the demo")
    begun = time.monotonic()
    try:
        outputs = _deploy(keys)
        started = datetime.now(UTC).date()
        lost = _send(prompts, outputs, stop_first=not keys)
        figures = _figures(outputs, started, len(prompts) - lost)
    except LocalCloudError as error:
        console.print(f"[bold red]error:[/] {error}")
        return 1
    console.print()
    print_report(figures, console)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    answered = int(figures.totals["answered"] or 0)
    console.print(
        f"\n{answered} of {len(prompts)} prompts were answered, {figures.requests} are in the "
        f"ledger; the demo took {minutes} min {seconds} s."
    )
    if not keys:
        console.print(
            "The models were simulated: token counts are plausible, prices are list prices, and "
            "nothing here says how good an answer was."
        )
    console.print(
        f"\nThe stack still runs. Its endpoint: {outputs['endpoint_url']}/v1\n"
        "Stop it with [bold]make down[/]."
    )
    return 0 if answered == figures.requests == len(prompts) else 1


def _prompts() -> list[Prompt]:
    with PROMPTS.open(encoding="utf-8", newline="") as file:
        return [Prompt(row["id"], row["prompt"], row["kind"]) for row in csv.DictReader(file)]


def _deploy(keys: dict[str, str]) -> dict[str, str]:
    """A fresh local cloud with the stack in it -> its outputs."""
    console.print("- the demo starts from nothing: what ran before is stopped")
    stack.down()
    with stack.step(f"MiniStack, the AWS API on this machine, port {stack.PORT}"):
        start_ministack(stack.PORT, stack.FOLDER)
    parameters = {}
    if keys:
        console.print(f"- real aggregators: {', '.join(keys)}; this costs a few cents")
        parameters = {"TokenMixBaseUrl": "", "OpenRouterBaseUrl": ""}
    else:
        with stack.step("two simulated aggregators, tokenmix and openrouter (no key is set)"):
            stack.start_simulators(stack.FOLDER)
    with stack.step("sam build: the function and its layers"):
        stack.build()
    with stack.step("sam deploy: template.yaml, as it goes to AWS"):
        outputs = stack.deploy(stack.PORT, stack.FOLDER, parameters, rebuild=False)
    if keys:
        stack.aws_client("secretsmanager", stack.PORT).put_secret_value(
            SecretId=outputs["UpstreamSecret"], SecretString=json.dumps(keys)
        )
    return outputs


def _send(prompts: Sequence[Prompt], outputs: dict[str, str], *, stop_first: bool) -> int:
    """Sends the prompts through the OpenAI SDK -> how many got no answer."""
    dynamodb = stack.aws_client("dynamodb", stack.PORT)
    _, key = create_key(dynamodb, outputs["KeysTable"], "demo", "demo")
    client = OpenAI(base_url=outputs["endpoint_url"] + "/v1", api_key=key, max_retries=0)
    console.print(f"- sending {len(prompts)} prompts with the openai SDK, model fareway/auto")
    lost = 0
    columns = (
        TextColumn("  "),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(prompts))
        for number, prompt in enumerate(prompts):
            if stop_first and number == STOP_BEFORE:
                first = next(iter(load_policy(Settings().policy_file).aggregators))
                Background(first, stack.FOLDER).stop()
                progress.console.print(f"- {first} was stopped just now: its calls must fail over")
            try:
                answer = client.chat.completions.with_raw_response.create(
                    model="fareway/auto", messages=[{"role": "user", "content": prompt.text}]
                )
                told = answer.headers
                where = f"{told.get('x-fareway-tier')} {told.get('x-fareway-served-model')}"
                progress.update(task, description=f"{prompt.kind} -> {where}"[:60])
            except APIError as error:
                lost += 1
                progress.console.print(f"[red]prompt {prompt.id} got no answer:[/] {error}")
            progress.advance(task)
        progress.update(task, description="")
    return lost


def _figures(outputs: dict[str, str], first: date, expected: int) -> Report:
    """The report from Athena, once the ledger has every event."""
    athena = Athena(
        stack.aws_client("athena", stack.PORT),
        outputs["AthenaWorkgroup"],
        outputs["LedgerDatabase"],
    )
    with stack.step("asking Athena for the sums"):
        give_up = time.monotonic() + LEDGER_LIMIT_S
        while True:
            figures = report(athena, first, first + timedelta(days=1))
            if figures.requests >= expected or time.monotonic() > give_up:
                return figures
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
