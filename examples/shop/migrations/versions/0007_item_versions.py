"""Items count their versions, and a trigger dates every change."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("items", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "items", sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
    )
    op.execute(
        """
        CREATE FUNCTION date_the_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.updated_at := clock_timestamp();
            RETURN NEW;
        END
        $$
        """
    )
    op.execute("CREATE TRIGGER items_updated_at BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION date_the_change()")


def downgrade() -> None:
    op.execute("DROP TRIGGER items_updated_at ON items")
    op.execute("DROP FUNCTION date_the_change")
    op.drop_column("items", "updated_at")
    op.drop_column("items", "version")
