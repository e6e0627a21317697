"""Batch jobs from file to answers, against the simulated providers."""

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

import boto3
import pytest

from fareway.batch import run
from fareway.batch.job import Job
from fareway.batch.realtime import Pace
from fareway.batch.store import Bucket, Folder, read
from fareway.errors import BadRequest, NoAggregator, ProviderError
from fareway.prices import Usage
from fareway.providers.http import Http
from local import batch_openai
from local.aggregator import BAD_KEY
from local.aggregator import create_app as aggregator_app
from local.batch import create_app
from local.batch_simulation import Fault, Simulation, answer_to, usage_of
from local.serving import serve
from tests.batching import Crash, Dying, World, a_file, answers, errors

PROMPTS = [f"{('hard', 'usual', 'risky')[n % 3]} question {n}" for n in range(2000)]


@pytest.fixture
def world():
    app = create_app()
    with serve(app) as url:
        yield World(url, app.state.simulation)


@pytest.fixture
def store(tmp_path):
    return Folder(tmp_path / "job")


def events(store):
    lines = (read(store, "events.jsonl") or b"").splitlines()
    return [json.loads(line)["event"] for line in lines]


def asked_for(world):
    """Prompts that all batches of both providers hold, each with how often."""
    batches = [*world.simulation.made("openai"), *world.simulation.made("anthropic")]
    ids = [request["custom_id"] for batch in batches for request in batch.requests]
    return Counter(ids)


def test_two_thousand_rows_come_back_in_order_each_with_its_own_answer(world, store):
    summary = world.all(store, a_file(*PROMPTS, note=[f"n{i}" for i in range(2000)]))
    found = answers(store)
    assert [row["id"] for row in found] == [str(n) for n in range(2000)]
    assert [row["answer"] for row in found] == [answer_to(prompt) for prompt in PROMPTS]
    assert [row["note"] for row in found] == [f"n{i}" for i in range(2000)]
    assert summary["statuses"] == {"succeeded": 2000}
    assert errors(store) == []
    assert max(asked_for(world).values()) == 1


def test_each_row_is_one_event_at_batch_rates(world, store):
    world.all(store, a_file(*PROMPTS))
    recorded = events(store)
    assert len({event["decision_id"] for event in recorded}) == len(PROMPTS)
    cost = sum(Decimal(event["cost_usd"]) for event in recorded)
    tokens = [usage_of(prompt) for prompt in PROMPTS[::3]]  # the hard ones went to gpt-5
    price = world.policy.price("gpt-5", "openrouter")
    gpt_5 = sum(price.cost_usd(Usage(asked, said, batch=True)) for asked, said in tokens)
    of_gpt_5 = [event for event in recorded if event["served_model"] == "gpt-5"]
    assert sum(Decimal(event["cost_usd"]) for event in of_gpt_5) == gpt_5
    summary = json.loads(read(store, "out/in.summary.json"))
    assert Decimal(summary["cost"]["cost_usd"]) == cost
    assert Decimal(summary["cost"]["same_models_in_real_time_usd"]) == 2 * cost


def test_collecting_twice_tells_the_same_to_the_byte(world, store):
    world.all(store, a_file(*PROMPTS[:50]))
    keys = [*store.keys("out/"), "events.jsonl"]
    first = [read(store, key) for key in keys]
    world.collect(store)
    assert [read(store, key) for key in keys] == first


@pytest.mark.parametrize(
    "at",
    [
        "written decided/000000.jsonl",
        "write plan.json",
        "create submissions/openai-gpt-5-0000/000/claim-000.json",
        "created submissions/openai-gpt-5-0000/000/claim-000.json",
        "create submissions/openai-gpt-5-0000/000/batch.json",  # it was made, and nobody knows
        "create submissions/anthropic-claude-haiku-4.5-0000/000/batch.json",
        "created submissions/openai-gpt-5-0000/000/batch.json",
        "write batches/openai-gpt-5-0000.json",
        "written results/openai-gpt-5-0000.jsonl",
        "write out/in.summary.json",
    ],
)
def test_a_job_that_is_killed_goes_on_and_sends_nothing_twice(world, store, at):
    content = a_file(*PROMPTS)
    dying = Dying(store, at)
    with pytest.raises(Crash):
        world.all(dying, content)
    summary = world.all(store, content)
    assert summary["statuses"] == {"succeeded": 2000}
    assert [row["answer"] for row in answers(store)] == [answer_to(prompt) for prompt in PROMPTS]
    assert asked_for(world).total() == 2000
    assert len(world.simulation.jobs) == 3
    assert len({event["decision_id"] for event in events(store)}) == len(events(store)) == 2000


@pytest.mark.parametrize("path", ["openai/v1/batches", "anthropic/v1/messages/batches"])
def test_a_batch_whose_making_got_no_answer_is_found_and_not_made_again(world, store, path):
    world.simulation.faults.append(Fault(f"POST /{path}", 502, after=True))
    summary = world.all(store, a_file("hard one", "usual one"))
    assert summary["statuses"] == {"succeeded": 2}
    assert asked_for(world).total() == 2


def test_a_batch_that_was_not_made_is_made_later(world, store):
    world.simulation.faults.append(Fault("POST /anthropic/v1/messages/batches", 500))
    assert world.all(store, a_file("usual one"))["statuses"] == {"succeeded": 1}
    assert asked_for(world).total() == 1


def test_a_batch_of_somebody_else_is_not_taken_for_ours(world, store):
    """Anthropic's batches have no names: one of as many requests may be another job's."""
    other = Folder(store.path.parent / "other")
    world.plan(other, a_file("usual stranger"), name="other")
    world.plan(store, a_file("usual one"))
    with pytest.raises(Crash):
        world.ask(Dying(store, "created submissions/.*/claim-000.json"))
    world.ask(other)  # between our claim and our batch
    world.ask(store)
    world.collect(store)
    assert answers(store)[0]["answer"] == answer_to("usual one")
    assert asked_for(world).total() == 2


def test_our_batch_is_found_behind_somebody_elses(world, store):
    other = Folder(store.path.parent / "other")
    world.plan(other, a_file("usual stranger"), name="other")
    world.plan(store, a_file("usual one"))
    with pytest.raises(Crash):
        world.ask(Dying(store, "create submissions/.*/batch.json"))
    world.ask(other)
    world.ask(store)
    world.collect(store)
    assert answers(store)[0]["answer"] == answer_to("usual one")
    assert asked_for(world).total() == 2


def test_two_processes_do_not_send_one_file_twice(world, store):
    world.plan(store, a_file("hard one"))

    async def both():
        async with aclosing(Http()) as http:
            first, second = (world.submitter(Job(store), http) for _ in range(2))
            first.lease_s = second.lease_s = 60
            sent = [s.submit("openai-gpt-5-0000") for s in (first, second)]
            return await asyncio.gather(*sent, return_exceptions=True)

    outcomes = asyncio.run(both())
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Busy", "str"]
    assert asked_for(world).total() == 1


def test_rate_limits_and_broken_downloads_cost_only_time(world, store):
    world.simulation.faults += [
        Fault("POST /openai/v1/files", 429, times=2, retry_after=7),
        Fault("POST /openai/v1/batches", 429),
        Fault("GET /openai/v1/batches/.*", 503, times=3),
        Fault("GET /openai/v1/files/.*/content", cut=True),
        Fault("GET /anthropic/v1/messages/batches/.*/results", cut=True),
    ]
    assert world.all(store, a_file(*PROMPTS[:100]))["statuses"] == {"succeeded": 100}
    assert asked_for(world).total() == 100
    assert 7 in world.sleeps


@pytest.mark.parametrize("call", ["POST /openai/v1/files", "GET /openai/v1/batches/.*"])
def test_a_provider_that_asks_for_an_hour_is_left_alone_between_two_looks(world, store, call):
    """A function of fifteen minutes cannot wait for it within a call."""
    world.simulation.faults.append(Fault(call, 429, retry_after=3600))
    world.plan(store, a_file("hard one"))

    async def waits():
        async with aclosing(Http()) as http:
            job = Job(store)
            runner = run.Runner(job, world.submitter(job, http), None, lambda *_: None)
            wait_s, waited = 30.0, []
            while (wait_s := await runner.advance(wait_s)) is not None:
                waited.append(wait_s)
            return waited

    assert 3600 in asyncio.run(waits())
    assert max(world.sleeps, default=0) < 100
    assert world.collect(store)["statuses"] == {"succeeded": 1}


def test_a_batch_that_the_list_shows_a_moment_late_is_found_all_the_same(world, store, monkeypatch):
    world.plan(store, a_file("hard one"))
    with pytest.raises(Crash):
        world.ask(Dying(store, "create submissions/.*/batch.json"))
    page = batch_openai.page
    monkeypatch.setattr(
        batch_openai, "page", lambda jobs, *of: page(jobs if sum(world.sleeps) >= 5 else [], *of)
    )
    world.sleeps.clear()
    world.ask(store)
    assert asked_for(world).total() == 1


def test_rows_that_fail_are_tried_once_more_and_then_told(world, store):
    world.simulation.misses += [
        ("hard one$", "server_error", 1),
        ("usual one$", "server_error", 1),
        ("two$", "server_error", 9),
        ("hard three$", "missing", 1),
        ("usual three$", "missing", 1),
        ("four$", "invalid", 9),
        ("five$", "missing", 9),
    ]
    words = ["zero", "one", "two", "three", "four", "five"]
    prompts = [f"{kind} {word}" for kind in ("hard", "usual") for word in words]
    summary = world.all(store, a_file(*prompts))
    statuses = [row["status"] for row in answers(store)]
    assert statuses == 2 * ["succeeded", "succeeded", "errored", "succeeded", "errored", "errored"]
    assert [int(row["line"]) - 2 for row in errors(store)] == [2, 4, 5, 8, 10, 11]
    assert all(row["reason"] for row in errors(store))
    # what the request itself is wrong in is not asked again
    ids = asked_for(world)
    assert sorted(ids.values()) == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]
    failed = [event for event in events(store) if event["status"] != 200]
    assert {event["cost_usd"] for event in failed} == {None}
    assert summary["statuses"] == {"succeeded": 6, "errored": 6}


def test_what_expired_is_asked_again_and_what_expires_twice_is_told(world, store):
    world.simulation.fates += ["expired", "expired"]
    summary = world.all(store, a_file(*[f"hard {n}" for n in range(10)]))
    assert summary["statuses"] == {"succeeded": 7, "expired": 3}
    found = answers(store)
    assert all(
        row["answer"] == (answer_to(f"hard {n}") if row["status"] == "succeeded" else "")
        for n, row in enumerate(found)
    )
    assert {event["attempts"] for event in events(store)} == {1, 2}


def test_a_provider_without_room_is_asked_later(world, store):
    world.simulation.no_room = 3
    assert world.all(store, a_file("hard one", "hard two"))["statuses"] == {"succeeded": 2}
    assert [batch.fate for batch in world.simulation.made("openai")] == 3 * ["failed"] + [
        "completed"
    ]


def test_short_batches_of_a_short_queue_are_sent_one_after_the_other(world, store):
    world.options = run.Options(file_requests=2)
    world.simulation.no_room = 3  # of the five
    prompts = [f"hard {n}" for n in range(10)]
    assert world.all(store, a_file(*prompts))["statuses"] == {"succeeded": 10}
    made = world.simulation.made("openai")
    assert [len(batch.requests) for batch in made] == [2] * 8
    assert [row["answer"] for row in answers(store)] == [answer_to(prompt) for prompt in prompts]


def test_a_batch_that_fails_as_a_whole_is_tried_once_more(world, store):
    world.simulation.fates += ["failed", "failed"]
    summary = world.all(store, a_file("hard one", "hard two"))
    assert summary["statuses"] == {"errored": 2}
    assert len(world.simulation.jobs) == 2


def test_answers_to_requests_that_nobody_made_are_not_paid_for_again_and_again(
    world, store, monkeypatch
):
    answer, begin = batch_openai._openai_answer, Simulation.begin
    monkeypatch.setattr(batch_openai, "_openai_answer", lambda r: answer(r) | {"custom_id": "x"})

    def at_most_five(simulation, *args):
        assert len(simulation.jobs) < 5
        return begin(simulation, *args)

    monkeypatch.setattr(Simulation, "begin", at_most_five)
    assert world.all(store, a_file("hard one", "hard two"))["statuses"] == {"errored": 2}
    assert len(world.simulation.jobs) == 2


@pytest.mark.parametrize(
    "response",
    [
        "gone",
        {"status_code": 502, "body": "<html>bad gateway</html>"},
        {"status_code": 200, "body": {"choices": [None]}},
        {"status_code": 200, "body": {}},
    ],
)
def test_an_answer_of_another_form_fails_its_own_row_alone(world, store, monkeypatch, response):
    answer = batch_openai._openai_answer

    def odd(request):
        told = answer(request)
        return told | {"response": response} if "-2-" in request["custom_id"] else told

    monkeypatch.setattr(batch_openai, "_openai_answer", odd)
    world.all(store, a_file("hard one", "hard two"))
    assert [row["status"] for row in answers(store)] == ["errored", "succeeded"]
    assert [row["line"] for row in errors(store)] == ["2"]


@pytest.mark.parametrize(
    "call", ["POST /openai/v1/files", "POST /openai/v1/batches", "POST /anthropic/.*", "GET .*"]
)
def test_a_good_status_with_another_bodys_form_costs_only_time(world, store, call):
    world.simulation.faults.append(Fault(call, 200))
    assert world.all(store, a_file("hard one", "usual two"))["statuses"] == {"succeeded": 2}
    assert asked_for(world).total() == 2


def test_a_batch_told_of_in_another_form_is_asked_about_again(world, store, monkeypatch):
    told = batch_openai._openai_batch
    forms = iter([None, {"id": "b", "errors": ["odd"]}, {"object": "batch"}])  # None: as it is
    monkeypatch.setattr(batch_openai, "_openai_batch", lambda *of: next(forms, None) or told(*of))
    assert world.all(store, a_file("hard one"))["statuses"] == {"succeeded": 1}
    assert asked_for(world).total() == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_job_with_the_reason(world, store, status):
    world.simulation.faults.append(Fault("POST /openai/v1/files", status))
    world.plan(store, a_file("hard one"))
    with pytest.raises(ProviderError, match=str(status)):
        world.ask(store)
    assert world.all(store, a_file("hard one"))["statuses"] == {"succeeded": 1}


def test_a_file_that_its_provider_rejects_keeps_no_other_from_its_answers(world, store):
    fault = Fault("POST /openai/v1/files", 400, times=99)
    world.simulation.faults.append(fault)
    world.simulation.looks = 3
    world.plan(store, a_file("hard one", "usual two"))
    with pytest.raises(ProviderError, match="400"):
        world.ask(store)
    assert world.collect(store, partial=True)["statuses"] == {"pending": 1, "succeeded": 1}
    assert fault.times == 97, "it is sent at first and at last"
    fault.times = 0
    assert world.all(store, a_file("hard one", "usual two"))["statuses"] == {"succeeded": 2}
    assert asked_for(world).total() == 2


def test_a_cancelled_job_keeps_what_was_answered_and_sends_no_more(world, store):
    world.simulation.looks = 99
    world.plan(store, a_file(*[f"hard {n}" for n in range(10)], *[f"usual {n}" for n in range(4)]))

    async def send_and_cancel():
        async with aclosing(Http()) as http:
            submitter = world.submitter(Job(store), http)
            await submitter.submit("openai-gpt-5-0000")
            return await run.cancel(Job(store), submitter)

    assert asyncio.run(send_and_cancel()) == 1
    world.ask(store)  # fetches what there is
    summary = world.collect(store, partial=True)
    assert summary["statuses"] == {"succeeded": 5, "cancelled": 5, "pending": 4}
    assert len(world.simulation.jobs) == 1
    assert summary["files_without_results"] == ["anthropic-claude-haiku-4.5-0000"]


def test_a_row_that_is_being_tried_again_has_no_event_yet(world, store):
    world.simulation.misses.append(("one$", "server_error", 1))
    world.plan(store, a_file("hard one", "hard two"))
    with pytest.raises(Crash):
        world.ask(Dying(store, "create submissions/.*-retry/.*"))
    assert world.collect(store, partial=True)["statuses"] == {"pending": 1, "succeeded": 1}
    early = events(store)
    world.ask(store)
    world.collect(store)
    assert len(events(store)) == 2
    assert early[0] in events(store)


def test_real_time_that_is_interrupted_keeps_its_answers(world, store, monkeypatch):
    asked, wait = 0, Pace.wait

    async def dying(self):
        nonlocal asked
        asked += 1
        if asked == 50:
            raise Crash
        await wait(self)

    with serve(app := aggregator_app("tokenmix", latency_scale=0)) as url:
        world.aggregators = {"tokenmix": f"{url}/v1"}
        content = a_file(*[f"easy {n}" for n in range(90)])
        world.plan(store, content)
        monkeypatch.setattr(Pace, "wait", dying)
        with pytest.raises(BaseExceptionGroup):
            world.ask(store)
        assert world.all(store, content)["statuses"] == {"succeeded": 90}
        assert len(app.state.simulation.requests) < 90 + 10  # at most those under way


def test_an_unfinished_job_is_not_collected_unless_it_is_asked_for(world, store):
    world.plan(store, a_file("hard one"))
    with pytest.raises(BadRequest, match="1 of 1 files"):
        world.collect(store)
    assert world.collect(store, partial=True)["statuses"] == {"pending": 1}


def test_repeated_requests_are_paid_once_if_that_is_asked_for(world, store):
    world.options = run.Options(dedupe=True)
    summary = world.all(store, a_file("hard one", "usual two", "hard one", "hard one"))
    found = answers(store)
    assert [row["answer"] for row in found] == [
        answer_to(prompt) for prompt in ("hard one", "usual two", "hard one", "hard one")
    ]
    assert [row["cost_usd"] for row in found[2:]] == ["0", "0"]
    assert (asked_for(world).total(), len(events(store))) == (2, 2)
    assert summary["duplicates_not_paid"] == 2


def test_without_asking_for_it_repeated_requests_are_asked_each(world, store):
    world.all(store, a_file("hard one", "hard one"))
    assert asked_for(world).total() == 2


def test_broken_rows_are_told_and_the_rest_are_answered(world, store):
    content = (
        b"id,prompt,max_tokens\n1,hard one,\n2,caf\xe9,\n3,,\n4,too few\n5,x,none\n"
        b"6," + b"y" * 2_000_000 + b",\n7,usual seven,\n"
    )
    summary = world.all(store, content)
    assert [row["status"] for row in answers(store)] == ["succeeded", *["invalid"] * 5, "succeeded"]
    assert [row["line"] for row in errors(store)] == ["3", "4", "5", "6", "7"]
    assert summary["statuses"] == {"succeeded": 2, "invalid": 5}


def test_formulas_in_answers_and_columns_are_not_run_by_a_spreadsheet(world, store):
    world.all(store, a_file("hard one", note=["=HYPERLINK(1)"], delta=["-5"]))
    (row,) = answers(store)
    assert (row["note"], row["delta"]) == ("'=HYPERLINK(1)", "-5")


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_an_output_may_be_an_input_again_and_loses_no_column(world, store, format_):
    columns = {"prompt": "hard one", "answer": "second", "input_answer": "first"}
    lines = [",".join(columns), ",".join(columns.values())]
    content = "\n".join(lines) if format_ == "csv" else json.dumps(columns)
    world.all(store, content.encode(), format_=format_)
    text = read(store, f"out/in.{format_}").decode()
    (row,) = answers(store) if format_ == "csv" else [json.loads(text)]
    assert (row["input_answer"], row["input_input_answer"]) == ("first", "second")
    assert row["answer"] == answer_to("hard one")


def test_another_file_under_a_jobs_name_is_refused(world, store):
    world.plan(store, a_file("hard one"))
    with pytest.raises(BadRequest, match="another file"):
        world.plan(store, a_file("hard two"))


def test_a_job_is_gone_on_with_as_it_was_begun(world, store):
    content = a_file("hard one", "hard one")
    world.options = run.Options(dedupe=True)
    world.plan(store, content)
    world.options = run.Options()
    assert world.plan(store, content)["duplicate_rows"] == 1
    world.options = run.Options(dedupe=False)
    with pytest.raises(BadRequest, match="another dedupe"):
        world.plan(store, content)


def test_rows_that_were_decided_by_another_policy_are_sent_all_the_same(world, store):
    with pytest.raises(Crash):
        world.plan(Dying(store, "write requests/.*"), a_file("usual one", "hard two"))
    models = dict(world.policy.models)
    del models["claude-haiku-4.5"]
    world.policy = replace(world.policy, models=models)
    assert world.all(store, a_file("usual one", "hard two"))["statuses"] == {"succeeded": 2}


def test_a_model_that_is_called_as_at_an_aggregator_is_one_file_of_requests(world, store):
    models = dict(world.policy.models)
    models["openai/gpt-5"] = models.pop("gpt-5")
    world.policy = replace(world.policy, models=models, baseline="openai/gpt-5")
    content = a_file("hard one", "hard two", model=["openai/gpt-5"] * 2)
    plan = world.plan(store, content)
    assert [file["model"] for file in plan["files"]] == ["openai/gpt-5"]
    assert world.all(store, content)["statuses"] == {"succeeded": 2}


def test_json_lines_come_back_as_json_lines(world, store):
    lines = [{"id": "a", "prompt": "hard one", "tags": ["x"]}, {"prompt": 3}]
    world.all(store, b"\n".join(json.dumps(line).encode() for line in lines), format_="jsonl")
    first, second = map(json.loads, read(store, "out/in.jsonl").splitlines())
    assert (first["id"], first["answer"]) == ("a", answer_to("hard one"))
    assert first["tags"] == ["x"]
    assert (second["id"], second["status"]) == ("2", "invalid")


def test_a_tier_without_a_batch_endpoint_is_asked_in_real_time_and_the_summary_says_so(
    world, store
):
    with serve(aggregator_app("tokenmix", latency_scale=0)) as url:
        world.aggregators = {"tokenmix": f"{url}/v1"}
        summary = world.all(store, a_file(*[f"easy {n}" for n in range(250)], "hard one"))
    assert summary["statuses"] == {"succeeded": 251}
    assert summary["in_real_time"] == 250
    assert "250 rows were asked in real time" in summary["notes"][0]
    assert {row["model"] for row in answers(store)[:250]} == {"deepseek-v4-flash"}
    cheap = [event for event in events(store) if event["tier"] == "cheap"]
    assert {event["aggregator"] for event in cheap} == {"tokenmix"}


def test_a_key_that_no_aggregator_takes_stops_real_time_and_costs_no_row(world, store):
    with serve(aggregator_app("tokenmix", latency_scale=0)) as url:
        world.aggregators, world.key = {"tokenmix": f"{url}/v1"}, BAD_KEY
        world.plan(store, a_file("easy one", "easy two"))
        with pytest.raises(ProviderError, match="status_401"):
            world.ask(store)
        world.key = "k"
        world.ask(store)
    assert world.collect(store)["statuses"] == {"succeeded": 2}


def test_the_reason_for_real_time_is_true_of_a_missing_key_too(world, store):
    with serve(aggregator_app("openrouter", latency_scale=0)) as url:
        world.aggregators, world.keys = {"openrouter": f"{url}/v1"}, ()
        summary = world.all(store, a_file("hard one"))
    assert "no batch endpoint that has a key" in summary["notes"][0]


def test_without_an_aggregator_a_cheap_row_climbs_to_a_batch_endpoint(world, store):
    world.keys = ("openai",)
    world.all(store, a_file("easy one"))
    (row,) = answers(store)
    assert (row["model"], row["tier"]) == ("gpt-4o-mini", "mid")
    assert "climbed from cheap to mid" in events(store)[0]["reason"]


@pytest.mark.parametrize("name", ["tokenmix", "openrouter"])
def test_what_was_planned_for_all_aggregators_is_asked_of_those_with_a_key(world, store, name):
    with serve(aggregator_app(name, latency_scale=0)) as url:
        world.aggregators = {"openrouter": "", "tokenmix": ""}
        world.plan(store, a_file(*[f"easy {n}" for n in range(5)]))
        world.aggregators = {name: f"{url}/v1"}
        world.ask(store)
    assert world.collect(store)["statuses"] == {"succeeded": 5}


def test_what_no_aggregator_with_a_key_has_stops_the_job_with_the_reason(world, store):
    world.aggregators = {"openrouter": ""}
    world.plan(store, a_file("easy one"))
    world.aggregators = {"portkey": ""}
    with pytest.raises(NoAggregator, match="openrouter"):
        world.ask(store)
    assert store.keys("results/") == []


def test_a_job_in_a_bucket_is_the_same_job(world, aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="jobs")
    store = Bucket(s3, "jobs", "batch/in/")
    content = a_file(*PROMPTS[:60])
    with pytest.raises(Crash):
        world.all(Dying(store, "create submissions/openai-gpt-5-0000/000/batch.json"), content)
    summary = world.all(store, content)
    assert summary["statuses"] == {"succeeded": 60}
    assert asked_for(world).total() == 60
    assert [row["answer"] for row in answers(store)] == [answer_to(p) for p in PROMPTS[:60]]
