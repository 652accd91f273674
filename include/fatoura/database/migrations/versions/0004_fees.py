"""Fees: charges, their journal, what the billing system is told and what it tells.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The state machine of fatoura.fees.states, as the database enforces it. A test compares the two.
FIRST = ("announced", "waived")
TRANSITIONS = {
    "announced": ("due", "waived", "withdrawn"),
    "due": ("filed", "waived", "withdrawn"),
    "filed": ("rejected", "accepted", "refused", "paid", "waived", "withdrawn"),
    "rejected": ("accepted", "refused", "paid", "waived", "withdrawn"),
    "accepted": ("refused", "paid", "waived", "withdrawn"),
    "refused": ("paid", "waived", "withdrawn"),
    "paid": ("refunded", "taken_back"),
    "taken_back": ("waived", "withdrawn"),
}


def _guard_charges() -> None:
    first = ", ".join(f"'{state}'" for state in FIRST)
    allowed = " OR ".join(
        f"(OLD.state = '{old}' AND NEW.state IN ({', '.join(repr(state) for state in new)}))"
        for old, new in TRANSITIONS.items()
    )
    op.execute(
        f"""
        CREATE FUNCTION fee_charge_moves() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                RAISE EXCEPTION 'a charge begins as announced or waived, not as %', NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'fee_charge_moves';
            ELSIF NOT ({allowed}) THEN
                RAISE EXCEPTION 'charge % may not go from % to %', OLD.id, OLD.state, NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'fee_charge_moves';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER fee_charge_begins BEFORE INSERT ON fee_charge FOR EACH ROW "
        f"WHEN (NEW.state NOT IN ({first})) EXECUTE FUNCTION fee_charge_moves()"
    )
    op.execute(
        "CREATE TRIGGER fee_charge_moves BEFORE UPDATE OF state ON fee_charge FOR EACH ROW "
        "WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION fee_charge_moves()"
    )


def _keep(table: str, what: str, *triggers: str) -> None:
    op.execute(
        f"""
        CREATE FUNCTION {table}_stands() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{what}'
                USING ERRCODE = 'check_violation', CONSTRAINT = '{table}_stands';
        END $$
        """
    )
    for number, when in enumerate(triggers):
        op.execute(f"CREATE TRIGGER {table}_stands{number or ''} {when} EXECUTE FUNCTION {table}_stands()")


def upgrade() -> None:
    op.create_table(
        "fee_charge",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="F and this number: its charge_id outside",
        ),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column(
            "period_start", sa.Date(), nullable=False, comment="the first day of the year that it is for"
        ),
        sa.Column("period_end", sa.Date(), nullable=False, comment="its last one"),
        sa.Column("amount_millimes", sa.BigInteger(), nullable=False, comment="as announced; never changed"),
        sa.Column("rules_version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="announced", nullable=False),
        sa.Column("because", sa.Text(), nullable=True, comment="why it is waived or withdrawn; a code"),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "announced_on", sa.Date(), nullable=True, comment="null: of a year that was free from the start"
        ),
        sa.Column("charged_on", sa.Date(), nullable=True),
        sa.Column("told_on", sa.Date(), nullable=True, comment="the day of its file"),
        sa.Column(
            "told_millimes", sa.BigInteger(), nullable=True, comment="what the billing system was asked for"
        ),
        sa.Column("file_id", sa.Integer(), nullable=True, comment="its file: never two"),
        sa.Column(
            "grace_until",
            sa.Date(),
            nullable=True,
            comment="the last day on which its subscription does not lapse for it",
        ),
        sa.Column(
            "owed_millimes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="what is left to pay; as the journal's account receivable has it",
        ),
        sa.Column(
            "paid_millimes", sa.BigInteger(), server_default="0", nullable=False, comment="all that was"
        ),
        sa.Column(
            "owed_back_millimes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of what was paid, to be given back; as the account payable has it",
        ),
        sa.Column(
            "given_back_millimes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of what was paid, given back or taken back",
        ),
        sa.Column("paid_on", sa.Date(), nullable=True, comment="the day on which its payment became known"),
        sa.Column(
            "covered_from",
            sa.Date(),
            nullable=True,
            comment="the first day that it pays for: after a lapse another than its year's",
        ),
        sa.Column("covered_until", sa.Date(), nullable=True),
        sa.Column(
            "lapsed_on", sa.Date(), nullable=True, comment="the day on which its subscription lapsed for it"
        ),
        sa.CheckConstraint(
            "(owed_millimes > 0) = (state IN ('due', 'filed', 'rejected', 'accepted', 'refused', 'taken_back'))",
            name=op.f("ck_fee_charge_owed"),
        ),
        sa.CheckConstraint(
            "state IN ('announced', 'due', 'filed', 'rejected', 'accepted', 'refused', 'paid', 'refunded', 'taken_back', 'waived', 'withdrawn')",
            name=op.f("ck_fee_charge_state"),
        ),
        sa.CheckConstraint("(told_millimes IS NULL) = (file_id IS NULL)", name=op.f("ck_fee_charge_told")),
        sa.CheckConstraint("amount_millimes > 0", name=op.f("ck_fee_charge_amount")),
        sa.CheckConstraint(
            "owed_millimes BETWEEN 0 AND amount_millimes AND paid_millimes >= 0 AND owed_back_millimes >= 0 AND given_back_millimes >= 0 AND owed_back_millimes + given_back_millimes <= paid_millimes",
            name=op.f("ck_fee_charge_sums"),
        ),
        sa.CheckConstraint("period_start < period_end", name=op.f("ck_fee_charge_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_charge")),
        sa.UniqueConstraint(
            "subscription_id", "period_start", name=op.f("uq_fee_charge_subscription_id_period_start")
        ),
        comment="What a subscription costs in a year: one row for each, from its announcement on.",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        op.f("ix_fee_charge_file_id"),
        "fee_charge",
        ["file_id"],
        unique=False,
        postgresql_where=sa.text("file_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_fee_charge_lapsed_on"),
        "fee_charge",
        ["lapsed_on"],
        unique=False,
        postgresql_where=sa.text("lapsed_on IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_fee_charge_paid_on"),
        "fee_charge",
        ["paid_on"],
        unique=False,
        postgresql_where=sa.text("paid_on IS NOT NULL"),
    )
    op.create_index(
        "ix_fee_charge_to_charge",
        "fee_charge",
        ["period_start"],
        unique=False,
        postgresql_where=sa.text("state = 'announced'"),
    )
    op.create_index(
        "ix_fee_charge_to_tell", "fee_charge", ["id"], unique=False, postgresql_where=sa.text("state = 'due'")
    )
    op.create_index(
        "ix_fee_charge_unpaid",
        "fee_charge",
        ["grace_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('accepted', 'refused', 'taken_back')"),
    )
    op.create_table(
        "fee_credit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_millimes", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False, comment="a code"),
        sa.Column("ordered_on", sa.Date(), nullable=False),
        sa.Column("ordered_by", sa.Text(), nullable=False, comment="a workflow's run, or a person's name"),
        sa.Column("file_id", sa.Integer(), nullable=True, comment="the file that told it: never two"),
        sa.CheckConstraint("amount_millimes > 0", name=op.f("ck_fee_credit_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_credit")),
        comment="What is taken off charges that the billing system was told of: to be asked for no more, or to be given back where it was paid.",
    )
    op.create_index(op.f("ix_fee_credit_charge_id"), "fee_credit", ["charge_id"], unique=False)
    op.create_index(
        op.f("ix_fee_credit_file_id"),
        "fee_credit",
        ["file_id"],
        unique=False,
        postgresql_where=sa.text("file_id IS NOT NULL"),
    )
    op.create_index(
        "ix_fee_credit_to_tell",
        "fee_credit",
        ["id"],
        unique=False,
        postgresql_where=sa.text("file_id IS NULL"),
    )
    op.create_table(
        "fee_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="on which it was booked"),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False, comment="the account that it is put on"),
        sa.Column("credit", sa.Text(), nullable=False, comment="the account that it is taken from"),
        sa.Column("amount_millimes", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False, comment="what happened; a code"),
        sa.Column("feed_id", sa.Integer(), nullable=True, comment="the feed that told it"),
        sa.Column("booked_by", sa.Text(), nullable=True, comment="a workflow's run, or a person's name"),
        sa.CheckConstraint(
            "credit IN ('receivable', 'income', 'collected', 'waived', 'given_up', 'credited', 'payable')",
            name=op.f("ck_fee_entry_credit"),
        ),
        sa.CheckConstraint(
            "debit IN ('receivable', 'income', 'collected', 'waived', 'given_up', 'credited', 'payable')",
            name=op.f("ck_fee_entry_debit"),
        ),
        sa.CheckConstraint("amount_millimes > 0", name=op.f("ck_fee_entry_amount")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_fee_entry_two_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_entry")),
        comment="The journal, by double entry. Rows are never changed or removed: what was wrong is set right by another entry.",
    )
    op.create_index(op.f("ix_fee_entry_charge_id"), "fee_entry", ["charge_id"], unique=False)
    op.create_index(op.f("ix_fee_entry_day"), "fee_entry", ["day"], unique=False, postgresql_using="brin")
    op.create_table(
        "fee_file",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="such as 2026-07-01-1; of its folder too"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("charges", sa.Integer(), nullable=False),
        sa.Column("charged_millimes", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("credited_millimes", sa.BigInteger(), nullable=False),
        sa.Column(
            "digest",
            sa.Text(),
            nullable=True,
            comment="sha256 of its rows as they were written first: it never says another",
        ),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "written_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it lay in the outbox; null: still to be done",
        ),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_file")),
        sa.UniqueConstraint("name", name=op.f("uq_fee_file_name")),
        comment="Files of charges and credits for the billing system.",
    )
    op.create_table(
        "fee_result",
        sa.Column("charge_id", sa.Text(), nullable=False, comment="as the billing system names it"),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column(
            "amount_millimes",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="of the charge; of paid and refunded, all that was so far",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="by the billing system's clock"),
        sa.Column("reason", sa.Text(), nullable=True, comment="in its words; holds no phone number"),
        sa.Column("feed_id", sa.Integer(), nullable=False),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        sa.Column("told_in", sa.Text(), nullable=False),
        sa.Column(
            "revision",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="how many other versions of it were told",
        ),
        sa.Column("finding", sa.Text(), nullable=True, comment="why it does not count; null: it does"),
        sa.Column(
            "settled_at", sa.DateTime(timezone=True), nullable=True, comment="when a person saw to a finding"
        ),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settlement", sa.Text(), nullable=True, comment="in a person's words"),
        sa.CheckConstraint(
            "result IN ('accepted', 'rejected', 'paid', 'refused', 'refunded')",
            name=op.f("ck_fee_result_result"),
        ),
        sa.PrimaryKeyConstraint("charge_id", "result", "amount_millimes", name=op.f("pk_fee_result")),
        comment="What the billing system told of charges.",
    )
    op.create_index(op.f("ix_fee_result_feed_id"), "fee_result", ["feed_id"], unique=False)
    op.create_index(
        "ix_fee_result_pending",
        "fee_result",
        ["charge_id"],
        unique=False,
        postgresql_where=sa.text("finding IS NOT NULL AND settled_at IS NULL"),
    )
    op.create_table(
        "fee_waiver",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column(
            "because", sa.Text(), nullable=False, comment="trial, or a code of an exemption of the rules"
        ),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column(
            "valid_until", sa.Date(), nullable=True, comment="its last day; null: until further notice"
        ),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_waiver")),
        comment="Who pays nothing: years that begin while it holds are free. Rows are never changed or removed; of one customer and code the last one stands.",
    )
    op.create_index(
        op.f("ix_fee_waiver_customer_reference"), "fee_waiver", ["customer_reference"], unique=False
    )
    op.create_table(
        "subscriber_count",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("district", sa.Text(), nullable=False, comment="empty: not known"),
        sa.Column("subscribers", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "state", "channel", "language", "district", name=op.f("pk_subscriber_count")
        ),
        comment="How many subscriptions there were on a day, as they were then.",
    )
    op.create_index(
        "ix_account_fact_contract_ended",
        "account_fact",
        ["customer_reference"],
        unique=False,
        postgresql_where=sa.text("fact = 'contract_ended'"),
    )
    op.create_index(
        "ix_customer_closed",
        "customer",
        ["customer_reference"],
        unique=False,
        postgresql_where=sa.text("contract = 'closed'"),
    )
    op.add_column(
        "subscription",
        sa.Column(
            "fees_closed_on",
            sa.Date(),
            nullable=True,
            comment="the day on which the charges of one that has ended were closed",
        ),
    )
    op.create_index(
        "ix_subscription_fees_open",
        "subscription",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'ended' AND began_on IS NOT NULL AND fees_closed_on IS NULL"),
    )
    op.create_index(
        "ix_subscription_new_to_fees",
        "subscription",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state <> 'ended' AND began_on IS NULL"),
    )

    _guard_charges()
    _keep(
        "fee_charge",
        "a charge is never removed; for what, how much and in which file it stands is never changed",
        "BEFORE DELETE ON fee_charge FOR EACH ROW",
        "BEFORE UPDATE OF subscription_id, period_start, period_end, amount_millimes ON fee_charge FOR EACH ROW",
        "BEFORE UPDATE OF file_id, told_millimes ON fee_charge FOR EACH ROW WHEN (OLD.file_id IS NOT NULL)",
    )
    _keep(
        "fee_credit",
        "a credit is never changed or removed, but for the one file that tells it",
        "BEFORE DELETE ON fee_credit FOR EACH ROW",
        "BEFORE UPDATE ON fee_credit FOR EACH ROW WHEN (OLD.file_id IS NOT NULL OR "
        "(OLD.charge_id, OLD.amount_millimes, OLD.because) "
        "IS DISTINCT FROM (NEW.charge_id, NEW.amount_millimes, NEW.because))",
    )
    for table, what in (("fee_entry", "an entry of the journal"), ("fee_waiver", "a waiver")):
        _keep(
            table,
            f"{what} is never changed or removed: write another",
            f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW",
        )


def downgrade() -> None:
    for table, index in (
        ("subscription", "ix_subscription_new_to_fees"),
        ("subscription", "ix_subscription_fees_open"),
        ("customer", "ix_customer_closed"),
        ("account_fact", "ix_account_fact_contract_ended"),
    ):
        op.drop_index(index, table_name=table)
    op.drop_column("subscription", "fees_closed_on")
    for table in (
        *("subscriber_count", "fee_result", "fee_waiver", "fee_entry", "fee_credit", "fee_charge"),
        "fee_file",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION fee_charge_moves()")
    for table in ("fee_charge", "fee_credit", "fee_entry", "fee_waiver"):
        op.execute(f"DROP FUNCTION {table}_stands()")
