#!/usr/bin/env bash
# The whole training, from the data to models/classifier. `make train DATA=../shared/data` calls it.
# A killed run goes on from its last checkpoint. About an hour on two busy cores.
set -euo pipefail
DATA=${DATA:-../shared/data}
RUNS=${RUNS:-models/training/runs}
PYTHON=${PYTHON:-.venv-train/bin/python}
export PYTHONPATH=shared

step() { echo "- $1"; nice -n 5 "$PYTHON" -m "models.training.$1" "${@:2}"; }

step tokenizer --out models/classifier/tokenizer.json
step prepare --data "$DATA" --out "$RUNS/table.jsonl.gz"
step train --table "$RUNS/table.jsonl.gz" --runs "$RUNS" "$@"
step bag --table "$RUNS/table.jsonl.gz"
step calibrate --table "$RUNS/table.jsonl.gz"
step export
step evaluate --table "$RUNS/table.jsonl.gz"
step export # again: the manifest now tells the metrics
