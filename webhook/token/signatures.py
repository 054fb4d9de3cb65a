"""The lengths that a signature can have, by its algorithm. A token that was cut off at its end has another length."""

from __future__ import annotations

_LENGTHS = {
    "HS256": {32},
    "HS384": {48},
    "HS512": {64},
    "ES256": {64},
    "ES256K": {64},
    "ES384": {96},
    "ES512": {132},
    "EdDSA": {64, 114},
    "Ed25519": {64},
    "Ed448": {114},
}
"""In bytes: RFC 7518, sections 3.2 and 3.4; RFC 8812, section 3.2; RFC 8032, sections 5.1 and 5.2 (for RFC 8037)."""
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_LEAST_RSA = 256
"""A signature by RSA is as long as its key; RFC 7518 (3.3, 3.5) requires at least 2048 bits."""
_RSA_STEP = 64
"""Real keys have a multiple of 512 bits: 2048, 3072, 4096, …"""


def is_complete(signature: str, *, algorithm: str) -> bool:
    """Return whether a signature, in base64url without padding, has a length that is possible for the algorithm.

    For an unknown algorithm, any length is accepted.
    """
    if len(signature) % 4 == 1:  # no number of bytes has an encoding of this length
        return False
    length = len(signature) * 3 // 4
    if algorithm in _RSA:
        return length >= _LEAST_RSA and length % _RSA_STEP == 0
    return length in _LENGTHS.get(algorithm, {length})
