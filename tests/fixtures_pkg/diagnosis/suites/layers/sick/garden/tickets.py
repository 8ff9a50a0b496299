from datetime import datetime, timedelta

from sqlalchemy import func, select

from garden.db import Ticket


def issue(holder):
    return Ticket(holder=holder, ends=datetime.now() + timedelta(minutes=30))  # SP607


async def valid(session):
    now = func.timezone("UTC", func.now())
    return (await session.scalars(select(Ticket.holder).where(Ticket.ends > now))).all()
