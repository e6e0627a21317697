"""W3C Trace Context, level 1: what a header may be, and what goes on to the upstream."""

import pytest

from fareway.trace import Trace

ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FRESH = "f" * 32


def fixed(count: int) -> str:
    return "f" * count * 2


def trace(**headers: str) -> Trace:
    return Trace.of({k.replace("_", "-"): v for k, v in headers.items()}, fixed)


@pytest.mark.parametrize(
    ("traceparent", "sampled"),
    [
        pytest.param(f"00-{ID}-{PARENT}-01", True, id="sampled"),
        pytest.param(f"00-{ID}-{PARENT}-00", False, id="not sampled"),
        pytest.param(f"00-{ID}-{PARENT}-09", True, id="sampled and another flag"),
        pytest.param(f"00-{ID}-{PARENT}-fe", False, id="every other flag"),
        pytest.param(f" 00-{ID}-{PARENT}-01\t", True, id="space around"),
        pytest.param(f"01-{ID}-{PARENT}-01", True, id="a later version"),
        pytest.param(f"cc-{ID}-{PARENT}-01-what-comes-next", True, id="with more fields"),
        pytest.param(f"01-{ID}-{PARENT}-01-", True, id="with an empty field more"),
    ],
)
def test_a_valid_trace_goes_on_beneath_our_own_span(traceparent: str, sampled: bool) -> None:
    known = trace(traceparent=traceparent)
    assert (known.trace_id, known.sampled) == (ID, sampled)
    assert known.headers() == {"traceparent": f"00-{ID}-{'f' * 16}-0{int(sampled)}"}


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param("", id="none"),
        pytest.param("-", id="a dash"),
        pytest.param(f"ff-{ID}-{PARENT}-01", id="version ff"),
        pytest.param(f"0-{ID}-{PARENT}-01", id="short version"),
        pytest.param(f"0G-{ID}-{PARENT}-01", id="version is no hex"),
        pytest.param(f"00-{'0' * 32}-{PARENT}-01", id="trace id of zeros"),
        pytest.param(f"00-{ID}-{'0' * 16}-01", id="parent id of zeros"),
        pytest.param(f"00-{ID.upper()}-{PARENT}-01", id="upper-case trace id"),
        pytest.param(f"00-{ID}-{PARENT.upper()}-01", id="upper-case parent id"),
        pytest.param(f"00-{ID[:-1]}-{PARENT}-01", id="short trace id"),
        pytest.param(f"00-{ID}0-{PARENT}-01", id="long trace id"),
        pytest.param(f"00-{ID}-{PARENT[:-1]}-01", id="short parent id"),
        pytest.param(f"00-{ID}-{PARENT}-1", id="short flags"),
        pytest.param(f"00-{ID}-{PARENT}-0x", id="flags are no hex"),
        pytest.param(f"00-{ID}-{PARENT}", id="no flags"),
        pytest.param(f"00-{ID}-{PARENT}-01-more", id="version 00 has no more fields"),
        pytest.param(f"00-{ID}-{PARENT}-01-", id="nor an empty one"),
        pytest.param(f"01-{ID}-{PARENT}-01.more", id="a later version without the dash"),
        pytest.param(f"00-{ID}\n-{PARENT}-01", id="a line break"),
        pytest.param(f"00_{ID}_{PARENT}_01", id="other delimiters"),
        pytest.param(f"00-{ID}-{PARENT}-01,00-{ID}-{PARENT}-01", id="sent twice"),
        pytest.param("００-" + f"{ID}-{PARENT}-01", id="digits, but not ASCII"),
    ],
)
def test_an_invalid_trace_is_as_none_and_takes_its_state_along(traceparent: str) -> None:
    begun = trace(traceparent=traceparent, tracestate="congo=t61rcWkgMzE")
    assert begun.headers() == {"traceparent": f"00-{FRESH}-{'f' * 16}-00"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param("congo=t61rcWkgMzE", "congo=t61rcWkgMzE", id="one"),
        pytest.param("rojo=1 , \t congo=2", "rojo=1,congo=2", id="two, with space"),
        pytest.param("a=1,,b=2,", "a=1,b=2", id="empty members"),
        pytest.param("0t-_*/@x=a b~!", "0t-_*/@x=a b~!", id="every character"),
        pytest.param("", None, id="empty"),
        pytest.param(" , ", None, id="nothing in it"),
        pytest.param("Congo=1", None, id="upper-case key"),
        pytest.param("a=1,b", None, id="a member without a value"),
        pytest.param("a=1=2", None, id="an equals sign in a value"),
        pytest.param("a=\x7f", None, id="a control character"),
        pytest.param("a=é", None, id="not ASCII"),
        pytest.param(",".join(f"k{n}=1" for n in range(33)), None, id="33 members"),
        pytest.param(
            ",".join(["a=1", "b=" + "x" * 250, "c=" + "y" * 250, "d=4", "e=" + "z" * 20]),
            f"a=1,d=4,e={'z' * 20}",
            id="too long: the long ones go first",
        ),
        pytest.param(
            ",".join(f"k{n}={'x' * 60}" for n in range(9)),
            ",".join(f"k{n}={'x' * 60}" for n in range(8)),
            id="and then the last",
        ),
    ],
)
def test_the_callers_state_goes_along_member_by_member(given: str, sent: str | None) -> None:
    known = trace(traceparent=f"00-{ID}-{PARENT}-01", tracestate=given)
    assert known.trace_id == ID
    assert known.headers().get("tracestate") == sent


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        ("Root=1-0af76519-16cd43dd8448eb211c80319c", ID),
        (f"Root=1-0af76519-16cd43dd8448eb211c80319c;Parent={PARENT};Sampled=1", ID),
        ("Self=1-00000000-1;Root=1-0af76519-16cd43dd8448eb211c80319c", ID),
        ("Root=2-0af76519-16cd43dd8448eb211c80319c", FRESH),
        ("Root=1-0af76519-16cd43dd8448eb211c80319c0", FRESH),
        ("NoRoot=1-0af76519-16cd43dd8448eb211c80319c", FRESH),
    ],
)
def test_without_one_api_gateways_trace_is_taken(header: str, trace_id: str) -> None:
    assert trace(x_amzn_trace_id=header).trace_id == trace_id
    other = f"00-{'1' * 32}-{PARENT}-01"
    assert trace(x_amzn_trace_id=header, traceparent=other).trace_id == "1" * 32


def test_every_new_trace_is_another() -> None:
    assert len({Trace.new().trace_id for _ in range(50)}) == 50
