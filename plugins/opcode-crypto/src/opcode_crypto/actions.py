"""The actions. All are quick and wait for nothing, so they are plain functions that run where they are called."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import get_args

from opcode_crypto.encodings import read_bytes, write_bytes
from opcode_crypto.params import Algorithm, HashOutput, HashParams, HmacOutput, HmacParams, UuidOutput
from opcode_kernel import ActionContext, action

_DIGESTS = {name: getattr(hashlib, name) for name in get_args(Algorithm)}


@action("crypto.hash", summary="Digest a text", params=HashParams, output=HashOutput, effect="pure")
def hash_data(ctx: ActionContext, params: HashParams) -> HashOutput:
    """Return the digest of `data`."""
    data = read_bytes(params.data, params.data_encoding, name="data")
    # not for security: md5 and sha1 must stay available, also where the system library is in FIPS mode
    digest = _DIGESTS[params.algorithm](data, usedforsecurity=False).digest()
    return {"hash": write_bytes(digest, params.output_encoding), "algorithm": params.algorithm}


@action("crypto.hmac", summary="Sign a text with a shared secret", params=HmacParams, output=HmacOutput, effect="pure")
def sign(ctx: ActionContext, params: HmacParams) -> HmacOutput:
    """Return the HMAC of `data` under `key`."""
    data = read_bytes(params.data, params.data_encoding, name="data")
    key = read_bytes(params.key, "utf8", name="key")
    digest = hmac.digest(key, data, params.algorithm)
    return {"hmac": write_bytes(digest, params.output_encoding), "algorithm": params.algorithm}


# idempotent, not pure: a repetition is harmless, but what it answers differs
@action("crypto.uuid", summary="Make a random UUID, version 4", output=UuidOutput, effect="idempotent")
def new_uuid(ctx: ActionContext, params: None) -> UuidOutput:
    """Return a UUID that nobody has seen before."""
    return {"uuid": str(uuid.uuid4())}
