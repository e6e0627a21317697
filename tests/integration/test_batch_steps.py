"""The batch machine's definition and functions over a bucket (moto), at the simulated providers."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import time
from collections import Counter
from dataclasses import fields, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from fareway.batch.job import Job
from fareway.batch_steps import EVENTS, LEASE_S, WRITING_S, Steps
from local.aggregator import create_app as aggregator_app
from local.batch import create_app
from local.batch_simulation import Fault, Simulation, answer_to
from local.cloud import ROOT, aws_env
from local.serving import serve
from tests.asl import Failed, Machine
from tests.batching import Crash, Dying, a_file, by_words

BUCKET = "batches"
DEFINITION = json.loads((ROOT / "statemachines" / "batch.asl.json").read_text(encoding="utf-8"))


class Cloud:
    """The bucket, the functions, and a machine that walks the definition.

    Args:
        now: the clock of claims, seconds; each wait of the machine lets it pass.
        put: events that reached the ledger's stream.
    """

    def __init__(self, functions: dict[str, Any], simulation: Simulation) -> None:
        self.simulation = simulation
        self.s3 = next(iter(functions.values())).steps.s3
        self.now = time.time()
        self.left_s = 900.0
        self.put: list[dict[str, Any]] = []
        self.steps: list[Steps] = [module.steps for module in functions.values()]
        self.handlers = {
            f"${{{name.title()}Function}}": module.handler for name, module in functions.items()
        }
        self.machine = Machine(DEFINITION, self.call, self.keys, self.wait)
        for steps in self.steps:
            steps.now = lambda: self.now
            steps.firehose = self  # type: ignore[assignment]

    def keyed(self, **keys: str) -> None:
        """Gives the functions these upstream keys, and no others."""
        for steps in self.steps:
            steps.settings = replace(steps.settings, upstream_keys=keys)

    def call(self, function: str, payload: Any) -> Any:
        told = SimpleNamespace(get_remaining_time_in_millis=lambda: self.left_s * 1000)
        return self.handlers[function](payload, told)

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def wait(self, seconds: float) -> None:
        self.now += max(seconds, 1)

    def put_record_batch(self, DeliveryStreamName: str, Records: list[Any]) -> Any:
        """The ledger's stream."""
        self.put += [json.loads(record["Data"]) for record in Records]
        return {"RequestResponses": [{} for _ in Records]}

    def upload(self, content: bytes, key: str = "batch/in/in.csv", **metadata: str) -> Any:
        """An upload and the execution that it starts -> the execution's output."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content, Metadata=metadata)
        return self.machine.run({"key": key, "size": len(content)})

    def dying(self, at: str) -> None:
        """The next machine that comes to this point dies."""
        deaths = Counter({at: 1})
        for steps in self.steps:

            def job(folder: str, steps: Steps = steps) -> Job:
                store = Steps.job(steps, folder).store
                return Job(Dying(store, at) if deaths[at] else store)

            steps.job = job  # type: ignore[method-assign]

    def living(self) -> None:
        for steps in self.steps:
            vars(steps).pop("job", None)

    def read(self, name: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=f"batch/out/{name}")["Body"].read()

    def rows(self, name: str = "in.csv") -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.read(name).decode(), newline="")))

    def summary(self, name: str = "in") -> dict[str, Any]:
        return dict(json.loads(self.read(f"{name}.summary.json")))

    def asked(self) -> Counter[str]:
        """Requests that the batches hold, each with how often."""
        made = [*self.simulation.made("openai"), *self.simulation.made("anthropic")]
        return Counter(r["custom_id"] for batch in made for r in batch.requests)

    def events(self) -> list[dict[str, Any]]:
        """What the queries count: each event once, however often it was put."""
        return [dict(event) for event in {tuple(event.items()) for event in self.put}]


def load(name: str) -> Any:
    """A function as Lambda loads it, with a scorer in place of the classifier."""
    path = ROOT / "functions" / f"batch_{name}" / "handler.py"
    spec = importlib.util.spec_from_file_location(f"batch_{name}_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.steps.classifier = SimpleNamespace(score_many=by_words, version="test-1")
    return module


@pytest.fixture(scope="module")
def loaded(moto_server):
    """The functions, their providers' simulation, and that of an aggregator in real time."""
    app, asked_at_once = create_app(), aggregator_app("tokenmix", latency_scale=0)
    with (
        serve(app) as url,
        serve(asked_at_once) as aggregator_url,
        pytest.MonkeyPatch.context() as patch,
    ):
        told = aws_env(0) | {
            "AWS_ENDPOINT_URL": moto_server,
            "FAREWAY_OPENAI_BASE_URL": f"{url}/openai/v1",
            "FAREWAY_ANTHROPIC_BASE_URL": f"{url}/anthropic/v1",
            "FAREWAY_TOKENMIX_BASE_URL": f"{aggregator_url}/v1",
            "FAREWAY_BATCH_BUCKET": BUCKET,
            "FAREWAY_BATCH_RPM": "60000",
            "FAREWAY_LEDGER_STREAM": "ledger",
        }
        for name, value in told.items():
            patch.setenv(name, value)
        functions = {name: load(name) for name in ("classify", "submit", "collect")}
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield functions, app.state.simulation, asked_at_once.state.simulation


@pytest.fixture
def cloud(loaded):
    functions, simulation, _ = loaded
    fresh = Simulation()
    for part in fields(Simulation):
        setattr(simulation, part.name, getattr(fresh, part.name))
    cloud = Cloud(functions, simulation)
    cloud.keyed(openai="k", anthropic="k")
    yield cloud
    cloud.living()
    boto3.resource("s3").Bucket(BUCKET).objects.all().delete()


@pytest.fixture
def aggregator(loaded, cloud):
    """An aggregator that has a key -> its simulation."""
    cloud.keyed(openai="k", anthropic="k", tokenmix="k")
    simulation = loaded[2]
    simulation.requests.clear()
    return simulation


FIVE_DEATHS = [
    "write rows.json",
    "written decided/000003.jsonl",
    "write requests/openai-gpt-5-0000.jsonl",
    "create submissions/openai-gpt-5-0000/000/batch.json",  # it was made, and nobody knows
    "written results/anthropic-claude-haiku-4.5-0000.jsonl",
]
MORE_DEATHS = [
    "write job.json|create job.json",
    "write plan.json",
    "created submissions/openai-gpt-5-0000/000/claim-000.json",
    "created submissions/openai-gpt-5-0000/000/batch.json",
    "write batches/openai-gpt-5-0000.json",
    "write events.jsonl",
    "write out/in.summary.json",
]


def test_ten_thousand_rows_killed_at_five_points_come_back_in_order_and_are_paid_once(cloud):
    prompts = [f"{('hard', 'usual', 'risky')[n % 3]} question {n}" for n in range(10_000)]
    content = a_file(*prompts)
    for at in FIVE_DEATHS:
        cloud.dying(at)
        with pytest.raises(Crash, match=at.split()[0]):
            cloud.upload(content)
        cloud.living()
    cloud.upload(content)
    found = cloud.rows()
    assert [row["id"] for row in found] == [str(n) for n in range(10_000)]
    assert [row["answer"] for row in found] == [answer_to(prompt) for prompt in prompts]
    assert cloud.summary()["statuses"] == {"succeeded": 10_000}
    assert (cloud.asked().total(), max(cloud.asked().values())) == (10_000, 1)
    assert len(cloud.events()) == len({e["decision_id"] for e in cloud.events()}) == 10_000
    cost = sum(Decimal(event["cost_usd"]) for event in cloud.events())
    assert cost == Decimal(cloud.summary()["cost"]["cost_usd"])


@pytest.mark.parametrize("at", MORE_DEATHS)
def test_a_function_that_dies_is_gone_on_from(cloud, at):
    content = a_file("hard one", "usual two", "risky three")
    cloud.dying(at)
    with pytest.raises(Crash):
        cloud.upload(content)
    cloud.living()
    cloud.upload(content)
    assert [row["status"] for row in cloud.rows()] == ["succeeded"] * 3
    assert cloud.asked().total() == 3
    assert len(cloud.events()) == 3


def test_an_error_that_passes_is_tried_again_by_the_machine(cloud):
    collect, fails = cloud.handlers["${CollectFunction}"], [OSError("disk"), OSError("disk")]

    def failing(payload, context):
        if fails:
            raise fails.pop()
        return collect(payload, context)

    cloud.handlers["${CollectFunction}"] = failing
    cloud.upload(a_file("hard one"))
    assert cloud.summary()["statuses"] == {"succeeded": 1}


def test_a_claim_of_a_function_that_died_holds_until_it_cannot_live_any_more(cloud):
    content = a_file("hard one")
    cloud.dying("created submissions/.*/claim-000.json")
    with pytest.raises(Crash):
        cloud.upload(content)
    cloud.living()
    died = cloud.now
    cloud.upload(content)
    assert cloud.now - died >= LEASE_S
    assert cloud.asked().total() == 1


def test_a_file_that_is_uploaded_again_is_the_same_job_and_paid_once(cloud):
    content = a_file("hard one", "usual two")
    cloud.upload(content)
    first = {name: cloud.read(name) for name in ("in.csv", "in.errors.csv", "in.summary.json")}
    cloud.upload(content)
    assert {name: cloud.read(name) for name in first} == first
    assert cloud.asked().total() == 2
    assert len(cloud.events()) == 2


def test_a_changed_file_under_the_same_name_is_another_job(cloud):
    cloud.upload(a_file("hard one"))
    cloud.upload(a_file("hard two"))
    assert [row["answer"] for row in cloud.rows()] == [answer_to("hard two")]
    assert len(cloud.events()) == 2


def test_two_executions_of_one_job_at_the_same_time_send_nothing_twice(cloud, aggregator):
    """EventBridge may tell of an upload twice: the second runs through while the first looks."""
    content = a_file(*[f"easy {n}" for n in range(30)], "hard one", "usual two")
    call, twice = cloud.call, []

    def both(function, payload):
        if payload["step"] in ("submit", "answer", "collect") and payload["step"] not in twice:
            twice.append(payload["step"])
            call(function, payload)
        return call(function, payload)

    cloud.machine.call = both
    cloud.upload(content)
    cloud.machine.run({"key": "batch/in/in.csv"})
    assert cloud.summary()["statuses"] == {"succeeded": 32}
    assert cloud.asked().total() == 2
    assert len(aggregator.requests) == 30
    assert len(cloud.events()) == 32


def test_a_file_that_another_function_asks_in_real_time_is_left_to_it(cloud, aggregator):
    cloud.s3.put_object(Bucket=BUCKET, Key="batch/in/x.csv", Body=a_file("easy one"))
    classify, submit = cloud.handlers["${ClassifyFunction}"], cloud.handlers["${SubmitFunction}"]
    folder = classify({"step": "split", "key": "batch/in/x.csv"}, None)["folder"]
    for key in cloud.keys(folder + "rows/"):
        classify({"step": "classify", "slice": key}, None)
    classify({"step": "assemble", "folder": folder}, None)
    cloud.steps[1].job(folder).store.create(
        "answered/realtime-0000/claim-000.json", json.dumps({"at": cloud.now}).encode()
    )
    payload = {"step": "answer", "job": {"folder": folder}}
    told = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    assert submit(payload, told)["done"] is False
    assert len(aggregator.requests) == 0
    cloud.now += LEASE_S
    assert submit(payload, told)["done"] is True
    assert len(aggregator.requests) == 1


def test_real_time_is_asked_in_portions_and_no_answer_is_lost(cloud, aggregator):
    """The function's time is over in the middle of a file; the next call goes on from there."""
    submit, began = cloud.handlers["${SubmitFunction}"], cloud.now
    short = [900.0, WRITING_S + 0.02]  # as it looks whether to begin, and until when

    def timed(payload, context):
        if payload["step"] == "answer" and short:
            context.get_remaining_time_in_millis = lambda: 1000 * short.pop(0)
        return submit(payload, context)

    cloud.handlers["${SubmitFunction}"] = timed
    cloud.upload(a_file(*[f"easy {n}" for n in range(250)]))
    assert cloud.summary()["statuses"] == {"succeeded": 250}
    assert cloud.summary()["in_real_time"] == 250
    assert "250 rows were asked in real time" in cloud.summary()["notes"][0]
    assert len(aggregator.requests) < 250 + 10  # at most those under way
    assert cloud.machine.entered.count("Answer") == 2
    assert cloud.now - began < LEASE_S  # the claim was let go


def test_a_look_that_runs_out_of_time_leaves_the_rest_to_the_next(cloud):
    content = a_file(*[f"hard {n}" for n in range(6)])
    cloud.left_s, waits = 100.0, []
    wait = cloud.machine.waited

    def waited(seconds):
        waits.append(seconds)
        cloud.left_s = 900.0
        wait(seconds)

    cloud.machine.waited = waited
    cloud.upload(content, **{"file-requests": "2"})
    assert cloud.summary()["statuses"] == {"succeeded": 6}
    assert len(cloud.simulation.jobs) == 3
    assert waits[0] >= 30


def test_the_wait_grows_while_nothing_moves_and_no_further_than_five_minutes(cloud):
    cloud.simulation.looks, waits = 12, []
    cloud.machine.waited = waits.append
    cloud.upload(a_file("hard one"))
    assert waits[1:4] == [45, 68, 102]
    assert max(waits) == 300


def test_many_events_are_put_in_portions(cloud):
    cloud.upload(a_file(*[f"hard {n}" for n in range(9)]))
    collect = cloud.handlers["${CollectFunction}"]
    (events,) = [key for key in cloud.keys("batch/jobs/") if key.endswith("events.jsonl")]
    line = cloud.s3.get_object(Bucket=BUCKET, Key=events)["Body"].readline()
    cloud.s3.put_object(Bucket=BUCKET, Key=events, Body=line * (EVENTS + 5))
    execution: dict[str, Any] = {"job": {"folder": events.removesuffix("events.jsonl")}}
    left = iter([900_000, 1_000])
    told = SimpleNamespace(get_remaining_time_in_millis=lambda: next(left))
    cloud.put.clear()
    answer = collect({"step": "record", "execution": execution}, told)
    assert answer == {"done": False, "recorded": EVENTS}
    told.get_remaining_time_in_millis = lambda: 900_000
    answer = collect({"step": "record", "execution": execution | {"ledger": answer}}, told)
    assert answer == {"done": True, "recorded": EVENTS + 5}
    assert len(cloud.put) == EVENTS + 5


def test_duplicates_are_paid_once_if_the_upload_asks_for_it(cloud):
    cloud.upload(a_file("hard one", "hard one", "usual two"), dedupe="true")
    assert [row["cost_usd"] == "0" for row in cloud.rows()] == [False, True, False]
    assert cloud.asked().total() == len(cloud.events()) == 2
    assert cloud.summary()["duplicates_not_paid"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty"),
        (b"question\nx\n", "No column is called prompt"),
        ("prompt\nx\n".encode("utf-16"), "UTF-16"),
        (b'"prompt\nx\n', "Line 1 does not name columns"),
    ],
    ids=["empty", "no prompts", "utf-16", "broken header"],
)
def test_a_file_that_is_none_of_prompts_fails_with_the_reason(cloud, content, reason):
    with pytest.raises(Failed) as failure:
        cloud.upload(content)
    assert failure.value.error == "BadRequest"
    assert reason in cloud.summary()["failed"]
    assert cloud.machine.entered.count("Split") == 1
    assert cloud.put == []


def test_a_header_alone_is_a_job_of_no_rows(cloud):
    cloud.upload(b"id,prompt\n")
    assert cloud.summary()["rows"] == 0
    assert cloud.rows() == []


def test_hostile_rows_go_to_the_errors_file_and_the_rest_are_answered(cloud):
    content = (
        b'\xef\xbb\xbfid,prompt,max_tokens,note\n1,"hard ""quoted""\nover two lines",,=1+1\n'
        b"2,caf\xe9,,\n3,,,\n4,too few\n5,x,none,\n6," + b"y" * 2_000_000 + b",,\n7,usual seven,,\n"
    )
    cloud.upload(content)
    assert [row["status"] for row in cloud.rows()] == ["succeeded", *["invalid"] * 5, "succeeded"]
    assert cloud.rows()[0]["note"] == "'=1+1"
    assert [row["line"] for row in cloud.rows("in.errors.csv")] == ["4", "5", "6", "7", "8"]
    assert cloud.rows()[0]["answer"] == answer_to('hard "quoted"\nover two lines')


def test_a_refused_key_fails_with_the_reason_and_what_was_answered_all_the_same(cloud):
    cloud.simulation.faults.append(Fault("POST /openai/v1/files", 401, times=999))
    content = a_file("hard one", "usual two")
    with pytest.raises(Failed):
        cloud.upload(content)
    assert "401" in cloud.summary()["failed"]
    cloud.simulation.faults.clear()
    cloud.upload(content)
    assert "failed" not in cloud.summary()
    assert cloud.summary()["statuses"] == {"succeeded": 2}
    assert cloud.asked().total() == len(cloud.events()) == 2


def test_what_was_paid_before_a_failure_is_in_the_ledger(cloud):
    content = a_file("hard one", "usual two")
    fault = Fault("GET /anthropic/v1/messages/batches/.*", 403, times=999)
    cloud.simulation.faults.append(fault)
    with pytest.raises(Failed):
        cloud.upload(content)
    assert cloud.summary()["statuses"] == {"succeeded": 1, "pending": 1}
    assert len(cloud.events()) == 1
    assert cloud.machine.entered[-1] == "Failed"
    fault.times = 0
    cloud.upload(content)
    assert len(cloud.events()) == 2


def test_a_ledger_that_takes_nothing_fails_after_the_answers_are_out(cloud, monkeypatch):
    def refuse(**_: Any) -> Any:
        raise OSError("no stream")

    monkeypatch.setattr(cloud, "put_record_batch", refuse)
    with pytest.raises(Failed):
        cloud.upload(a_file("hard one"))
    assert cloud.rows()[0]["status"] == "succeeded"
    assert "no stream" in cloud.summary()["failed"]


def test_without_any_key_nothing_is_planned(cloud):
    cloud.keyed()
    with pytest.raises(Failed, match="NoAggregator"):
        cloud.upload(a_file("hard one"))
    assert "No upstream has a key" in cloud.summary()["failed"]


def test_json_lines_in_a_folder_come_back_under_its_name(cloud):
    cloud.upload(b'{"id": "a", "prompt": "hard one"}\n', "batch/in/team/night.jsonl")
    (answer,) = map(json.loads, cloud.read("team/night.jsonl").splitlines())
    assert answer["answer"] == answer_to("hard one")
    assert cloud.summary("team/night")["rows"] == 1


def test_a_file_called_events_keeps_its_answers(cloud):
    cloud.upload(b'{"prompt": "hard one"}\n', "batch/in/events.jsonl")
    assert json.loads(cloud.read("events.jsonl"))["answer"] == answer_to("hard one")


def test_a_cancelled_job_is_collected_as_far_as_it_came(cloud):
    content = a_file("hard one", "usual two")
    cloud.dying("created submissions/anthropic-.*/000/batch.json")  # the first that is sent
    with pytest.raises(Crash):
        cloud.upload(content)
    cloud.living()
    (job,) = [key for key in cloud.keys("batch/jobs/") if key.endswith("job.json")]
    cloud.s3.put_object(
        Bucket=BUCKET, Key=job.replace("job.json", "cancelled.json"), Body=b'{"at": 0}'
    )
    cloud.upload(content)
    assert cloud.summary()["statuses"] == {"succeeded": 1, "pending": 1}
    assert len(cloud.simulation.jobs) == 1


def test_a_step_that_is_none_is_refused(cloud):
    for handler in cloud.handlers.values():
        with pytest.raises(ValueError, match="not a step"):
            handler({"step": "dance", "execution": {}}, None)
