from club import Guest, Locker, Member, find_locker


async def test_guest_is_welcomed(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()


async def test_guest_gets_a_letter(session):
    session.add(Guest(email="ann@club.example"))
    await session.commit()


async def test_member_beside_the_founder(founder, session):
    session.add(Member(name="Ben"))
    await session.flush()


async def test_badge_beside_the_first(raw):
    await raw.execute("insert into badge (id, color) values ($1, $2)", 1, "red")  # SP512
    await raw.execute("insert into badge (color) values ($1)", "blue")


async def test_locker_is_painted(session):
    session.add(Locker(color="red"))
    await session.flush()
    await session.rollback()


async def test_locker_is_found(session):
    session.add(Locker(color="blue"))
    await session.flush()
    locker = await find_locker(session, 1)  # SP512
    assert locker.color == "blue"
