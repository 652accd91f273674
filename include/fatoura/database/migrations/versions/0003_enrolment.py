"""Customers, coupons and consent; what a subscription is beyond a phone and a language.

Revision: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CONTENTS = ("payments", "facts", "customers", "coupons", "departures", "fee_results")
_PURPOSES = ("billing", "cutoff", "payment_received", "welcome", "codes", "subscription_news")
_STATES = ("active", "suspended", "lapsed", "ended")


def _one_of(table: str, column: str, values: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{value}'" for value in values)
    op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{column}"), table, f"{column} IN ({listed})")


def _instant(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def _revision() -> sa.Column[Any]:
    return sa.Column(
        "revision",
        sa.SmallInteger(),
        server_default="0",
        nullable=False,
        comment="how many other versions of it were told",
    )


def upgrade() -> None:
    for table in ("feed", "superseded_row", "set_aside_row", "feed_refusal"):
        _one_of(table, "content", _CONTENTS)
    _one_of("cycle", "purpose", _PURPOSES)
    _one_of("subscription", "state", _STATES)
    op.add_column(
        "subscription",
        sa.Column("state_reason", sa.Text(), comment="why it is suspended, lapsed or ended; a code"),
    )
    op.add_column(
        "subscription",
        _instant("proven_at", comment="when a message reached this phone, or its code came back"),
    )
    op.add_column(
        "subscription",
        sa.Column(
            "began_on",
            sa.Date(),
            comment="the day from which its years are counted; null: not yet taken up by fees",
        ),
    )
    op.add_column(
        "subscription",
        sa.Column("paid_until", sa.Date(), comment="the last day that is paid for, waived or free"),
    )
    op.add_column(
        "subscription",
        sa.Column(
            "free_because", sa.Text(), comment="trial, or a code of an exemption: its years are waived"
        ),
    )
    op.add_column(
        "subscription", _instant("ended_at", comment="when its customer left, or its contract ended")
    )
    op.alter_column(
        "subscription",
        "phone",
        existing_type=sa.Text(),
        existing_nullable=False,
        existing_comment="E.164",
        comment="E.164; sealed where that is set up",
    )
    op.create_index(
        "ix_subscription_phone", "subscription", ["phone"], postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_index(
        "ix_subscription_suspended",
        "subscription",
        ["changed_at"],
        postgresql_where=sa.text("state = 'suspended'"),
    )
    op.create_index(
        "ix_subscription_paid_until",
        "subscription",
        ["paid_until"],
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_table(
        "customer",
        sa.Column("customer_reference", sa.Text(), primary_key=True),
        sa.Column("district", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("told_in", sa.Text(), nullable=False, comment="name of the feed that stands"),
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        _revision(),
        sa.CheckConstraint("contract IN ('open', 'closed')", name=op.f("ck_customer_contract")),
        sa.PrimaryKeyConstraint("customer_reference", name=op.f("pk_customer")),
        comment="The utility's customers, as it told them last: who can subscribe. Those with a bill can, too.",
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "act", sa.Text(), nullable=False, comment="given; changed: another number or language; revoked"
        ),
        sa.Column(
            "wording_version",
            sa.Text(),
            comment="of the text that was agreed to; null where it is revoked",
        ),
        sa.Column("language", sa.Text(), comment="of that text"),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "evidence",
            sa.Text(),
            nullable=False,
            comment="a scan id, the id of a code's verification, a file and row",
        ),
        sa.Column("given_on", sa.Date(), nullable=False, comment="the day of the signature, or of the act"),
        _instant("recorded_at", nullable=False),
        sa.Column(
            "recorded_by",
            sa.Text(),
            nullable=False,
            comment="a workflow's run, the site, or a person's name",
        ),
        sa.CheckConstraint("act IN ('given', 'changed', 'revoked')", name=op.f("ck_consent_act")),
        sa.CheckConstraint(
            "channel IN ('coupon', 'web', 'clerk', 'keyword', 'import', 'utility')",
            name=op.f("ck_consent_channel"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
        comment="Who agreed to what, when, and by which evidence. Rows are never changed or removed: revoking "
        "is a row of its own. Holds no phone number.",
    )
    op.create_index(op.f("ix_consent_customer_reference"), "consent", ["customer_reference"])
    op.execute(
        """
        CREATE FUNCTION consent_stands() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'a record of consent is never changed or removed: write another'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'consent_stands';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER consent_stands BEFORE UPDATE OR DELETE ON consent FOR EACH ROW "
        "EXECUTE FUNCTION consent_stands()"
    )
    op.create_table(
        "coupon",
        sa.Column("coupon_id", sa.Text(), nullable=False),
        sa.Column("scan_id", sa.Text()),
        sa.Column("customer_reference", sa.Text()),
        sa.Column("phone", sa.Text(), comment="E.164; sealed where that is set up; null once erased"),
        sa.Column("language", sa.Text()),
        sa.Column("signed_on", sa.Date()),
        sa.Column("wording_version", sa.Text()),
        sa.Column(
            "crossed_out",
            sa.Boolean(),
            nullable=False,
            comment="of one that is, nothing else has to be legible",
        ),
        sa.Column("told_in", sa.Text(), nullable=False, comment="name of the batch that stands"),
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        _revision(),
        sa.Column("outcome", sa.Text(), comment="what became of it; null: not judged yet"),
        sa.Column("reason", sa.Text(), comment="why a clerk has to look at it; a code"),
        sa.Column(
            "subscription_id",
            sa.BigInteger(),
            comment="which its consent was given to, also where it is no more",
        ),
        _instant("judged_at", comment="of one that waits: when it was last looked at"),
        sa.Column("judged_by", sa.Text(), comment="the clerk, where one has decided"),
        _instant("welcomed_at", comment="when a welcome was planned for it, or turned out to be unneeded"),
        sa.CheckConstraint("language IN ('ar', 'fr')", name=op.f("ck_coupon_language")),
        sa.CheckConstraint(
            "outcome IN ('enrolled', 'changed', 'unchanged', 'superseded', 'crossed_out', 'waits', "
            "'refused')",
            name=op.f("ck_coupon_outcome"),
        ),
        sa.CheckConstraint(
            "crossed_out OR (scan_id IS NOT NULL AND customer_reference IS NOT NULL "
            "AND language IS NOT NULL AND signed_on IS NOT NULL AND wording_version IS NOT NULL)",
            name=op.f("ck_coupon_legible"),
        ),
        sa.PrimaryKeyConstraint("coupon_id", name=op.f("pk_coupon")),
        comment="Captured coupons, as they stand: a later batch may tell one again, or crossed out.",
    )
    op.create_index(op.f("ix_coupon_customer_reference"), "coupon", ["customer_reference"])
    for name, column, where in (
        ("unjudged", "feed_id", "outcome IS NULL"),
        ("waiting", "coupon_id", "outcome = 'waits'"),
        ("refused", "coupon_id", "outcome = 'refused'"),
        ("unwelcomed", "coupon_id", "outcome IN ('enrolled', 'changed') AND welcomed_at IS NULL"),
    ):
        op.create_index(f"ix_coupon_{name}", "coupon", [column], postgresql_where=sa.text(where))
    op.create_table(
        "coupon_decision",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("coupon_id", sa.Text(), nullable=False),
        _instant("decided_at", nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="in the clerk's words; holds no phone number"),
        sa.Column(
            "found", sa.Text(), nullable=False, comment="the outcome, and its reason, that it was decided on"
        ),
        sa.CheckConstraint(
            "decision IN ('accepted', 'refused', 'tried_again')", name=op.f("ck_coupon_decision_decision")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_decision")),
        comment="What clerks decided of coupons. Rows are never changed or removed.",
    )
    op.create_index(op.f("ix_coupon_decision_coupon_id"), "coupon_decision", ["coupon_id"])


def downgrade() -> None:
    op.drop_table("coupon_decision")
    op.drop_table("coupon")
    op.drop_table("consent")
    op.execute("DROP FUNCTION consent_stands")
    op.drop_table("customer")
    op.drop_index("ix_subscription_paid_until", table_name="subscription")
    op.drop_index("ix_subscription_suspended", table_name="subscription")
    op.drop_index("ix_subscription_phone", table_name="subscription")
    for column in ("ended_at", "free_because", "paid_until", "began_on", "proven_at", "state_reason"):
        op.drop_column("subscription", column)
    _one_of("subscription", "state", ("active", "suspended", "ended"))
    _one_of("cycle", "purpose", ("billing", "cutoff", "payment_received"))
    for table in ("feed", "superseded_row", "set_aside_row", "feed_refusal"):
        _one_of(table, "content", ("payments", "facts"))
