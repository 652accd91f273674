"""Privacy: erasures, and what they left.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _instant(name: str, **options: object) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def _queue(*columns: str) -> None:
    op.drop_index("ix_notice_planned", table_name="notice")
    op.create_index(
        "ix_notice_planned", "notice", list(columns), postgresql_where=sa.text("state = 'planned'")
    )


def upgrade() -> None:
    _queue("cycle_id", "priority", "id", "subscription_id")
    op.create_table(
        "departure",
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("asked_on", sa.Date(), nullable=False),
        sa.Column("told_by", sa.Text(), nullable=False, comment="the clerk"),
        sa.Column("reason", sa.Text(), comment="in the clerk's words; holds no phone number"),
        sa.Column("feed_id", sa.Integer(), nullable=False, comment="the feed that brought what stands"),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        sa.Column("told_in", sa.Text(), nullable=False, comment="name of the feed that stands"),
        sa.Column("revision", sa.SmallInteger(), nullable=False, server_default="0"),
        sa.Column("outcome", sa.Text(), comment="null: not judged yet"),
        sa.Column("subscription_id", sa.BigInteger(), comment="the one that it ended"),
        _instant("applied_at"),
        sa.CheckConstraint(
            "outcome IN ('left', 'not_subscribed', 'signed_again')", name=op.f("ck_departure_outcome")
        ),
        sa.PrimaryKeyConstraint("departure_id", name=op.f("pk_departure")),
        comment="What clerks were told by customers who want no more messages.",
    )
    op.create_index(op.f("ix_departure_customer_reference"), "departure", ["customer_reference"])
    op.create_index(op.f("ix_departure_feed_id"), "departure", ["feed_id"])
    op.create_table(
        "inbound_message",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        _instant("received_at", nullable=False),
        sa.Column("act", sa.Text(), comment="what its keyword asks for; null: it holds none"),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("subscriptions", sa.Integer(), nullable=False, comment="how many it ended"),
        sa.CheckConstraint("act IN ('leave', 'help')", name=op.f("ck_inbound_message_act")),
        sa.CheckConstraint(
            "outcome IN ('left', 'already_left', 'unknown_sender', 'helped', 'no_keyword')",
            name=op.f("ck_inbound_message_outcome"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_message")),
        comment="Messages that customers sent. Neither their number nor their words are kept.",
    )
    op.create_index(
        op.f("ix_inbound_message_received_at"), "inbound_message", ["received_at"], postgresql_using="brin"
    )


def downgrade() -> None:
    op.drop_table("inbound_message")
    op.drop_table("departure")
    _queue("cycle_id", "priority", "id")
