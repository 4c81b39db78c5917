from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any

import pytest

from opcode_crypto import actions
from opcode_kernel import ActionError, DefinitionError
from opcode_kernel.testing import call

pytestmark = pytest.mark.anyio

HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
HELLO_HMAC = "88aab3ede8d3adf94d26ab90d3bafd4a2083070c3bcce9c014ee04a443847c0b"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    "params",
    [
        {},
        None,
        {"data": "x", "algorithm": "SHA256"},
        {"data": "x", "algorithm": 256},
        {"data": "x", "data_encoding": "latin1"},
        {"data": "x", "output_encoding": "HEX"},
        "data",
    ],
)
async def test_hash_refuses_missing_data_and_unknown_names(params: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        await call(actions.hash_data, params)
    assert caught.value.code == "VALIDATION_ERROR"
    assert not caught.value.retryable


@pytest.mark.parametrize("params", [{"data": "x"}, {"data": "x", "key": ""}, {"data": "x", "key": None}, {"key": "k"}])
async def test_hmac_refuses_a_missing_or_empty_key(params: Any) -> None:
    with pytest.raises(DefinitionError):
        await call(actions.sign, params)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("abc", "hex"), ("zz", "hex"), ("é0", "hex"), ("a b", "base64"), ("YQ", "base64"), ("_-==", "base64"),
     ("é", "base64"), ("\ud800", "utf8")],
)  # fmt: skip
async def test_data_that_breaks_its_encoding_is_refused_without_being_quoted(text: str, encoding: str) -> None:
    with pytest.raises(ActionError, match="data: expected") as caught:
        await call(actions.hash_data, {"data": text, "data_encoding": encoding})
    assert caught.value.code == "VALIDATION_ERROR"
    assert text not in caught.value.message


async def test_key_outside_unicode_is_refused() -> None:
    with pytest.raises(ActionError, match="key: expected"):
        await call(actions.sign, {"data": "x", "key": "\udfff"})


async def test_hash_of_a_text_is_lower_case_sha256_by_default() -> None:
    assert await call(actions.hash_data, {"data": "hello"}) == {"hash": HELLO_SHA256, "algorithm": "sha256"}


async def test_hash_of_an_empty_text_is_allowed() -> None:
    assert (await call(actions.hash_data, {"data": ""}))["hash"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512", "sha1", "md5"])
async def test_every_algorithm_agrees_with_the_standard_library(name: str) -> None:
    output = await call(actions.hash_data, {"data": "grüße", "algorithm": name})
    assert output == {"hash": hashlib.new(name, "grüße".encode()).hexdigest(), "algorithm": name}


async def test_null_and_objects_are_digested_as_their_canonical_text() -> None:
    assert (await call(actions.hash_data, {"data": None}))["hash"] == hashlib.sha256(b"null").hexdigest()
    assert (await call(actions.hash_data, {"data": {"k": [1, 2.0]}}))["hash"] == (
        hashlib.sha256(b'{"k":[1,2]}').hexdigest()
    )


@pytest.mark.parametrize(("text", "encoding"), [("68656c6c6F", "hex"), ("aGVsbG8=", "base64"), ("hello", "utf8")])
async def test_the_same_bytes_digest_alike_however_they_are_spelt(text: str, encoding: str) -> None:
    assert (await call(actions.hash_data, {"data": text, "data_encoding": encoding}))["hash"] == HELLO_SHA256


async def test_output_can_be_base64_or_unpadded_base64url() -> None:
    raw = bytes.fromhex(HELLO_SHA256)
    params = {"data": "hello", "output_encoding": "base64"}
    assert (await call(actions.hash_data, params))["hash"] == base64.b64encode(raw).decode()
    params["output_encoding"] = "base64url"
    assert (await call(actions.hash_data, params))["hash"] == base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def test_hmac_matches_the_published_vector() -> None:
    output = await call(actions.sign, {"data": "hello", "key": "secret"})
    assert output == {"hmac": HELLO_HMAC, "algorithm": "sha256"}


async def test_hmac_matches_rfc_2202_for_the_old_digests() -> None:
    params = {"data": "what do ya want for nothing?", "key": "Jefe", "algorithm": "md5"}
    assert (await call(actions.sign, params))["hmac"] == "750c783e6ab0b503eaa86e310a5db738"
    params["algorithm"] = "sha1"
    assert (await call(actions.sign, params))["hmac"] == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"


async def test_uuid_is_a_new_version_4_each_time_with_and_without_params() -> None:
    first, second = (await call(actions.new_uuid))["uuid"], (await call(actions.new_uuid, {"x": 1}))["uuid"]
    assert first != second
    assert uuid.UUID(first).version == 4
    assert first == first.lower()


def test_declarations_tell_the_engine_what_a_repetition_costs() -> None:
    assert [a.effect for a in (actions.hash_data, actions.sign, actions.new_uuid)] == ["pure", "pure", "idempotent"]
    assert all(a.inline and a.breaker is None for a in (actions.hash_data, actions.sign, actions.new_uuid))
