"""What a server says beside the protocol: logged within a bound, masked, and its end kept."""

from __future__ import annotations

from typing import Any

from opcode_mcp_bridge.remarks import Remarks


class Host:
    """Masks one secret and remembers what was logged."""

    def __init__(self) -> None:
        self.log = self
        self.records: list[dict[str, Any]] = []

    def redact(self, text: str) -> str:
        return text.replace("canary", "***")

    def info(self, event: str, **fields: Any) -> None:
        self.records.append({"event": event, **fields})

    warning = info


def remarks(clock: list[float]) -> tuple[Remarks, Host]:
    host = Host()
    return Remarks(host, "p", lambda: clock[0]), host  # type: ignore[arg-type]


def test_lines_are_logged_whole_and_masked_however_they_arrive() -> None:
    kept, host = remarks([0.0])
    for chunk in (b"one can", b"ary\ntwo\n\n \n", b"\xff thr", b"ee\n", b"end"):
        kept.feed(chunk)
    assert [each["text"] for each in host.records] == ["one ***", "two", "\ufffd three"]
    assert kept.last_words() == "one *** / two / \ufffd three / end"
    assert kept.last_words() == "one *** / two / \ufffd three / end"


def test_the_words_of_an_earlier_life_are_forgotten_and_still_count_as_said() -> None:
    kept, host = remarks([0.0])
    kept.feed(b"old\n" * 40 + b"old without end")
    kept.begin()
    assert kept.last_words() == ""
    kept.feed(b"new\n" * 20)
    assert kept.last_words() == " / ".join(["new"] * 5)
    assert len(host.records) == 50, "the bound holds over all lives"


def test_more_than_fifty_lines_in_ten_seconds_are_counted_instead() -> None:
    clock = [0.0]
    kept, host = remarks(clock)
    kept.feed(b"".join(b"line %d\n" % n for n in range(1_000)))
    assert len(host.records) == 50
    clock[0] = 10.0
    kept.feed(b"later\n")
    assert host.records[50] == {
        "event": "external plugin says more than is logged", "plugin": "p", "left_out": 950,
    }  # fmt: skip
    assert host.records[51]["text"] == "later"
    assert kept.last_words().endswith("line 999 / later")


def test_a_line_without_end_takes_no_memory_and_no_secret_is_cut_before_it_is_masked() -> None:
    kept, host = remarks([0.0])
    for _ in range(100):
        kept.feed(b"x" * 65_536)
    kept.feed(b"\n" + b"y" * 1_997 + b"canary and more\n")
    assert [len(each["text"]) for each in host.records] == [2_000, 2_000]
    assert host.records[1]["text"].endswith("y***")
    assert len(kept.last_words()) == 403
