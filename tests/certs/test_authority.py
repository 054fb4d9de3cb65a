from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certs.authority import PROPAGATION, Authority, UnreadableAuthorityError, advance, rotate, split_bundle
from certs.issue import KeyPair, issue_ca, issue_leaf

START = datetime(2026, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(days=30)


def ca(now: datetime = START) -> KeyPair:
    return issue_ca(common_name="a CA", lifetime=LIFETIME, now=now)


def step(authority: Authority | None, now: datetime, published: bytes | None = None) -> Authority:
    if published is None:
        published = authority.bundle(now) if authority else b""
    return advance(authority, published=published, common_name="a CA", lifetime=LIFETIME, now=now)


def test_the_first_ca_signs_at_once() -> None:
    made = step(None, START)
    assert made.next is None
    assert split_bundle(made.bundle(START)) == [made.current.certificate_pem]


def test_a_lost_authority_is_replaced_and_its_trusted_cas_stay_trusted() -> None:
    old = ca()
    made = step(None, START, old.certificate_pem)
    assert split_bundle(made.bundle(START)) == [made.current.certificate_pem, old.certificate_pem]


def test_only_trusted_cas_that_have_not_expired_stay_trusted() -> None:
    ended, other = ca(), ca(START + timedelta(hours=1))
    made = step(None, START + LIFETIME, ended.certificate_pem + other.certificate_pem)
    assert made.previous == (other.certificate_pem,)


def test_a_distrusted_ca_is_not_trusted_again_when_the_authority_has_ended() -> None:
    leaked = ca(START + timedelta(days=1)).certificate_pem
    ended = Authority(current=ca(), previous=(leaked,), distrusted=frozenset({leaked}))
    assert step(ended, START + LIFETIME, leaked).previous == ()


def test_a_distrusted_ca_has_a_successor_at_once() -> None:
    leaked = ca()
    authority = Authority(current=leaked, distrusted=frozenset({leaked.certificate_pem}))
    assert step(authority, START + timedelta(days=1)).next is not None


def test_a_young_ca_is_left_alone() -> None:
    authority = Authority(current=ca())
    assert step(authority, START + timedelta(days=19)) is authority


def test_a_successor_is_made_in_time_and_published_before_it_signs() -> None:
    authority = Authority(current=ca())
    now = START + timedelta(days=20)
    renewed = step(authority, now)
    assert renewed.next is not None
    assert renewed.current == authority.current
    assert renewed.next.certificate_pem in split_bundle(renewed.bundle(now))


def test_a_successor_signs_when_it_has_been_trusted_long_enough_and_not_before() -> None:
    now = START + timedelta(days=20)
    renewed = step(Authority(current=ca()), now)
    assert step(renewed, now + PROPAGATION / 2) is renewed
    assert step(renewed, now + PROPAGATION, b"") is renewed
    promoted = step(renewed, now + PROPAGATION)
    assert promoted.current == renewed.next
    assert promoted.previous == (renewed.current.certificate_pem,)


def test_a_successor_that_is_made_late_signs_after_half_of_the_time_that_is_left() -> None:
    """A CA that most clients trust is better than one that has expired."""
    now = START + LIFETIME - timedelta(seconds=40)
    renewed = step(Authority(current=ca()), now)
    assert step(renewed, now + timedelta(seconds=19)) is renewed
    assert step(renewed, now + timedelta(seconds=20)).current == renewed.next


def test_a_successor_that_could_not_be_published_signs_when_its_predecessor_has_expired() -> None:
    renewed = step(Authority(current=ca()), START + timedelta(days=20))
    assert step(renewed, START + LIFETIME, b"").current == renewed.next


@pytest.mark.parametrize("successor", [None, ca()], ids=["alone", "with a successor that has ended too"])
@pytest.mark.parametrize("after", [timedelta(0), timedelta(days=271)], ids=["in that moment", "long ago"])
def test_an_expired_authority_is_replaced_immediately(successor: KeyPair | None, after: timedelta) -> None:
    now = START + LIFETIME + after
    ended, other = Authority(current=ca(), next=successor), ca(now - timedelta(days=1))
    made = step(ended, now, ended.current.certificate_pem + other.certificate_pem)
    assert made.current not in {ended.current, ended.next}
    assert made.next is None
    assert made.previous == (other.certificate_pem,)


def test_a_predecessor_is_trusted_until_it_expires_but_its_key_is_deleted() -> None:
    promoted = step(step(Authority(current=ca()), START + timedelta(days=20)), START + timedelta(days=21))
    assert len(split_bundle(promoted.bundle(START + timedelta(days=29)))) == 2
    assert split_bundle(promoted.bundle(START + LIFETIME)) == [promoted.current.certificate_pem]
    assert step(promoted, START + LIFETIME).previous == ()
    assert sum(name.endswith(".key") for name in promoted.to_data()) == 1


def test_after_a_loss_the_remembered_ca_goes_on_signing_until_its_successor_is_trusted() -> None:
    remembered = ca()
    authority = rotate(remembered, common_name="a CA", lifetime=LIFETIME, now=START)
    assert authority.current == remembered
    assert step(authority, START + PROPAGATION).current == authority.next


def test_what_is_stored_is_read_back_the_same() -> None:
    authority = Authority(current=ca(), next=ca(), previous=(ca().certificate_pem, ca().certificate_pem))
    assert Authority.from_data(authority.to_data()) == authority


def _leaf(signer: KeyPair) -> KeyPair:
    return issue_leaf(signer, dns_names=["x"], lifetime=LIFETIME, now=START)


GOOD = Authority(current=ca(), next=ca()).to_data()


@pytest.mark.parametrize(
    ("spoiled", "problem"),
    [
        ({"ca.crt": b""}, "ca.crt is missing"),
        ({"ca.crt": b"rubbish"}, "not a CA in PEM"),
        ({"ca.key": b"rubbish"}, "not a CA in PEM"),
        ({"ca.key": b""}, "not a CA in PEM"),
        ({"ca.key": ca().private_key_pem}, "ca.key does not belong to ca.crt"),
        ({"next.key": ca().private_key_pem}, "next.key does not belong to next.crt"),
        ({"ca.crt": (pair := _leaf(ca())).certificate_pem, "ca.key": pair.private_key_pem}, "not the certificate of"),
    ],
)
def test_rubbish_is_refused_with_what_is_wrong_and_no_key(spoiled: dict[str, bytes], problem: str) -> None:
    with pytest.raises(UnreadableAuthorityError, match=problem) as caught:
        Authority.from_data({**GOOD, **spoiled})
    assert "PRIVATE" not in str(caught.value)


def test_rubbish_in_a_bundle_is_left_out() -> None:
    assert split_bundle(b"rubbish") == []


def test_the_bundle_holds_each_certificate_once_and_nothing_else() -> None:
    current, other = ca(), ca()
    authority = Authority(current=current, previous=(current.certificate_pem, other.certificate_pem))
    assert authority.bundle(START) == current.certificate_pem + other.certificate_pem


def foreign_ca(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, identified: bool = True) -> dict[str, bytes]:
    """Return a CA that somebody else has made and stored, with or without the identifier of its key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "theirs")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), START, START + LIFETIME
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if identified:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return {
        "ca.crt": builder.sign(key, hashes.SHA256()).public_bytes(pem),
        "ca.key": key.private_bytes(pem, pkcs8, serialization.NoEncryption()),
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (foreign_ca(rsa.generate_private_key(65537, 2048)), "ca.key is not an elliptic curve key"),
        (foreign_ca(ec.generate_private_key(ec.SECP256R1()), identified=False), "not a CA in PEM"),
    ],
    ids=["an RSA key", "no identifier of its key"],
)
def test_a_ca_that_leaves_cannot_be_issued_with_is_refused(data: dict[str, bytes], problem: str) -> None:
    with pytest.raises(UnreadableAuthorityError, match=problem):
        Authority.from_data(data)


def test_a_ca_that_somebody_else_has_made_can_sign() -> None:
    authority = Authority.from_data(foreign_ca(ec.generate_private_key(ec.SECP384R1())))
    assert _leaf(authority.current).certificate_pem


@pytest.mark.parametrize("name", ["ca.key", "next.key"])
def test_a_certificate_without_its_key_is_refused(name: str) -> None:
    with pytest.raises(UnreadableAuthorityError, match="not a CA in PEM"):
        Authority.from_data({entry: content for entry, content in GOOD.items() if entry != name})


@pytest.mark.parametrize("since", [b"2026-01-01T00:00:00", b"yesterday", b"\xff", b""])
def test_a_time_that_cannot_be_read_or_has_no_zone_counts_as_absent(since: bytes) -> None:
    assert Authority.from_data({**GOOD, "since": since}).since is None
    assert Authority.from_data({**GOOD, "since": b"2026-01-01T00:00:00+00:00"}).since == START


def test_of_several_previous_cas_only_those_that_have_ended_are_dropped() -> None:
    ended, alive = ca(START - timedelta(days=29)).certificate_pem, ca(START).certificate_pem
    leaked = ca(START)
    now = START + timedelta(days=2)
    authority = Authority(
        current=ca(now), next=leaked, previous=(alive, ended), distrusted=frozenset({leaked.certificate_pem, ended})
    )
    left = step(authority, now)
    assert left.previous == (alive,)
    # the next one is still distrusted; the one that is gone is no longer listed
    assert left.distrusted == {leaked.certificate_pem}


def test_a_previous_ca_is_dropped_one_lifetime_after_its_successor_was_issued() -> None:
    """Counted from when it was issued, not from its not-before, which is an hour earlier."""
    long_lived = issue_ca(common_name="a CA", lifetime=10 * LIFETIME, now=START)
    successor = ca(START + timedelta(days=1))
    follower = ca(START + timedelta(days=20))
    authority = Authority(
        current=follower, previous=(successor.certificate_pem, long_lived.certificate_pem), since=START
    )
    end = START + timedelta(days=1) + LIFETIME
    assert long_lived.certificate_pem in step(authority, end - timedelta(minutes=1)).previous
    assert long_lived.certificate_pem not in step(authority, end).previous


def test_bundles_are_stored_as_certificates_one_after_another_and_nothing_else() -> None:
    first, second = ca().certificate_pem, ca().certificate_pem
    data = Authority(current=ca(), previous=(first, second), distrusted=frozenset({first, second})).to_data()
    assert data["previous.crt"] == first + second
    assert data["distrusted.crt"] == b"".join(sorted((first, second)))
