"""A hostile file: what breaks is told with its line, and the rest go on."""

import csv
import io
import json

import pytest

from fareway.batch.records import MAX_CELL
from fareway.batch.rows import read
from fareway.body import MAX_BODY_BYTES
from fareway.errors import BadRequest


def rows(content, format_="csv"):
    data = content.encode() if isinstance(content, str) else content
    return list(read(io.BytesIO(data), format_)[1])


def told(content, format_="csv"):
    """(line, id, the last turn or the fault) of each row."""
    return [
        (row.line, row.id, row.fault or row.messages[-1]["content"])
        for row in rows(content, format_)
    ]


def test_quotes_commas_and_newlines_in_cells_are_read_as_they_were_meant():
    content = 'id,prompt\r\n1,"say ""hi"", please"\r\n2,"two\r\nlines, one cell"\r\n\r\n3,plain\r\n'
    assert told(content) == [
        (2, "1", 'say "hi", please'),
        (3, "2", "two\r\nlines, one cell"),
        (6, "3", "plain"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column():
    assert told(b"\xef\xbb\xbfprompt,id\nhi,a\n") == [(2, "a", "hi")]
    assert told(b'\xef\xbb\xbf{"prompt": "hi"}\n', "jsonl") == [(1, "1", "hi")]


def test_a_row_in_latin_1_is_told_by_its_byte_and_the_next_is_read():
    first, second = told(b"id,prompt\n1,caf\xe9\n2,ok\n")
    assert first[:2] == (2, "1")
    assert "not UTF-8" in first[2]
    assert "0xe9" in first[2]
    assert second == (3, "2", "ok")


def test_a_cell_of_two_megabytes_costs_its_own_row():
    big = "x" * 2_000_000
    one, two = told(f"id,prompt\n1,{big}\n2,ok\n")
    assert one[:2] == (2, "1")
    assert f"{MAX_CELL:,} characters" in one[2]
    assert two == (3, "2", "ok")


def test_a_value_of_two_megabytes_costs_its_own_line():
    one, two = told(json.dumps({"prompt": "x" * 2_000_000}) + '\n{"prompt": "ok"}\n', "jsonl")
    assert f"{MAX_CELL:,} characters" in one[2]
    assert two == (2, "2", "ok")


@pytest.mark.parametrize("broken", [b"3,caf\xe9", b"3,a,b", b'"3,a', b"3", b",a", b'"3"x,a'])
def test_a_broken_row_is_never_told_under_another_rows_id(broken):
    """The file's ids begin at 1, its rows at line 2."""
    ids = [row.id for row in rows(b"id,prompt\n1,a\n2,b\n" + broken + b"\n4,c\n")]
    assert ids[:2] + ids[3:] == ["1", "2", "4"]
    assert ids[2] in ("3", "")


def test_a_file_without_ids_has_its_lines_for_ids():
    assert [row.id for row in rows(b"prompt\na\n\xe9\nb\n")] == ["2", "3", "4"]


@pytest.mark.parametrize("quoted", [True, False])
def test_a_line_of_fifty_megabytes_costs_its_own_row(quoted):
    cell = b"x" * 50_000_000
    cell = b'"' + cell + b'"' if quoted else cell
    one, two = told(b"id,prompt\n1," + cell + b"\n2,ok\n")
    assert one[0] == 2
    assert f"{MAX_BODY_BYTES:,} bytes" in one[2]
    assert two == (3, "2", "ok")


def test_a_quoted_cell_of_many_long_lines_costs_its_own_row():
    lines = b"\n".join([b"5,not a row"] * 600_000)
    one, two = told(b'id,prompt\n1,"' + lines + b'"\n2,ok\n')
    assert (one[0], two) == (2, (600_002, "2", "ok"))


@pytest.mark.parametrize("filler", [3, 600_000])
def test_a_quote_that_nothing_closes_costs_its_own_line(filler):
    content = 'id,prompt\n1,"never closed\n' + "".join(f"{n},ok\n" for n in range(filler))
    found = rows(content)
    assert found[0].line == 2
    assert found[0].fault
    assert len(found) == 1 + filler
    assert all(row.messages for row in found[1:])


def test_a_row_with_too_few_or_too_many_cells_is_told():
    one, two, three = told("id,prompt,note\n1,hi\n2,hi,n,more\n3,hi,n\n")
    assert "2 cells, and the header has 3" in one[2]
    assert "4 cells" in two[2]
    assert three == (4, "3", "hi")


@pytest.mark.parametrize("content", ["", "\n", "name,age\nx,3\n", "id;prompt\n1;hi\n"])
def test_a_file_without_prompts_is_refused_as_a_whole(content):
    with pytest.raises(BadRequest):
        rows(content)


def test_a_blank_cell_of_messages_leaves_the_prompt():
    (row,) = rows('messages,prompt\n"  ",hi\n')
    assert row.messages == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("twice", ["prompt,Prompt", "prompt,id,ID"])
def test_two_columns_of_one_meaning_are_refused(twice):
    with pytest.raises(BadRequest, match="Two columns"):
        rows(f"{twice}\na,b,c\n")


def test_utf_16_is_refused_with_what_to_do():
    with pytest.raises(BadRequest, match="save it as UTF-8"):
        rows("prompt\nhi\n".encode("utf-16"))


def test_a_header_alone_has_no_rows():
    assert rows("id,prompt\n") == []


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ("", "no prompt"),
        ("[", "not JSON"),
        ("[]", "no prompt"),
        ('"text"', "messages"),
        ('[{"role": "king", "content": "x"}]', "messages[0].role"),
        ('[{"role": "user"}]', "messages[0].content"),
        ("[" * 100_000, "nested"),
        ('[{"role": "user", "content": "x", "weight": NaN}]', "NaN"),
        ('[{"role": "user", "content": "x", "weight": -1e400}]', "Infinity"),
    ],
)
def test_malformed_messages_are_told(cell, word):
    file = io.StringIO()

    csv.writer(file).writerows(
        [["id", "messages"], ["1", cell], ["2", '[{"role":"user","content":"ok"}]']]
    )
    broken, sound = rows(file.getvalue())
    assert word in broken.fault
    assert sound.messages == [{"role": "user", "content": "ok"}]


@pytest.mark.parametrize(
    ("column", "cell"),
    [("max_tokens", "0"), ("max_tokens", "many"), ("max_tokens", "1.5"), ("model", "fareway/best"),
     ("model", "two words")],
)  # fmt: skip
def test_a_faulty_option_is_told(column, cell):
    (row,) = rows(f"prompt,{column}\nhi,{cell}\n")
    assert column.split("_")[0] in row.fault.lower()


def test_system_limit_and_model_come_from_their_columns_and_the_rest_is_carried():
    (row,) = rows("Prompt,system,max_tokens,model,Team\nhi,Be brief.,50,fareway/mid,red\n")
    assert row.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert (row.max_tokens, row.model, row.carried) == (50, "fareway/mid", {"Team": "red"})


def test_jsonl_lines_that_break_are_told_and_the_rest_go_on():
    lines = [
        b'{"id": 7, "prompt": "hi", "note": [1]}',
        b"{broken",
        b"",
        b'["a list"]',
        b'{"prompt": "caf\xe9"}',
        b'{"prompt": NaN}',
        b'{"prompt": "hi", "note": 1e400}',
        b'{"prompt": "\\ud800"}',
        b"[" * 100_000,
        json.dumps({"messages": [{"role": "user", "content": "ok"}]}).encode(),
    ]
    found = rows(b"\n".join(lines), "jsonl")
    assert [(row.line, bool(row.fault)) for row in found] == [
        (1, False), (2, True), (4, True), (5, True), (6, True), (7, True), (8, True), (9, True),
        (10, False),
    ]  # fmt: skip
    assert (found[0].id, found[0].carried) == ("7", {"note": [1]})
