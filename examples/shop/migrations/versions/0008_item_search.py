"""Search in names: by trigrams where the server has the extension, by a plain index where it has not."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Small distributions of PostgreSQL come without the contrib extensions; the answers are the same, only slower.
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
                CREATE INDEX ix_items_search ON items USING gin (lower(name) gin_trgm_ops);
            ELSE
                CREATE INDEX ix_items_search ON items (lower(name) text_pattern_ops);
            END IF;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_items_search")
    op.execute("DROP EXTENSION IF EXISTS pg_trgm")
