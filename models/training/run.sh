#!/usr/bin/env bash
# The whole training, from the data to models/classifier. `make train DATA=../shared/data` calls it.
# A killed distillation goes on from its last checkpoint. Some hours on two cores
# (the model card says what was measured); a GPU is used where there is one.
set -euo pipefail
DATA=${DATA:-../shared/data}
RUNS=${RUNS:-models/training/runs}
PYTHON=${PYTHON:-.venv-train/bin/python}
export PYTHONPATH=shared

step() { echo "- $1"; nice -n 5 "$PYTHON" -m "models.training.$1" "${@:2}"; }

step tokenizer --out models/classifier/tokenizer.json
step prepare --data "$DATA" --out "$RUNS/table.jsonl.gz"
step distil --table "$RUNS/table.jsonl.gz" --runs "$RUNS" "$@"
rm -f models/training/checkpoint/heads.safetensors
step export # the encoder alone, whose states the heads are fitted to
step fit --table "$RUNS/table.jsonl.gz" --cache "$RUNS"
step export
echo "- heads.json tells the cuts and the threshold for shared/fareway/policy.toml"
step evaluate --table "$RUNS/table.jsonl.gz" --cache "$RUNS"
step export # again: the manifest now tells the metrics
