"""What a job keeps: whole objects or none, and one winner of two who create."""

import io
import json

import boto3
import pytest

from fareway.batch.job import put_line
from fareway.batch.store import Bucket, Folder, read, write


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path)
    request.getfixturevalue("aws")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="kept")
    prefix = f"batch/{tmp_path.name}/"
    return Bucket(s3, "kept", prefix)


def test_what_was_written_is_read_and_listed(store):
    write(store, "rows/b.jsonl", b"two")
    write(store, "rows/a.jsonl", b"one")
    write(store, "plan.json", b"{}")
    assert store.keys("rows/") == ["rows/a.jsonl", "rows/b.jsonl"]
    assert store.keys("rows/b") == ["rows/b.jsonl"]
    assert read(store, "rows/b.jsonl") == b"two"
    with store.open("rows/a.jsonl") as file:
        assert [file.seek(1), file.read()] == [1, b"ne"]


def test_what_is_not_there_is_none_and_has_no_keys(store):
    assert read(store, "rows/a.jsonl") is None
    assert store.keys("rows/") == []


def test_an_object_whose_writing_failed_is_not_there_at_all(store):
    write(store, "out/a", b"old")

    def fail():
        with store.write("out/a") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read(store, "out/a") == b"old"
    assert store.keys("out/") == ["out/a"]


def test_of_two_who_create_a_key_the_first_wins(store):
    assert store.create("claims/1", b"first")
    assert not store.create("claims/1", b"second")
    assert read(store, "claims/1") == b"first"


def test_an_answer_that_is_no_unicode_is_kept_all_the_same():
    file = io.BytesIO()
    put_line(file, {"answer": "a \ud800 b"})
    assert json.loads(file.getvalue()) == {"answer": "a ? b"}
