import pytest

from opcode_fs.content import decode_content, encode_content, parse_mode
from opcode_kernel import ActionError


def test_text_that_is_not_utf8_fails_with_the_offset():
    with pytest.raises(ActionError) as caught:
        decode_content(b"caf\xe9", "text", cut=False)
    assert (caught.value.code, caught.value.retryable, caught.value.details) == (
        "EXECUTION_ERROR",
        False,
        {"offset": 3},
    )


def test_auto_falls_back_to_base64_for_what_is_not_utf8():
    assert decode_content(b"caf\xe9", "auto", cut=False) == ("Y2Fm6Q==", "base64", 4)


def test_auto_takes_base64_for_an_early_nul_and_not_for_a_late_one():
    assert decode_content(b"a\0", "auto", cut=False)[1] == "base64"
    assert decode_content(b"a" * 8192 + b"\0", "auto", cut=False)[1] == "text"


def test_a_character_cut_in_half_is_left_out_of_cut_data_only():
    assert decode_content("é€".encode()[:4], "auto", cut=True) == ("é", "text", 2)
    assert decode_content("é€".encode()[:4], "auto", cut=False)[1] == "base64"


def test_base64_that_is_none_is_refused():
    with pytest.raises(ActionError, match="content: expected base64"):
        encode_content("not base64!", "base64")


def test_base64_may_have_line_breaks():
    assert encode_content("AAEC\n/w==\n", "base64") == b"\x00\x01\x02\xff"


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert encode_content("a\ud800", "text") == "a\ufffd".encode()


@pytest.mark.parametrize("mode", ["420", "644", "0999", "", "0o", "04755", 0o4755, 0o1777, 512, -1, "0x1f"])
def test_a_mode_that_is_unclear_or_has_set_id_bits_is_refused(mode):
    with pytest.raises(ActionError, match="mode: expected"):
        parse_mode(mode)


@pytest.mark.parametrize(("mode", "bits"), [(420, 0o644), ("0644", 0o644), ("0o600", 0o600), (0, 0)])
def test_a_mode_is_a_number_or_octal_text(mode, bits):
    assert parse_mode(mode) == bits
