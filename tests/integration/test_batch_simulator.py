"""The simulated batch endpoints: what the batch tests stand on must be right itself."""

import json

import openai
import pytest

from local.batch import create_app
from local.batch_simulation import Fault, answer_to
from local.serving import serve


@pytest.fixture
def simulated():
    app = create_app()
    with serve(app) as url:
        sdk = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k", max_retries=0)
        with sdk:
            yield sdk, app.state.simulation


def a_line(custom_id, prompt="Hello", model="gpt-5"):
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode()


def begin(sdk, *lines):
    file = sdk.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
    return sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"name": "x"},
    )


def test_the_openai_sdk_takes_a_file_all_the_way(simulated):
    sdk, _ = simulated
    batch = begin(sdk, a_line("a", "one"), a_line("b", "two"))
    assert (batch.status, batch.metadata) == ("in_progress", {"name": "x"})
    states = [sdk.batches.retrieve(batch.id).status for _ in range(2)]
    assert states == ["in_progress", "completed"]
    over = sdk.batches.list().data[0]
    assert (over.request_counts.total, over.request_counts.completed) == (2, 2)
    lines = sdk.files.content(over.output_file_id).text.splitlines()
    told = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, lines)}
    completion = openai.types.chat.ChatCompletion.model_validate(told["b"])
    assert completion.choices[0].message.content == answer_to("two")


@pytest.mark.parametrize(
    "lines",
    [(a_line("a"), a_line("a")), (a_line("a"), a_line("b", model="gpt-4o"))],
    ids=["twice the same custom_id", "two models"],
)
def test_a_file_that_openai_would_refuse_fails(simulated, lines):
    sdk, _ = simulated
    batch = begin(sdk, *lines)
    over = sdk.batches.retrieve(batch.id)
    assert over.status == "failed"
    assert over.errors.data[0].code


def test_an_expired_batch_has_some_answers_and_says_what_expired(simulated):
    sdk, simulation = simulated
    simulation.looks, simulation.fates = 0, ["expired"]
    batch = begin(sdk, *[a_line(str(n)) for n in range(4)])
    over = sdk.batches.retrieve(batch.id)
    assert over.status == "expired"
    assert len(sdk.files.content(over.output_file_id).text.splitlines()) == 2
    errors = map(json.loads, sdk.files.content(over.error_file_id).text.splitlines())
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}


def test_a_fault_is_met_as_often_as_it_was_ordered(simulated):
    sdk, simulation = simulated
    simulation.faults.append(Fault("GET /openai/v1/batches", 429, times=1, retry_after=3))
    with pytest.raises(openai.RateLimitError) as refused:
        sdk.batches.list()
    assert refused.value.response.headers["retry-after"] == "3"
    assert sdk.batches.list().data == []
