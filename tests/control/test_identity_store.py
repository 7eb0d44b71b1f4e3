"""Identities in the store, on both databases: names, roles, revocations, keys, and the first identities of a cloud."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import msgspec
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict, Unauthenticated, Unavailable
from holdfast.base.limits import KEYS_LOOK_S, TOKEN_KEYS_KEPT, TOKEN_LIFETIME_S
from holdfast.control.operations.identity.authority import Authority, credentials_for
from holdfast.control.operations.identity.bootstrap import Bootstrapped, identity_bootstrap, project_new
from holdfast.control.operations.identity.changes import domain_remove, project_change, user_change, user_remove
from holdfast.control.operations.identity.keys import Keyring, keys_prepare
from holdfast.control.operations.identity.login import (
    DomainRef,
    Identity,
    Login,
    PasswordMethod,
    UserRef,
)
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.identity.credentials import ec2_credential_insert, ec2_credential_list
from holdfast.control.store.identity.identity import (
    noun_insert,
    project_by_name,
    project_fetch,
    user_fetch,
    user_list,
)
from holdfast.control.store.identity.roles import (
    assignment_add,
    assignment_list,
    revocation_mark,
    revocation_prune,
    revoke,
    roles_held,
)
from holdfast.control.store.identity.sealing_key import sealing_key, sealing_keys
from holdfast.domain.identity import DEFAULT_DOMAIN, Actor, Assignment, Ec2Credential, Target
from tests.conftest import PASSWORDS, HeldClock, password_hashes


def bootstrap(store: Database) -> Bootstrapped:
    return store.write(lambda tx: identity_bootstrap(tx, password_hashes()))


def login(user: str, password: str) -> Login:
    """An unscoped login by name."""
    named = UserRef(name=user, domain=DomainRef(id=DEFAULT_DOMAIN), password=password)
    return Login(Identity(["password"], password=PasswordMethod(named)), "unscoped")


def test_bootstrap_again_changes_and_revokes_nothing(store: Database) -> None:
    first = bootstrap(store)
    before = store.read(lambda tx: (user_list(tx), assignment_list(tx), revocation_mark(tx, [])))
    other = dict.fromkeys(PASSWORDS, "scrypt$16384$8$5$AAAA$AAAA")
    assert store.write(lambda tx: identity_bootstrap(tx, other)) == first
    assert store.read(lambda tx: (user_list(tx), assignment_list(tx), revocation_mark(tx, []))) == before


def test_eight_bootstraps_at_once_make_one_cloud(store: Database) -> None:
    found: list[Bootstrapped] = []
    failures: list[Exception] = []

    def work() -> None:
        while True:
            try:
                found.append(bootstrap(store))
                return
            except Unavailable:
                continue
            except Exception as err:
                failures.append(err)
                return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(found) == 8
    assert found.count(found[0]) == 8
    assert [user.name for user in store.read(user_list)] == ["admin", "demo"]


def test_the_first_users_have_their_roles(store: Database) -> None:
    known = bootstrap(store)

    def roles(user_id: str, project_id: str) -> frozenset[str]:
        return store.read(lambda tx: credentials_for(tx, user_id, project_id)).roles

    everything = {"admin", "manager", "member", "reader"}
    assert roles(known.admin_user_id, known.admin_project_id) == everything
    assert roles(known.admin_user_id, known.demo_project_id) == everything
    assert roles(known.demo_user_id, known.demo_project_id) == {"member", "reader"}
    with pytest.raises(Unauthenticated):
        roles(known.demo_user_id, known.admin_project_id)
    system = store.read(lambda tx: roles_held(tx, known.admin_user_id, Target.SYSTEM))
    assert [name for _, name, held in system if held] == ["admin"]


def test_a_name_is_unique_in_its_domain_only(store: Database) -> None:
    bootstrap(store)

    def add(domain_id: str, name: str, project_id: str) -> None:
        store.write(lambda tx: noun_insert(tx, project_new(project_id, domain_id, name, "", tx.now_us)))

    add("", "other", "d2")
    add("d2", "demo", "p2")
    with pytest.raises(Conflict, match="Duplicate entry found with name demo at domain ID default"):
        add(DEFAULT_DOMAIN, "demo", "p3")
    with pytest.raises(Conflict, match="name Default"):
        add("", "Default", "d3")
    assert store.read(lambda tx: project_by_name(tx, "d2", "demo")) == store.read(lambda tx: project_fetch(tx, "p2"))


def test_inherited_roles_hold_in_every_project_below_and_not_at_the_top(store: Database) -> None:
    known = bootstrap(store)

    def grow(tx: Tx) -> None:
        below = [(DEFAULT_DOMAIN, "a"), ("a", "b"), ("b", "c")]
        for parent, name in below:
            new = project_new(name, DEFAULT_DOMAIN, name, "", tx.now_us)
            noun_insert(tx, msgspec.structs.replace(new, parent_id=parent))
        role = known.role_ids["service"]
        assignment_add(tx, Assignment(Actor.USER, known.demo_user_id, Target.PROJECT, "a", role, inherited=True))

    store.write(grow)

    def held(project_id: str) -> set[str]:
        rows = store.read(lambda tx: roles_held(tx, known.demo_user_id, Target.PROJECT, project_id))
        return {name for _, name, has in rows if has}

    assert held("b") == held("c") == {"service"}
    assert held("a") == {"service"}  # as in Keystone: the project that carries it and all below
    assert held(known.demo_project_id) == {"member"}


def test_revocations_only_grow_also_after_old_ones_were_forgotten(store: Database, clock: HeldClock) -> None:
    store.write(lambda tx: revoke(tx, ["user:a"]))
    store.write(lambda tx: revoke(tx, ["user:b", "project:p"]))
    mark = store.read(lambda tx: revocation_mark(tx, ["user:a", "user:b"]))
    assert store.read(lambda tx: revocation_mark(tx, ["user:a"])) < mark
    assert store.read(lambda tx: revocation_mark(tx, ["user:nobody"])) == 0
    assert store.write(revocation_prune) == 0
    clock.advance_s(3 * TOKEN_LIFETIME_S)
    assert store.write(revocation_prune) == 1
    store.write(lambda tx: revoke(tx, ["user:a"]))
    assert store.read(lambda tx: revocation_mark(tx, ["user:a"])) > mark


def test_revoking_the_same_again_and_again_keeps_one_row(store: Database) -> None:
    for _ in range(5):
        store.write(lambda tx: revoke(tx, ["user:a"]))
    assert store.read(lambda tx: revocation_mark(tx, ["user:a"])) == 5


def test_a_login_that_overlaps_a_password_change_gives_a_dead_token(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    """The clock stands still: whatever compares instants lets this token live."""
    known = bootstrap(store)
    authority = Authority(store, clock, tmp_path)
    token, _ = authority.login(login("demo", PASSWORDS["demo"]))

    def change(tx: Tx) -> None:
        old = user_fetch(tx, known.demo_user_id)
        assert old is not None
        user_change(tx, old, msgspec.structs.replace(old, password_hash=password_hashes()["admin"]))

    store.write(change)
    with pytest.raises(Unauthenticated):
        authority.check(token)
    with pytest.raises(Unauthenticated):
        authority.login(login("demo", PASSWORDS["demo"]))
    fresh, _ = authority.login(login("demo", PASSWORDS["admin"]))
    assert authority.check(fresh).user.id == known.demo_user_id


def test_an_answer_read_before_a_write_is_not_remembered_after_it(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    known = bootstrap(store)
    authority = Authority(store, clock, tmp_path)
    token, _ = authority.login(login("demo", PASSWORDS["demo"]))
    authority.forget()
    honest = authority.token_check

    def overtaken(tx: Tx, text: str) -> object:
        verified = honest(tx, text)
        threading.Thread(target=store.write, args=(lambda wtx: revoke(wtx, [f"user:{known.demo_user_id}"]),)).run()
        return verified

    authority.token_check = overtaken  # type: ignore[method-assign, assignment]
    authority.check(token)
    authority.token_check = honest  # type: ignore[method-assign]
    with pytest.raises(Unauthenticated):
        authority.check(token)


def test_a_user_leaves_nothing_behind(store: Database) -> None:
    known = bootstrap(store)

    def remove(tx: Tx) -> None:
        key = Ec2Credential("k", known.demo_user_id, known.demo_project_id, "access", "sealed", "", tx.now_us)
        ec2_credential_insert(tx, key)
        user = user_fetch(tx, known.demo_user_id)
        assert user is not None
        user_remove(tx, user)

    store.write(remove)
    assert store.read(lambda tx: user_fetch(tx, known.demo_user_id)) is None
    assert store.read(lambda tx: ec2_credential_list(tx, user_id=known.demo_user_id)) == []
    assert store.read(lambda tx: assignment_list(tx, actor_id=known.demo_user_id)) == []


def test_a_domain_takes_everything_in_it_along(store: Database) -> None:
    known = bootstrap(store)

    def fill_and_remove(tx: Tx) -> None:
        domain = project_new("d", "", "d", "", tx.now_us)
        for noun in (domain, project_new("p", "d", "p", "", tx.now_us)):
            noun_insert(tx, noun)
        role = known.role_ids["member"]
        assignment_add(tx, Assignment(Actor.USER, known.demo_user_id, Target.PROJECT, "p", role))
        disabled = msgspec.structs.replace(domain, enabled=False)
        project_change(tx, domain, disabled)
        domain_remove(tx, disabled)

    store.write(fill_and_remove)
    assert store.read(lambda tx: (project_fetch(tx, "d"), project_fetch(tx, "p"))) == (None, None)
    assert store.read(lambda tx: assignment_list(tx, target_id="p")) == []


def ring(store: Database, clock: HeldClock, directory: Path, kind: str = "tokens") -> Keyring:
    """As a replica with this directory opens it."""
    return Keyring(store, clock, keys_prepare(store, directory), kind)


def test_keys_are_made_once_and_the_one_that_is_no_row_is_for_its_owner_only(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    rings: list[Keyring] = []
    threads = [threading.Thread(target=lambda: rings.append(ring(store, clock, tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = [path for path in tmp_path.iterdir() if "cloud" in path.name]
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("cloud.key", 0o600)
    rows = store.read(lambda tx: tx.all(select(sealing_key)))
    assert sorted((row.kind, row.number) for row in rows) == [(k, n) for k in ("secrets", "tokens") for n in (1, 2)]
    sealed = rings[0].seal(b"x")
    assert [each.unseal(sealed) for each in rings] == [b"x"] * 8


def test_rotation_keeps_what_was_sealed_readable_until_its_key_goes(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    mine, other = ring(store, clock, tmp_path), ring(store, clock, tmp_path)
    secrets = ring(store, clock, tmp_path, "secrets")
    sealed, kept = mine.seal(b"x"), secrets.seal(b"s")
    for turn in range(TOKEN_KEYS_KEPT + 1):
        mine.rotate()
        secrets.rotate()
        clock.advance_s(1)
        assert other.unseal(mine.seal(b"new")) == b"new"  # a replica that looks when something does not open
        clock.advance_s(KEYS_LOOK_S)
        assert (other.unseal(sealed) == b"x") == (turn < TOKEN_KEYS_KEPT - 2)
    assert len(store.read(lambda tx: sealing_keys(tx, "tokens"))) == TOKEN_KEYS_KEPT
    assert secrets.unseal(kept) == b"s"
    assert mine.unseal("nonsense") is None
    assert mine.unseal("é") is None


def test_what_does_not_open_makes_nobody_look_more_than_once_a_second(
    store_url: str, store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    keys_prepare(store, tmp_path)
    statements: list[str] = []
    counting = Database(store_url, clock.now_us, statements.append)
    mine = ring(counting, clock, tmp_path)
    statements.clear()
    for _ in range(50):
        assert mine.unseal("nonsense") is None
    assert [s for s in statements if "sealing_key" in s] == []
    clock.advance_s(1)
    for _ in range(50):
        assert mine.unseal("nonsense") is None
    assert len([s for s in statements if "sealing_key" in s]) == 1
    counting.close()


def test_a_copy_of_the_store_opens_nothing_and_a_replica_without_the_key_is_told_what_to_copy(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    sealed = ring(store, clock, first).seal(b"x")
    with pytest.raises(Unavailable, match=r"cloud.key is missing.*Copy it from a control replica"):
        keys_prepare(store, second)
    assert list(second.iterdir()) == []
    (second / "cloud.key").write_bytes(Fernet.generate_key())
    with pytest.raises(Unavailable, match="of another cloud"):
        keys_prepare(store, second)
    shutil.copy(first / "cloud.key", second)
    assert ring(store, clock, second).unseal(sealed) == b"x"


def test_keys_that_were_files_go_on_as_rows(store: Database, clock: HeldClock, tmp_path: Path) -> None:
    old = [Fernet.generate_key() for _ in range(3)]
    for number, key in enumerate(old, 4):
        (tmp_path / f"secrets-{number:04d}.key").write_bytes(key)
    assert ring(store, clock, tmp_path, "secrets").unseal(Fernet(old[0]).encrypt(b"kept").decode()) == b"kept"
    sealed = ring(store, clock, tmp_path, "secrets").seal(b"new")
    assert Fernet(old[1]).decrypt(sealed.encode()) == b"new"


def test_a_token_issued_before_a_backup_was_taken_is_judged_by_the_store_that_is_there(
    store: Database, clock: HeldClock, tmp_path: Path
) -> None:
    """Nothing of a revocation lives in memory only: an authority that knows nothing says the same."""
    known = bootstrap(store)
    token, _ = Authority(store, clock, tmp_path).login(login("demo", PASSWORDS["demo"]))
    store.write(lambda tx: revoke(tx, [f"user:{known.demo_user_id}"]))
    clock.advance_s(60)
    with pytest.raises(Unauthenticated):
        Authority(store, clock, tmp_path).check(token)
    assert clock.now_us() > 60 * SECOND_US
