"""`fareway batch plan|run|status|collect|cancel FILE`.

A job lives in a folder beside its file, FILE without its ending and `.batch`. All that was done
is there, and each command goes on from it: so does a run that was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fareway.batch import collect as collecting
from fareway.batch import run as running
from fareway.cli.batch_desk import Desk, desk_of
from fareway.cli.console import err, out, stop
from fareway.cli.score import CORES, Workers

app = typer.Typer(no_args_is_help=True)
File = Annotated[
    Path,
    typer.Argument(
        exists=True,
        dir_okay=False,
        help="A .csv with the columns prompt or messages, and id, system, max_tokens, model; or "
        "a .jsonl of such objects.",
    ),
]
JobFolder = Annotated[
    Path | None,
    typer.Option("--job", file_okay=False, help="Where the job is kept; else beside the file."),
]
Dedupe = Annotated[
    bool | None, typer.Option("--dedupe/--no-dedupe", help="Equal requests are paid once.")
]
Expect = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a completion, for the estimate; else the policy's."),
]
FileRequests = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Requests of one batch at most: an account with a short queue takes short batches, "
        "one after the other.",
    ),
]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help="Another policy.toml.")]


@app.command()
def plan(
    file: File,
    job_folder: JobFolder = None,
    dedupe: Dedupe = None,
    expect_tokens: Expect = None,
    file_requests: FileRequests = None,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Where each row would go and what it would cost; nothing is sent.

    Without any upstream's key the plan is made as if there were all of them.
    """
    options = running.Options(dedupe, expect_tokens, file_requests)
    with desk_of(file, job_folder, policy_file) as desk:
        _show_plan(desk.plan(options, workers))


@app.command()
def run(
    file: File,
    job_folder: JobFolder = None,
    dedupe: Dedupe = None,
    expect_tokens: Expect = None,
    file_requests: FileRequests = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Does not ask before it pays.")] = False,
    rpm: Annotated[
        int, typer.Option(min=1, help="Requests a minute of what is asked in real time.")
    ] = 600,
    poll_s: Annotated[
        float, typer.Option("--poll", min=0, help="Seconds to the next look; it grows tenfold.")
    ] = 30.0,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Plans, asks, sends, waits and collects. Interrupted, the same command goes on."""
    options = running.Options(dedupe, expect_tokens, file_requests)
    with desk_of(file, job_folder, policy_file) as desk:
        planned = desk.plan(options, workers)
        if desk.job.cancelled:
            stop("the job was cancelled; collect what is there, or name another folder with --job")
        if collecting.pending(desk.job):
            _show_plan(planned)
            desk.check_keys(planned)
            begun = bool(desk.job.store.keys("submissions/") or desk.job.store.keys("results/"))
            if not (yes or begun or typer.confirm("Send it?", err=True)):
                raise typer.Exit(1)
            desk.ask(rpm, poll_s)
        _show_summary(desk, desk.collect(partial=False))


@app.command()
def status(file: File, job_folder: JobFolder = None, policy_file: PolicyFile = None) -> None:
    """How far each request file of the job is, as its provider says."""
    with desk_of(file, job_folder, policy_file, alone=False) as desk:
        planned = desk.planned()
        table = Table("file", "requests", "state", "done")
        for name, requests in desk.files(planned):
            state, done = desk.state(name)
            table.add_row(name, f"{requests:,}", state, f"{done:,}" if done is not None else "")
        out.print(table)


@app.command()
def collect(
    file: File,
    job_folder: JobFolder = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where results are still to come.")
    ] = False,
    policy_file: PolicyFile = None,
) -> None:
    """Fetches the results that are there and writes the answers."""
    with desk_of(file, job_folder, policy_file) as desk:
        desk.planned()
        desk.fetch()
        _show_summary(desk, desk.collect(partial=partial or desk.job.cancelled))


@app.command()
def cancel(file: File, job_folder: JobFolder = None, policy_file: PolicyFile = None) -> None:
    """Sends nothing more and cancels what is under way; what was answered is paid."""
    with desk_of(file, job_folder, policy_file, alone=False) as desk:
        desk.planned()
        stopped = desk.cancel()
    err.print(f"{stopped} batches are being cancelled; collect what they answered", highlight=False)


def _show_plan(planned: Mapping[str, Any]) -> None:
    money = planned["estimate"]
    table = Table("provider", "model", "files", "requests")
    kinds = dict.fromkeys((f["provider"], f["model"]) for f in planned["files"])
    for provider, model in kinds:
        files = [f for f in planned["files"] if (f["provider"], f["model"]) == (provider, model)]
        requests = sum(f["requests"] for f in files)
        table.add_row(provider, model, f"{len(files):,}", f"{requests:,}")
    out.print(table)
    for model, rows in planned["in_real_time"].items():
        out.print(
            f"{model}: {rows:,} rows in real time, at full price, as no batch endpoint that has a "
            "key takes them",
            highlight=False,
        )
    counts = [f"{planned['rows']:,} rows", f"{planned['invalid_rows']:,} of them faulty"]
    counts += [f"{n:,} repeated and not paid again"] if (n := planned["duplicate_rows"]) else []
    out.print(", ".join(counts), highlight=False)
    out.print(
        f"estimate, at up to {planned['expected_tokens']} completion tokens a row: "
        f"[bold]{_usd(money['cost_usd'])}[/]; the same models in real time "
        f"{_usd(money['same_models_in_real_time_usd'])}, all-premium in real time "
        f"{_usd(money['all_premium_in_real_time_usd'])}",
        highlight=False,
    )


def _show_summary(desk: Desk, summary: Mapping[str, Any]) -> None:
    money = summary["cost"]
    counts = ", ".join(f"{n:,} {status}" for status, n in summary["statuses"].items())
    out.print(f"{summary['rows']:,} rows: {counts}", highlight=False)
    out.print(
        f"cost [bold]{_usd(money['cost_usd'])}[/] (estimated {_usd(money['estimate_usd'])}); the "
        f"same models in real time {_usd(money['same_models_in_real_time_usd'])}, all-premium in "
        f"real time {_usd(money['all_premium_in_real_time_usd'])}",
        highlight=False,
    )
    for note in summary["notes"]:
        out.print(note, highlight=False)
    for key in desk.job.store.keys("out/"):
        out.print(str(desk.folder / key), highlight=False, soft_wrap=True)


def _usd(text: str) -> str:
    """An amount for people: cents, or more digits where it is less than a dollar."""
    amount = Decimal(text)
    return f"{amount:.2f} USD" if amount >= 1 else f"{amount:.6f} USD"
