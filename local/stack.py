"""`python -m local.stack up|down|status|build`: the whole deployment on this machine.

MiniStack gives the AWS API, the SAM CLI builds and deploys the same template as in the cloud, two
simulated aggregators answer where TokenMix and OpenRouter would, and simulated batch endpoints
where OpenAI's and Anthropic's are. Nothing secret is made.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console

from local.background import Background
from local.cloud import REGION, ROOT, TOOLS, LocalCloudError, answers, aws_env, start_ministack

PORT = int(os.environ.get("FAREWAY_LOCAL_PORT", "4566"))
#: A second cloud, on another port, keeps to a folder of its own.
FOLDER = ROOT / ".local" / ("" if PORT == 4566 else str(PORT))
#: Simulated aggregator -> its port: 4601 and 4602, as in samconfig.toml, or as far from PORT.
SIMULATORS = {"openrouter": PORT + 35, "tokenmix": PORT + 36}
#: Simulated batch endpoints, all on one port.
BATCH_PROVIDERS, BATCH_PORT = ("openai", "anthropic"), PORT + 37
#: What stands in the upstream secret here; the simulators take any key.
LOCAL_KEYS = {name: f"local-{name}" for name in (*SIMULATORS, *BATCH_PROVIDERS)}
#: All that runs here.
PROCESSES = ("ministack", *SIMULATORS, "batch")

console = Console(highlight=False)


def build() -> None:
    """`sam build` of whatever changed -> .aws-sam/build.

    Raises:
        LocalCloudError: it failed; the message ends with what SAM said.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (ROOT / ".local" / "build.lock").open("w") as lock:
        # Two builds at once would write the same folder.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sam("build", "--config-env", "local", env={"UV": _uv()})


def deploy(
    port: int, folder: Path, parameters: Mapping[str, str] | None = None, *, rebuild: bool = True
) -> dict[str, str]:
    """Builds and deploys the template on the MiniStack at `port` -> its outputs.

    Besides the template's own: `endpoint_url` (the API; clients append /v1) and
    `aws_endpoint_url`. They are written to `folder/outputs.json` as well.

    Args:
        parameters: the template's, over those of samconfig.toml's local environment and the
            simulators' addresses.

    Raises:
        LocalCloudError: the build or the deployment failed.
    """
    if rebuild:
        build()
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    local = config["local"]["deploy"]["parameters"]
    chosen = dict(pair.split("=", 1) for pair in local["parameter_overrides"])
    chosen["OpenRouterBaseUrl"] = f"http://127.0.0.1:{SIMULATORS['openrouter']}/api/v1"
    chosen["TokenMixBaseUrl"] = f"http://127.0.0.1:{SIMULATORS['tokenmix']}/v1"
    chosen["OpenAIBaseUrl"] = f"http://127.0.0.1:{BATCH_PORT}/openai/v1"
    chosen["AnthropicBaseUrl"] = f"http://127.0.0.1:{BATCH_PORT}/anthropic/v1"
    chosen |= parameters or {}
    overrides = [f'{name}="{value}"' for name, value in chosen.items()]
    _sam("deploy", "--config-env", "local", "--parameter-overrides", *overrides, env=aws_env(port))
    outputs = _outputs(port, local["stack_name"])
    outputs["aws_endpoint_url"] = f"http://127.0.0.1:{port}"
    outputs["endpoint_url"] = (
        f"http://127.0.0.1:{port}/restapis/{outputs['ApiId']}/{chosen['Stage']}/_user_request_"
    )
    _put_local_keys(port, outputs["UpstreamSecret"])
    _serve_what_was_deployed(port)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outputs.json").write_text(json.dumps(outputs, indent=2) + "\n", encoding="utf-8")
    return outputs


def aws_client(service: str, port: int) -> Any:
    """A boto3 client of the local cloud."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def start_simulators(folder: Path) -> None:
    """Starts the simulated aggregators and batch endpoints unless they run.

    Raises:
        LocalCloudError: something else has the port, or one did not come up.
    """
    aggregator, app = ["local.aggregator", "--name"], ["uvicorn", "--factory"]
    commands = {name: (port, [*aggregator, name]) for name, port in SIMULATORS.items()}
    commands["batch"] = (BATCH_PORT, [*app, "local.batch:create_app"])
    for name, (port, module) in commands.items():
        process = Background(name, folder)
        if process.pid() is not None and answers(port):
            continue
        process.stop()
        if answers(port):
            raise LocalCloudError(f"port {port} is taken: no room for the simulated {name}")
        process.start(
            [sys.executable, "-m", *module, "--port", str(port)],
            dict(os.environ),
            ROOT,
        )
        give_up = time.monotonic() + 20
        while not answers(port):
            if process.pid() is None or time.monotonic() > give_up:
                raise LocalCloudError(f"the simulated {name} did not come up:\n{process.tail()}")
            time.sleep(0.1)


def runtime_python() -> Path:
    """The interpreter that .venv-local was made of: it is the functions' Python."""
    answer = subprocess.run(
        [str(TOOLS / "python"), "-c", "import sys; print(sys.base_prefix, *sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    prefix, major, minor = answer.stdout.split()
    return Path(prefix) / "bin" / f"python{major}.{minor}"


def up() -> None:
    """Starts everything, or brings what runs up to date."""
    with step(f"MiniStack, the AWS API on this machine, port {PORT}"):
        start_ministack(PORT, FOLDER)
    simulators = SIMULATORS | {"batch endpoints": BATCH_PORT}
    with step("simulated " + ", ".join(f"{n} {p}" for n, p in simulators.items())):
        start_simulators(FOLDER)
    with step("sam build: the functions and their layers"):
        build()
    with step("sam deploy: template.yaml, as it goes to AWS"):
        outputs = deploy(PORT, FOLDER, rebuild=False)
    console.print(f"\nendpoint  {outputs['endpoint_url']}/v1")
    console.print(f"outputs   {(FOLDER / 'outputs.json').relative_to(ROOT)}")


def down() -> None:
    """Stops everything; the local cloud keeps nothing."""
    for name in PROCESSES:
        stopped = Background(name, FOLDER).stop()
        console.print(f"{name:<12}{'stopped' if stopped else 'was not running'}")
    for leftover in ("tmp", "s3", "state"):
        shutil.rmtree(FOLDER / leftover, ignore_errors=True)
    (FOLDER / "outputs.json").unlink(missing_ok=True)


def status() -> None:
    """Says what runs."""
    for name in PROCESSES:
        pid = Background(name, FOLDER).pid()
        console.print(f"{name:<12}{f'runs, pid {pid}' if pid else 'does not run'}")
    outputs = FOLDER / "outputs.json"
    if outputs.exists():
        console.print(f"{'endpoint':<12}{json.loads(outputs.read_text())['endpoint_url']}/v1")


def _outputs(port: int, stack: str) -> dict[str, str]:
    stacks = aws_client("cloudformation", port).describe_stacks(StackName=stack)["Stacks"]
    return {entry["OutputKey"]: entry["OutputValue"] for entry in stacks[0]["Outputs"]}


def _put_local_keys(port: int, secret: str) -> None:
    """Gives the simulators' keys to a secret that is still empty; real keys are left alone."""
    client = aws_client("secretsmanager", port)
    if client.get_secret_value(SecretId=secret)["SecretString"] == "{}":
        client.put_secret_value(SecretId=secret, SecretString=json.dumps(LOCAL_KEYS))


def _serve_what_was_deployed(port: int) -> None:
    """Moves each function's alias to a new version where a parameter alone has changed.

    On AWS, SAM does so; MiniStack gives SAM the parameters' defaults, so it sees no change.
    """
    client = aws_client("lambda", port)
    for function in [entry["FunctionName"] for entry in client.list_functions()["Functions"]]:
        latest, live = (
            client.get_function_configuration(FunctionName=f"{function}{qualifier}")
            for qualifier in ("", ":live")
        )
        if any(latest[part] != live[part] for part in ("Environment", "Layers", "CodeSha256")):
            version = client.publish_version(FunctionName=function)["Version"]
            client.update_alias(FunctionName=function, Name="live", FunctionVersion=version)


def _sam(*arguments: str, env: dict[str, str]) -> None:
    """Runs the SAM CLI with the functions' Python first on PATH."""
    path = os.pathsep.join([str(runtime_python().parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [str(TOOLS / "sam"), *arguments],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"sam-{arguments[0]}.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-40:])
        raise LocalCloudError(f"sam {arguments[0]} failed:\n{end}")


def _uv() -> str:
    """A uv that runs; one on PATH may be a shim that does not."""
    for uv in (os.environ.get("UV"), shutil.which("uv"), str(ROOT / ".venv-uv" / "bin" / "uv")):
        if uv and Path(uv).exists():
            answer = subprocess.run([uv, "--version"], capture_output=True, check=False)
            if answer.returncode == 0:
                return uv
    raise LocalCloudError("uv is needed to build the layers: https://docs.astral.sh/uv/")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is being done and how long it took."""
    begun = time.monotonic()
    console.print(f"[bold cyan]-[/] {what} ", end="")
    try:
        yield
    except BaseException:
        console.print("[bold red]failed[/]")
        raise
    console.print(f"[dim]{time.monotonic() - begun:.1f} s[/]")


def main(arguments: list[str]) -> int:
    commands = {"up": up, "down": down, "status": status, "build": build}
    if len(arguments) != 1 or arguments[0] not in commands:
        console.print(f"usage: python -m local.stack {'|'.join(commands)}", markup=False)
        return 2
    try:
        commands[arguments[0]]()
    except LocalCloudError as error:
        console.print(str(error), markup=False, style="red")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
