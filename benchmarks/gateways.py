"""The gateways that are measured, each a process of its own over the same mock upstream.

LiteLLM and Portkey are installed on first use, as their documents say, into `.venv-litellm` and
`.portkey`. Each gateway has one worker and no database, and logs to a file.

Sources: docs.litellm.ai/docs/proxy/configs and /proxy/prod, portkey.ai/docs: x-portkey-provider
and x-portkey-custom-host.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Target, WrongAnswer, latencies
from benchmarks.upstream import MODEL
from local.background import Background

ROOT = Path(__file__).parents[1]
LITELLM, PORTKEY = "1.106.12", "1.15.2"
START_S = 120
#: All that a process gets of our environment: neither keys nor settings of the developer's.
ENV = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


class Unavailable(Exception):
    """A gateway that cannot be installed or does not start; says why."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """How one process is installed, started and asked.

    Args:
        targets: what is measured of it, by the name in the results; started once the first of them
            answers.
    """

    name: str
    command: Sequence[str]
    targets: Mapping[str, Target]
    env: Mapping[str, str] = field(default_factory=dict)
    install: Callable[[], None] = lambda: None


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Target | None]]:
    """Everything started, and ended with the block: name -> where it is asked, None if missing.

    Args:
        folder: for pid files, logs and LiteLLM's configuration.

    Raises:
        Unavailable: the mock or Fareway itself does not start.
    """
    with ExitStack() as ending:
        mock = upstream()
        found: dict[str, Target | None] = {**started(mock, folder, ending)}
        base_url = f"http://127.0.0.1:{mock.targets['upstream'].port}/v1"
        found |= started(fareway(base_url), folder, ending)
        for peer in (litellm(base_url, folder), portkey(base_url)):
            try:
                found |= started(peer, folder, ending)
            except Unavailable as error:
                print(f"{peer.name} is left out: {error}", file=sys.stderr)
                found |= dict.fromkeys(peer.targets)
        yield found


def started(gateway: Gateway, folder: Path, ending: ExitStack) -> Mapping[str, Target]:
    """Installs and starts one; it ends with `ending`.

    Raises:
        Unavailable: it cannot be had.
    """
    gateway.install()
    process = Background(gateway.name, folder)
    ending.callback(process.stop)
    process.start(gateway.command, ENV | dict(gateway.env), ROOT)
    _await_answer(process, next(iter(gateway.targets.values())))
    return gateway.targets


def upstream() -> Gateway:
    """The mock, asked without a gateway."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    return Gateway("upstream", command, {"upstream": Target(port, MODEL)})


def fareway(base_url: str) -> Gateway:
    """`fareway` classifies each prompt; `fareway_pinned` asks the same process for a model of the
    upstream's own, which is passed through."""
    port, key = free_port(), "fw-" + secrets.token_urlsafe(24)
    bearer = {"authorization": f"Bearer {key}"}
    classified = (b"x-fareway-complexity: ", b"x-fareway-cache: none")
    return Gateway(
        "fareway",
        [str(Path(sys.executable).with_name("fareway")), "serve", "--port", str(port)],
        {
            "fareway": Target(port, "fareway/auto", bearer, classified),
            "fareway_pinned": Target(port, MODEL, bearer, (b"x-fareway-lane: direct",)),
        },
        {
            "FAREWAY_API_KEY": key,
            "TOKENMIX_API_KEY": "mock",
            "FAREWAY_TOKENMIX_BASE_URL": base_url,
            "PYTHONPATH": str(ROOT / "shared"),
        },
    )


def litellm(base_url: str, folder: Path) -> Gateway:
    """With its documents' settings for production."""
    port, key = free_port(), "sk-" + secrets.token_urlsafe(24)
    call = {"model": f"openai/{MODEL}", "api_base": base_url, "api_key": "mock"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": call}],
        "general_settings": {"master_key": key},
    }
    file = folder / "litellm.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [str(ROOT / ".venv-litellm/bin/litellm"), "--config", str(file), "--num_workers", "1"]
    bearer = {"authorization": f"Bearer {key}"}
    return Gateway(
        "litellm",
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        {"litellm": Target(port, MODEL, bearer, (b"x-litellm-version",))},
        {
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches a price list as it starts
        },
        _install_litellm,
    )


def portkey(base_url: str) -> Gateway:
    port = free_port()
    script = ROOT / ".portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    headers = {
        "authorization": "Bearer mock",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": base_url,
    }
    return Gateway(
        "portkey",
        ["node", str(script), f"--port={port}", "--headless"],
        {"portkey": Target(port, MODEL, headers, (b"x-portkey-provider: openai",))},
        {"NODE_ENV": "production"},
        _install_portkey,
    )


def _install_litellm() -> None:
    folder = ROOT / ".venv-litellm"
    wanted = f"litellm[proxy]=={LITELLM}"
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", wanted]
    _install(folder, wanted, [[sys.executable, "-m", "venv", "--clear", str(folder)], pip])


def _install_portkey() -> None:
    folder = ROOT / ".portkey"
    wanted = f"@portkey-ai/gateway@{PORTKEY}"
    if not (shutil.which("npm") and shutil.which("node")):
        raise Unavailable("it needs Node.js and npm")
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    _install(folder, wanted, [["npm", "install", "--prefix", str(folder), *quiet, wanted]])


def _install(folder: Path, wanted: str, commands: Sequence[Sequence[str]]) -> None:
    """Runs the commands, unless they have been run for the same version before."""
    done = folder / ".done"
    if done.exists() and done.read_text() == wanted:
        return
    print(f"installing {wanted} into {folder.name}", file=sys.stderr)
    folder.mkdir(exist_ok=True)
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        except subprocess.CalledProcessError as error:
            told = (error.stderr.strip() or error.stdout.strip()).splitlines()[-1:]
            raise Unavailable(f"{' '.join(command)} failed: {' '.join(told)}") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{' '.join(command)} took over 900 s") from error
    done.write_text(wanted)


def _await_answer(process: Background, target: Target) -> None:
    """Returns once the process gives the answers that are to be measured."""
    give_up = time.monotonic() + START_S
    reason: Exception | None = None
    while process.pid() is not None and time.monotonic() < give_up:
        try:
            latencies(target, 1, 0.01)
            return
        except OSError:
            time.sleep(0.1)
        except WrongAnswer as error:  # a first answer may be late, or be refused while it loads
            reason = error
            time.sleep(0.5)
    raise Unavailable(f"{process.name} gives no right answer: {reason or process.tail()}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
