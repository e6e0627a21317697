"""How long the API function takes to start, beside a bare FastAPI + Mangum function, in one run.

    uv run python -m benchmarks.coldstart --json

Each start is a fresh process, timed from its birth until its handler is there: the interpreter, the
imports, and what happens at init; that reads the policy and the upstream secret too, which a
stand-in for AWS tells at once. The two take turns, and medians count. With `sam build`'s output
the layers' packages are imported, pruned and compiled as they go to Lambda, else this
environment's. Lambda's own part (fetching the code, starting the sandbox) is not in it.

The tables tell where the time goes, by top-level package, in one start under `-X importtime`, and
what memory sizes would make of the processor's time, and cost. The last line of `--json` is
{"fareway_init_ms": ms, "bare_init_ms": ms, "ratio": x, ...}.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".aws-sam" / "build"
ROUNDS = 11
#: docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html and aws.amazon.com/lambda/pricing:
#: x86, us-east-1, the first 6 billion GB-seconds of a month.
VCPU_MB, GB_SECOND_USD = 1769, 0.0000166667
BARE = """
from fastapi import FastAPI
from mangum import Mangum

app = FastAPI()

@app.post("/v1/chat/completions")
async def complete(body: dict) -> dict:
    return body

handler = Mangum(app, lifespan="off")
"""
FAREWAY = "from handler import handler"
READY = "\nimport os; os.write(1, b'ready\\n'); os._exit(0)"


class Start(NamedTuple):
    """One start: on the clock, and the processor's time of it; milliseconds."""

    wall: float
    cpu: float


class StandIn(BaseHTTPRequestHandler):
    """What init asks of AWS: the upstream secret, and which policy was applied (none)."""

    def do_POST(self) -> None:
        secret = json.dumps({"tokenmix": "k", "openrouter": "k"})
        self._answer(200, json.dumps({"Name": "upstream", "SecretString": secret}))

    def do_GET(self) -> None:
        self._answer(404, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    def _answer(self, status: int, text: str) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def aws() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def environment(endpoint: str) -> dict[str, str]:
    """As template.yaml gives it, where init looks at it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FAREWAY_STAGE": "bench",
        "FAREWAY_METRICS": "emf",
        "FAREWAY_POLICY_STORE": "s3://ledger/policies",
        "FAREWAY_UPSTREAM_SECRET": "upstream",
        "FAREWAY_CLASSIFIER_DIR": str(ROOT / "models" / "classifier"),
        **{
            f"FAREWAY_{table}_TABLE": table.lower()
            for table in ("KEYS", "SPEND", "CACHE", "SESSIONS", "DECISIONS", "CIRCUITS")
        },
        "FAREWAY_LEDGER_STREAM": "events",
        "FAREWAY_LEDGER_BUCKET": "ledger",
    }


def paths() -> tuple[str, list[str]]:
    """Whose packages are imported, and where they are; the package itself is the checkout's."""
    own = [str(ROOT / "functions" / "api"), str(ROOT / "shared")]
    layers = [BUILT / name / "python" for name in ("DependenciesLayer", "InferenceLayer")]
    if all(layer.is_dir() for layer in layers) and sys.version_info[:2] == (3, 13):
        return "layers", own + [str(layer) for layer in layers]
    return "environment", own + [entry for entry in sys.path if entry.endswith("site-packages")]


def start(code: str, env: Mapping[str, str], *flags: str) -> tuple[Start, str]:
    """A process that runs the code and is ready -> how long that took, and its stderr.

    Raises:
        RuntimeError: it did not come to its end; with the end of its stderr.
    """
    found = f"import sys; sys.path += {paths()[1]}\n{code}{READY}"
    with TemporaryFile("w+") as told:  # a pipe would fill up and hold the process
        before, begun = os.times(), time.perf_counter()
        process = subprocess.Popen(
            # -I -S: no PYTHON* variables, and no site-packages but those that are named
            [sys.executable, "-I", "-S", *flags, "-c", found],
            env=env,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
        ready, _ = process.communicate(timeout=60)
        wall = time.perf_counter() - begun
        after = os.times()
        told.seek(0)
        errors = told.read()
    if ready != "ready\n":
        raise RuntimeError(f"the function did not start:\n{errors[-2000:]}")
    cpu = after.children_user + after.children_system
    return Start(wall * 1000, (cpu - before.children_user - before.children_system) * 1000), errors


def imports(told: str) -> Counter[str]:
    """What `-X importtime` told -> milliseconds of each top-level package, its own alone."""
    spent: Counter[str] = Counter()
    for line in told.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, _, name = line.removeprefix("import time:").split("|")
            spent[name.strip().partition(".")[0]] += int(own) / 1000  # type: ignore[assignment]
    return spent


def measure(rounds: int) -> dict[str, object]:
    """Starts in turn -> the figures."""
    codes = {"bare": BARE, "fareway": FAREWAY, "python": ""}
    starts: dict[str, list[Start]] = {name: [] for name in codes}
    with aws() as endpoint:
        env = environment(endpoint)
        for number in range(-1, rounds):  # the first compiles what is not yet
            for name, code in codes.items():
                took, _ = start(code, env)
                if number >= 0:
                    starts[name].append(took)
        _, told = start(FAREWAY, env, "-X", "importtime")
        _, told_bare = start(BARE, env, "-X", "importtime")
    walls = {name: median(s.wall for s in took) for name, took in starts.items()}
    cpus = {name: median(s.cpu for s in took) for name, took in starts.items()}
    _print_imports(imports(told), imports(told_bare))
    _print_sizes(cpus["fareway"])
    return {
        "fareway_init_ms": round(walls["fareway"], 1),
        "bare_init_ms": round(walls["bare"], 1),
        "ratio": round(walls["fareway"] / walls["bare"], 2),
        "fareway_cpu_ms": round(cpus["fareway"], 1),
        "bare_cpu_ms": round(cpus["bare"], 1),
        "cpu_ratio": round(cpus["fareway"] / cpus["bare"], 2),
        "python_ms": round(walls["python"], 1),
        "rounds": rounds,
        "packages": paths()[0],
    }


def _print_sizes(cpu_ms: float) -> None:
    """What memory buys. Lambda gives 1,769 MB a whole processor, and less its share of one."""
    print(f"{'memory':>7}{'vCPU':>7}{'init, ms*':>11}{'USD per million requests of 1 s':>34}")
    for megabytes in (512, 1024, 1769, 3008):
        share = min(1.0, megabytes / VCPU_MB)  # init runs in one thread, nearly
        usd = megabytes / 1024 * GB_SECOND_USD * 1e6
        print(f"{megabytes:>7}{megabytes / VCPU_MB:>7.2f}{cpu_ms / share:>11.0f}{usd:>34.2f}")
    print(
        "* reckoned from this machine's processor time; Lambda may give init more than its share.\n"
    )


def _print_imports(ours: Counter[str], bare: Counter[str]) -> None:
    print(f"{'imports, ms without theirs':<28}{'fareway':>10}{'bare':>10}")
    for name, ms in ours.most_common(16):
        print(f"{name:<28}{ms:>10.1f}{bare.get(name, 0):>10.1f}")
    print(f"{'all':<28}{sum(ours.values()):>10.1f}{sum(bare.values()):>10.1f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    figures = measure(args.rounds)
    for name, value in figures.items():
        print(f"{name:<28}{value!s:>12}")
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
