"""What the digest actions take and answer. JSON schemas, checks and the reference come from these declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from opcode_kernel import FreeText, Param

Algorithm = Literal["sha256", "sha384", "sha512", "sha1", "md5"]
DataEncoding = Literal["utf8", "hex", "base64"]
OutputEncoding = Literal["hex", "base64", "base64url"]


@dataclass(frozen=True, slots=True)
class HashParams:
    """The parameters of `crypto.hash`."""

    data: Annotated[FreeText, Param("what to digest: text, or bytes written as data_encoding says")]
    algorithm: Annotated[Algorithm, Param("digest to use; sha1 and md5 only where others demand them")] = "sha256"
    data_encoding: Annotated[DataEncoding, Param("how data spells its bytes; utf8 means the text itself")] = "utf8"
    output_encoding: Annotated[OutputEncoding, Param("how to write the digest")] = "hex"


@dataclass(frozen=True, slots=True)
class HmacParams:
    """The parameters of `crypto.hmac`."""

    data: Annotated[FreeText, Param("what to sign: text, or bytes written as data_encoding says")]
    key: Annotated[str, Param("shared secret; its UTF-8 bytes are the key", min_length=1)]
    algorithm: Annotated[Algorithm, Param("digest to use; sha1 and md5 only where others demand them")] = "sha256"
    data_encoding: Annotated[DataEncoding, Param("how data spells its bytes; utf8 means the text itself")] = "utf8"
    output_encoding: Annotated[OutputEncoding, Param("how to write the code")] = "hex"


class HashOutput(TypedDict):
    """The output of `crypto.hash`."""

    hash: Annotated[str, Param("the digest, lower-case hex unless asked otherwise")]
    algorithm: Annotated[str, Param("the digest that was used")]


class HmacOutput(TypedDict):
    """The output of `crypto.hmac`."""

    hmac: Annotated[str, Param("the authentication code, lower-case hex unless asked otherwise")]
    algorithm: Annotated[str, Param("the digest that was used")]


class UuidOutput(TypedDict):
    """The output of `crypto.uuid`."""

    uuid: Annotated[str, Param("a random UUID, version 4, lower case")]
