"""The owner's rules with their first values, and what shipping needs to know."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    rules = op.create_table(
        "rules",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", sa.String(100), nullable=False),
    )
    op.bulk_insert(
        rules,
        [{"name": "low_stock", "value": "2"}, {"name": "free_shipping_from", "value": "100.00"}],
    )
    op.add_column("items", sa.Column("weight_grams", sa.Integer(), server_default="500", nullable=False))
    op.add_column("orders", sa.Column("shipping_cost", sa.Numeric(10, 2), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("orders", "shipping_cost")
    op.drop_column("items", "weight_grams")
    op.drop_table("rules")
