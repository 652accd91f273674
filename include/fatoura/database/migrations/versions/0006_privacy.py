"""Privacy: erasures, and what they left.

Revision: 0006
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _instant(name: str, **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def _queue(*columns: str) -> None:
    op.drop_index("ix_notice_planned", table_name="notice")
    op.create_index(
        "ix_notice_planned", "notice", list(columns), postgresql_where=sa.text("state = 'planned'")
    )


_DOCUMENTS = (
    (
        "rejected_row",
        "fields",
        "the row as it came, unknown columns included",
        "the row as it came, unknown columns included; empty once erased",
    ),
    (
        "set_aside_row",
        "fields",
        "the row as it came, unknown columns included",
        "the row as it came, unknown columns included; empty once erased",
    ),
    (
        "superseded_row",
        "was",
        "the row as it stood, or as it came too late to stand",
        "the row as it stood, or as it came too late to stand; without its number once erased",
    ),
    (
        "receipt",
        "raw",
        "as it came: query and body",
        "as it came but for the number: query and body; empty once erased",
    ),
)


def _comment(table: str, column: str, old: str, new: str) -> None:
    op.alter_column(
        table,
        column,
        existing_type=postgresql.JSONB(),
        existing_nullable=False,
        existing_comment=old,
        comment=new,
    )


def upgrade() -> None:
    _queue("cycle_id", "priority", "id", "subscription_id")
    for table, column, old, new in _DOCUMENTS:
        _comment(table, column, old, new)
    op.alter_column(
        "subscription",
        "phone",
        existing_type=sa.Text(),
        nullable=True,
        existing_comment="E.164; sealed where that is set up",
        comment="E.164; sealed where that is set up; null once erased",
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False, comment="the number under which it was asked for"),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("done_by", sa.Text(), nullable=False),
        _instant("done_at", nullable=False),
        sa.Column(
            "erased", postgresql.JSONB(), nullable=False, comment="how many values, by where they were"
        ),
        sa.Column(
            "kept", postgresql.JSONB(), nullable=False, comment="how many rows, by where they are and why"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        sa.UniqueConstraint("request", name=op.f("uq_erasure_request")),
        comment="Whose data was erased at their own request. Holds nothing of what was erased.",
    )
    op.create_index(op.f("ix_erasure_customer_reference"), "erasure", ["customer_reference"])
    op.create_table(
        "retention_done",
        sa.Column("place", sa.Text(), nullable=False, comment="table and column"),
        sa.Column(
            "part",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="a cycle, a statement, or a block of ids",
        ),
        _instant("done_at", nullable=False),
        sa.PrimaryKeyConstraint("place", "part", name=op.f("pk_retention_done")),
        comment="Parts of large tables in which nothing personal is left: they are not looked through again.",
    )
    op.create_table(
        "departure",
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("asked_on", sa.Date(), nullable=False),
        sa.Column("told_by", sa.Text(), nullable=False, comment="the clerk"),
        sa.Column(
            "reason", sa.Text(), comment="in the clerk's words; holds no phone number; null once erased"
        ),
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
    op.drop_table("retention_done")
    op.drop_table("erasure")
    op.execute("UPDATE subscription SET phone = '' WHERE phone IS NULL")
    op.alter_column(
        "subscription",
        "phone",
        existing_type=sa.Text(),
        nullable=False,
        existing_comment="E.164; sealed where that is set up; null once erased",
        comment="E.164; sealed where that is set up",
    )
    for table, column, old, new in _DOCUMENTS:
        _comment(table, column, new, old)
    _queue("cycle_id", "priority", "id")
