"""Privacy: erasures, and what they left.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _queue(*columns: str) -> None:
    op.drop_index("ix_notice_planned", table_name="notice")
    op.create_index(
        "ix_notice_planned", "notice", list(columns), postgresql_where=sa.text("state = 'planned'")
    )


def upgrade() -> None:
    _queue("cycle_id", "priority", "id", "subscription_id")


def downgrade() -> None:
    _queue("cycle_id", "priority", "id")
