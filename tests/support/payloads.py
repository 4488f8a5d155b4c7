"""Payloads as they come from brokers: plain events, and whatever else a producer may send."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["payloads"]

HEAD = b'"specversion":"1.0","id":"1","source":"/a","type":"t"'
EVENT = b"{%s," % HEAD + b'"subject":"t%d","time":"2026-01-31T12:00:00.25Z","data":{"temperature":%s}}'

values = st.sampled_from(
    [
        b"1.5", b"-0", b"1e5", b"1e400", b"NaN", b"Infinity", b"-1E-400", b"9223372036854775808", b"9" * 400,
        b"null", b"true", b'"x"', b'"\\u0000"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xc3\xa9"', b'"\xff"',
        b'"\xed\xa0\x80"', b'"\x00"',
        b'{"a":[1,{"b":2}]}', b"[" * 70 + b"]" * 70, b"[" * 5000, b"01", b"1,}", b"1 ", b"\n1", b"1\r",
        b'1,"temperature":2', b'1,"pressure":2.5', b"'1'", b"0x10", b'"\xe2\x80\xa8"',
    ]
)  # fmt: skip
strange = st.sampled_from(
    [
        b"", b" ", b"\n", b"{", b"}", b"{}", b"[]", b"[{}]", b"null", b"1", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00",
        b"{}{}", b"{}\n{}", b"{}\n", b"\n{}", b"{\n}", b"{}\r\n", b"{}\x00", b"{\"a\":1}}", b"/* */ {}", b"{%s}" % HEAD,
        b"{%s,%s}" % (HEAD, HEAD), b'{"type":"gemel.unmapped"}', b"{" * 20_000,
    ]
)  # fmt: skip
plain = st.builds(lambda number: EVENT % (number, b"%d.5" % number), st.integers(0, 99))
twice = st.builds(lambda number: EVENT % (number, b"1") + EVENT % (number, b"2"), st.integers(0, 9))
spaced = st.builds(
    lambda before, one, after: before + one + after,
    st.sampled_from([b"", b" ", b"\n", b"\t", b"\r", b"\xef\xbb\xbf"]),
    plain,
    st.sampled_from([b"", b" ", b"\n", b","]),
)
odd = st.one_of(strange, twice, spaced, st.builds(lambda value: EVENT % (1, value), values))
payloads = st.one_of(st.lists(plain, max_size=5), st.lists(st.one_of(plain, plain, odd), max_size=6))
"""Lists of payloads: often all plain, and often with some that are not."""
