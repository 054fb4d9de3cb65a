"""The lengths of signatures, compared with real signatures of a library."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from webhook.token.signatures import is_complete

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS: dict[str, Any] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "a secret that is long enough" * 3),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA_KEY),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES256K": ec.generate_private_key(ec.SECP256K1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
EDWARDS: list[Any] = [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
SIGNED: dict[str, str] = {
    **{name: jwt.encode({"sub": "a"}, key, name) for name, key in KEYS.items()},
    **{f"EdDSA/{number}": jwt.encode({"sub": "a"}, key, "EdDSA") for number, key in enumerate(EDWARDS)},
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_real_signature_is_complete_and_one_that_was_cut_off_or_added_to_is_not(name: str) -> None:
    signature = SIGNED[name].rpartition(".")[2]
    algorithm = name.partition("/")[0]
    assert is_complete(signature, algorithm=algorithm)
    for cut in (1, 2, 3, 4, 10):
        assert not is_complete(signature[:-cut], algorithm=algorithm), cut
    for more in ("A", "AA", "AAA", "AAAA"):
        assert not is_complete(signature + more, algorithm=algorithm), more


def encoded(length: int) -> str:
    return urlsafe_b64encode(b"\x00" * length).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
@pytest.mark.parametrize(
    ("length", "complete"),
    [(192, False), (255, False), (256, True), (257, False), (320, True), (352, False), (384, True), (512, True)],
)
def test_a_signature_by_rsa_is_as_long_as_a_key(algorithm: str, length: int, *, complete: bool) -> None:
    assert is_complete(encoded(length), algorithm=algorithm) is complete


@pytest.mark.parametrize(
    ("algorithm", "lengths"), [("Ed25519", {64}), ("Ed448", {114}), ("EdDSA", {64, 114}), ("ES512", {132})]
)
def test_other_signatures_have_one_length_for_each_curve(algorithm: str, lengths: set[int]) -> None:
    assert {length for length in range(1, 200) if is_complete(encoded(length), algorithm=algorithm)} == lengths


@pytest.mark.parametrize("algorithm", ["", "none", "XX999"])
def test_of_another_algorithm_only_the_encoding_is_judged(algorithm: str) -> None:
    assert is_complete("abcd", algorithm=algorithm)
    assert is_complete("abc", algorithm=algorithm)
    assert not is_complete("abcde", algorithm=algorithm)
