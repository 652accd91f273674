"""The web site: one-time codes and what is limited.

Revision: 0005
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ACTIONS = "'subscribe', 'manage', 'change_number', 'confirm_former', 'leave_by_bill'"


def _instant(name: str, **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def upgrade() -> None:
    op.alter_column(
        "notice",
        "subscription_id",
        existing_type=sa.BigInteger(),
        nullable=True,
        comment="null: a code, for whoever asks",
    )
    op.create_table(
        "verification",
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("uuidv7()"),
            nullable=False,
            comment="the evidence of consents",
        ),
        sa.Column("visit", sa.Text(), nullable=False, comment="keyed hash of the browser's cookie"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("invoice_number", sa.Text(), comment="as it was told from a bill, where it was asked for"),
        sa.Column(
            "phone",
            sa.Text(),
            comment="where the code goes: E.164, sealed where that is set up; null once erased",
        ),
        sa.Column(
            "language",
            sa.Text(),
            nullable=False,
            comment="of the visit; of a subscription, as it was chosen",
        ),
        sa.Column("wording_version", sa.Text(), comment="of the text that was agreed to"),
        sa.Column("follows", sa.Uuid(), comment="the verification that this one completes"),
        _instant("asked_at", nullable=False),
        _instant("expires_at", nullable=False),
        _instant("judged_at", comment="when it was looked at whether a code is due; null: not yet"),
        sa.Column("genuine", sa.Boolean(), comment="whether what was told is right, and a code went out"),
        sa.Column("code_salt", sa.Text()),
        sa.Column(
            "code_hash", sa.Text(), comment="keyed; of a code that nobody was sent where nothing was due"
        ),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        _instant("verified_at", comment="when its code came back"),
        sa.Column(
            "subscription_id", sa.BigInteger(), comment="the subscription that it was about in the end"
        ),
        sa.Column("outcome", sa.Text(), comment="what came of it; null while it is under way"),
        _instant("ended_at", comment="when that was decided"),
        sa.CheckConstraint(f"action IN ({_ACTIONS})", name=op.f("ck_verification_action")),
        sa.CheckConstraint("language IN ('ar', 'fr')", name=op.f("ck_verification_language")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
        comment="Codes that were asked for on the web site, and what was proven by them.",
    )
    op.create_index(op.f("ix_verification_visit_asked_at"), "verification", ["visit", "asked_at"])
    for name, column, condition in (
        ("unjudged", "asked_at", "judged_at IS NULL"),
        ("unverified", "asked_at", "verified_at IS NULL"),
        ("left_by_bill", "customer_reference", "outcome = 'left'"),
    ):
        op.create_index(
            f"ix_verification_{name}", "verification", [column], postgresql_where=sa.text(condition)
        )
    op.create_table(
        "site_count",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="keyed hash of the phone, reference or address"
        ),
        sa.Column("span", sa.Text(), nullable=False),
        _instant("began", nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "what IN ('phone', 'reference', 'address', 'all')", name=op.f("ck_site_count_what")
        ),
        sa.CheckConstraint("span IN ('hour', 'day')", name=op.f("ck_site_count_span")),
        sa.PrimaryKeyConstraint("what", "subject", "span", "began", name=op.f("pk_site_count")),
        comment="How often something was asked for on the web site: what limits are held to. Pruned.",
    )
    op.create_index(op.f("ix_site_count_began"), "site_count", ["began"])


def downgrade() -> None:
    op.drop_table("site_count")
    op.drop_table("verification")
    # Codes were for whoever asked; before the site there was nobody but subscribers.
    op.execute("UPDATE notice SET subscription_id = 0 WHERE subscription_id IS NULL")
    op.alter_column("notice", "subscription_id", existing_type=sa.BigInteger(), nullable=False, comment=None)
