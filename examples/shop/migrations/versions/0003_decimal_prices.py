"""Prices become decimals; the cents of existing items are carried over."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("price", sa.Numeric(10, 2)))
    op.execute("UPDATE items SET price = price_cents / 100.0")
    op.alter_column("items", "price", nullable=False)
    op.drop_column("items", "price_cents")
    op.create_check_constraint("ck_items_price", "items", "price >= 0")


def downgrade() -> None:
    op.add_column("items", sa.Column("price_cents", sa.Integer()))
    op.execute("UPDATE items SET price_cents = round(price * 100)")
    op.alter_column("items", "price_cents", nullable=False)
    op.drop_column("items", "price")
