from datetime import datetime, timedelta, timezone

from sqlalchemy import func, select

from garden.db import Ticket


def issue(holder):
    return Ticket(holder=holder, ends=datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(minutes=30))


async def valid(session):
    now = func.timezone("UTC", func.now())
    return (await session.scalars(select(Ticket.holder).where(Ticket.ends > now))).all()


def stamp(holder):
    return f"{holder}, {datetime.now():%H:%M}"
