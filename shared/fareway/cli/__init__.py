"""The command line: `fareway route|classify|label|train|eval|serve|keys|report|explain|...`."""

from __future__ import annotations

import typer

from fareway.cli import (
    doctor,
    evaluate,
    events,
    explain,
    keys,
    label,
    policy,
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
app.command("report")(report.show)
app.command("explain")(explain.explain)
app.command("tune")(tune.tune)
app.command("doctor")(doctor.doctor)
app.command("replay-events")(events.replay_events)
app.add_typer(
    keys.app, name="keys", help="Create, list, change and revoke the endpoint's bearer keys."
)
app.add_typer(policy.app, name="policy", help="Compare, apply and take back policies.")
