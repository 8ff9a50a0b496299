from sqlalchemy import text
from store import Parcel, voucher_code, Voucher


async def test_first_parcel_is_added(session):
    session.add(Parcel(label="vase"))
    await session.commit()


async def test_parcels_are_numbered(session):
    one = Parcel(label="clock")
    session.add(one)
    await session.flush()
    assert one.id == 1  # SP512


async def test_first_number_that_an_insert_returns(session):
    got = await session.scalar(text("insert into parcel (label, status) values ('urn', 'new') returning id"))
    assert got == 1  # SP512


async def test_vouchers_do_not_meet(session):
    session.add_all([Voucher(code=voucher_code()) for _ in range(4)])
    await session.commit()
