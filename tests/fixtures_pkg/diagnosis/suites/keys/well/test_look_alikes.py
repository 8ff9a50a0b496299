"""Tests named `..._fails` fail for an ordinary reason: what they do themselves is wrong."""

import pytest
from club import Guest, Locker, Member, find_locker
from sqlalchemy.exc import IntegrityError


async def test_guest_is_welcomed(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()


async def test_guest_gets_a_letter(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()


async def test_guest_comes_twice_fails(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()
    session.add(Guest(email="ann@club.example"))
    await session.commit()


async def test_second_guest_is_refused(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()
    session.add(Guest(email="ann@club.example"))
    with pytest.raises(IntegrityError):
        await session.commit()
    await session.rollback()


async def test_member_gets_a_taken_number_fails(session):
    session.add_all([Member(id=7, name="Ada"), Member(id=8, name="Ben")])
    await session.flush()
    session.add(Member(id=7, name="Cem"))
    await session.flush()


async def test_locker_of_its_own(session):
    locker = Locker(color="blue")
    session.add(locker)
    await session.flush()
    assert (await find_locker(session, locker.id)).color == "blue"


async def test_locker_that_nobody_made_fails(session):
    assert (await find_locker(session, 1)).color == "blue"


async def test_locker_far_away_fails(session):
    session.add(Locker(color="blue"))
    await session.flush()
    assert (await find_locker(session, 4711)).color == "blue"


async def test_locker_of_another_color_fails(session):
    session.add(Locker(id=1, color="blue"))
    await session.flush()
    assert (await find_locker(session, 1)).color == "red"
