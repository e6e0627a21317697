"""The command line: `fareway route|classify|label|train|eval|profile|serve|report|batch|...`."""

from __future__ import annotations

import typer

from fareway.cli import (
    batch,
    doctor,
    evaluate,
    events,
    explain,
    keys,
    label,
    policy,
    profile,
    report,
    score,
    serve,
    train,
    tune,
)

app = typer.Typer(
    help="Fareway: sends each prompt to the least model that will satisfy.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.command("classify")(score.classify)
app.command("route")(score.route)
app.command("label")(label.label)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("serve")(serve.serve)
app.command("profile")(profile.profile)
app.command("report")(report.show)
app.command("explain")(explain.explain)
app.command("tune")(tune.tune)
app.command("doctor")(doctor.doctor)
app.command("replay-events")(events.replay_events)
app.add_typer(
    batch.app, name="batch", help="A file of prompts -> answers at half price, in the file's order."
)
app.add_typer(
    keys.app, name="keys", help="Create, list, change and revoke the endpoint's bearer keys."
)
app.add_typer(policy.app, name="policy", help="Compare, apply and take back policies.")
