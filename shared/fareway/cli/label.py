"""`fareway label`: a user's own traffic -> its complexity, said by the policy's teacher."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fareway.cli.console import err, progress_bar, stop
from fareway.errors import BadRequest, ConfigError, TeacherDown
from fareway.label import Labeller, Tally, pending, resume
from fareway.policy import Policy, load_policy
from fareway.policy_tables import ClassifierTable
from fareway.providers.http import Http
from fareway.rows import read_rows
from fareway.settings import Settings
from fareway.wiring import load_teacher


def label(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help='Lines of {"id", "text"} or {"id", "messages"}; or a .csv with a column `text` '
            "or `prompt`.",
        ),
    ],
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", dir_okay=False, help="Where the rows go; run again, it is gone on from."
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Prompts asked at a time.")] = 8,
    base_url: Annotated[
        str | None, typer.Option(help="The teacher's endpoint, else the policy's.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The teacher, else the policy's.")] = None,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Another policy.toml.")
    ] = None,
) -> None:
    """Complexity 1 to 5 of each prompt of a file, said by the policy's teacher: an LLM.

    The prompts are sent to it. Its key: <AGGREGATOR>_API_KEY, else TEACHER_API_KEY.
    """
    if out_file is not None and out_file.resolve() == file.resolve():
        stop("--out is the file that is read; give another one")
    try:
        settings = Settings.from_env()
        policy = _asked(load_policy(policy_file or settings.policy_file), base_url, model)
        done = resume(out_file) if out_file else set()
        waiting = sum(1 for _ in pending(read_rows(file), done))
        tally = asyncio.run(_label(settings, policy, file, out_file, done, waiting, concurrency))
    except ConfigError as error:
        stop("\n  ".join(["no teacher can be asked:", *error.faults]))
    except (BadRequest, OSError) as error:
        stop(str(error))
    _summary(tally)
    if tally.failures:
        stop(f"{tally.failures.total()} rows have an 'error'; with --out, run again to retry them")


def _asked(policy: Policy, base_url: str | None, model: str | None) -> Policy:
    """The policy with the teacher that the command names. Raises: ConfigError."""
    named: dict[str, str | None] = {} if model is None else {"model": model}
    if base_url is not None:
        named |= {"base_url": base_url, "aggregator": None}
    try:
        table = ClassifierTable.model_validate(policy.classifier.model_dump() | named)
    except ValidationError as error:
        raise ConfigError(
            "options", [f"{e['loc'][0]}: {e['msg']}" for e in error.errors()]
        ) from error
    return replace(policy, classifier=table)


async def _label(
    settings: Settings,
    policy: Policy,
    file: Path,
    out_file: Path | None,
    done: set[bytes],
    waiting: int,
    concurrency: int,
) -> Tally:
    async with aclosing(Http()) as http:
        teacher = load_teacher(settings, policy, http)
        labeller = Labeller(teacher, policy, Tally(before=len(done)))
        with ExitStack() as stack:
            progress = stack.enter_context(progress_bar())
            task = progress.add_task("labelling", total=waiting)
            target = stack.enter_context(out_file.open("a", encoding="utf-8")) if out_file else None

            def keep(row: dict[str, Any]) -> None:
                print(json.dumps(row), file=target, flush=True)
                if row.get("error", "").startswith("line "):
                    progress.console.print(row["error"], markup=False, highlight=False)
                progress.advance(task)

            try:
                await labeller.label(pending(read_rows(file), done), concurrency, keep)
            except TeacherDown as error:
                progress.stop()
                _summary(labeller.tally)
                stop(error.message)
    return labeller.tally


def _summary(tally: Tally) -> None:
    """What was labelled, and what it cost."""
    parts = [f"{tally.labelled} labelled"]
    parts += [f"{tally.before} were there before"] if tally.before else []
    parts += [f"{count} failed ({kind})" for kind, count in tally.failures.items()]
    tokens = f"{tally.prompt_tokens} prompt and {tally.completion_tokens} completion tokens"
    if tally.cost_usd is None:
        cost = "no price is known for the model"
    else:
        cost = f"{'about ' if tally.estimated else ''}{tally.cost_usd:f} USD"
    err.print(f"{', '.join(parts)}; {tokens}, {cost}", highlight=False)
