"""A report in which everything is there that a report can show, and the source that belongs to it."""

from __future__ import annotations

from msgspec.structs import replace
from report_parts import PASSED
from report_samples import SAMPLES
from savepoint_ci.report.model import FileCoverage, LineTests, Queries

SOURCES = {
    "shop/services/orders.py": '''\
"""Orders: place, pay, refund."""

from sqlalchemy.ext.asyncio import AsyncSession

from shop.models import Item, Order, OutOfStockError


class OrderService:
    """Everything that happens to an order."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def place(self, item_id: int, number: int) -> Order:
        item = await self.session.get_one(Item, item_id)
        if item.stock < number:
            raise OutOfStockError(item)
        item.stock -= number
        order = Order(item=item, number=number)
        self.session.add(order)
        await self.session.commit()
        return order

    async def stock(self, item_id: int) -> int:
        return (await self.session.get_one(Item, item_id)).stock

    async def pay(self, order_id: int) -> None:
        order = await self.session.get_one(Order, order_id)
        order.status = "paid"
        await self.session.commit()

    async def refund(self, order_id: int) -> None:
        order = await self.session.get_one(Order, order_id, with_for_update=True)
        if order.status == "refunded":
            return
        order.status = "refunded"
        item = await order.awaitable_attrs.item
        item.stock += order.number
        # A part of it may have been sent back already.
        if order.returned:
            item.stock -= order.returned
            order.note = "partly returned"
            await self.notify(order)
        await self.session.commit()

    async def cancel(self, order_id: int) -> None:
        await self.refund(order_id)
        order = await self.session.get_one(Order, order_id)
        order.status = "cancelled"
        await self.session.commit()

    async def notify(self, order: Order) -> None:
        """Tell the buyer, "<not> &amp; <script>alert(1)</script> in HTML"."""
        if order.buyer.email:
            await self.mail.send(order.buyer.email, order)
        else:
            self.log.warning("nobody to tell")
''',
}
ASKED = Queries(
    count=43, seconds=0.03, rows=12, slowest="SELECT item.name", slowest_seconds=0.012, repeated="SELECT item.stock", times=40
)
RICH = replace(
    SAMPLES["several_causes"],
    tests=tuple(
        replace(test, isolation="clone" if number % 10 == 0 else "savepoint", queries=ASKED if test.nodeid.endswith("test_item_8") else None)
        for number, test in enumerate(SAMPLES["several_causes"].tests)
    ),
    history=SAMPLES["known_failures"].history,
    verdicts=(*SAMPLES["order_dependent"].verdicts, *SAMPLES["green_after_rerun"].verdicts),
    coverage=replace(
        SAMPLES["green_with_less_coverage"].coverage,
        files=(
            FileCoverage(
                path="shop/services/orders.py",
                lines=88,
                missing=((41, 43), (57, 57)),
                percent=94.3,
                touched=(
                    LineTests(first=15, last=22, tests=(0, 1), total=40),
                    LineTests(first=33, last=38, tests=(1,), total=1),
                ),
            ),
            FileCoverage(path="shop/models.py", lines=61, missing=(), percent=100.0),
        ),
        tests=(PASSED[10].nodeid, PASSED[11].nodeid),
    ),
    quarantined=SAMPLES["green_with_quarantine"].quarantined,
    silenced=SAMPLES["green_with_quarantine"].silenced,
    warnings=("Something to know.",),
)
