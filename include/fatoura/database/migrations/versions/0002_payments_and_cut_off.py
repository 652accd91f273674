"""Payments, account facts, and cut-off cases.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# The state machine of fatoura.cutoff.states, as the database enforces it. A test compares the two.
TRANSITIONS = {
    "scheduled": ("warned", "not_warned", "paid", "excluded"),
    "warned": ("warned_again", "handed_over", "not_warned", "paid", "excluded"),
    "warned_again": ("handed_over", "paid", "excluded"),
    "handed_over": ("paid", "excluded"),
    "not_warned": ("paid", "excluded"),
}


def _guard_states() -> None:
    allowed = " OR ".join(
        f"(OLD.state = '{old}' AND NEW.state IN ({', '.join(repr(state) for state in new)}))"
        for old, new in TRANSITIONS.items()
    )
    op.execute(
        f"""
        CREATE FUNCTION cutoff_case_moves() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                RAISE EXCEPTION 'a cut-off case begins as scheduled, not as %', NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'cutoff_case_moves';
            ELSIF NOT ({allowed}) THEN
                RAISE EXCEPTION 'the cut-off case of invoice % may not go from % to %',
                    OLD.invoice_number, OLD.state, NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'cutoff_case_moves';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER cutoff_case_begins BEFORE INSERT ON cutoff_case FOR EACH ROW "
        "WHEN (NEW.state <> 'scheduled') EXECUTE FUNCTION cutoff_case_moves()"
    )
    op.execute(
        "CREATE TRIGGER cutoff_case_moves BEFORE UPDATE OF state ON cutoff_case FOR EACH ROW "
        "WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION cutoff_case_moves()"
    )


def upgrade() -> None:
    op.create_table(
        "account_fact",
        sa.Column("fact_id", sa.Text(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column(
            "invoice_number", sa.Text(), nullable=True, comment="null: of all invoices of the customer"
        ),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column(
            "valid_until", sa.Date(), nullable=True, comment="its last day; null: until further notice"
        ),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("feed_id", sa.Integer(), nullable=False, comment="the feed that brought what stands"),
        sa.Column("row_number", sa.BigInteger(), nullable=False),
        sa.Column(
            "told_in",
            sa.Text(),
            nullable=False,
            comment="the last feed that told it so: of two names, the one that sorts later wins",
        ),
        sa.Column(
            "revision",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="how many other versions of it were told",
        ),
        sa.CheckConstraint(
            "fact IN ('payment_plan', 'dispute', 'direct_debit', 'protected', 'estimate_review', 'cancelled', 'number_changed', 'contract_ended')",
            name=op.f("ck_account_fact_fact"),
        ),
        sa.PrimaryKeyConstraint("fact_id", name=op.f("pk_account_fact")),
        comment="What changes whether a customer may be warned.",
    )
    op.create_index(
        op.f("ix_account_fact_customer_reference"), "account_fact", ["customer_reference"], unique=False
    )
    op.create_index(op.f("ix_account_fact_feed_id"), "account_fact", ["feed_id"], unique=False)
    op.create_table(
        "cutoff_case",
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column(
            "sequence",
            sa.SmallInteger(),
            server_default="1",
            autoincrement=False,
            nullable=False,
            comment="2 when it was opened again, …",
        ),
        sa.Column("cycle_id", sa.Integer(), nullable=False, comment="the billing cycle"),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("district", sa.Text(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False, comment="of the invoice"),
        sa.Column("notice_id", sa.Uuid(), nullable=False, comment="the bill notice it follows"),
        sa.Column("amount_due_millimes", sa.BigInteger(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("warn_from", sa.Date(), nullable=False, comment="first day on which it may be warned"),
        sa.Column("opened_because", sa.Text(), server_default="billed", nullable=False),
        sa.Column("state", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it is left out or not warned"),
        sa.Column(
            "left_out_until",
            sa.Date(),
            nullable=True,
            comment="the last day of the fact that leaves it out; null: not known",
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("under_way", sa.Uuid(), nullable=True, comment="the warning that has no final word yet"),
        sa.Column("warning_id", sa.Uuid(), nullable=True, comment="the first warning, once delivered"),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True, comment="when it was delivered"),
        sa.Column("second_warning_id", sa.Uuid(), nullable=True, comment="the second one, once delivered"),
        sa.Column("warned_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "cut_from",
            sa.Date(),
            nullable=True,
            comment="the earliest day of the cut, as the customer was told",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "opened_because IN ('billed', 'reversal', 'left_out_no_more', 'corrected')",
            name=op.f("ck_cutoff_case_opened_because"),
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'warned', 'warned_again', 'handed_over', 'not_warned', 'paid', 'excluded')",
            name=op.f("ck_cutoff_case_state"),
        ),
        sa.PrimaryKeyConstraint("invoice_number", "sequence", name=op.f("pk_cutoff_case")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        op.f("ix_cutoff_case_customer_reference"), "cutoff_case", ["customer_reference"], unique=False
    )
    op.create_index(
        op.f("ix_cutoff_case_cycle_id"), "cutoff_case", ["cycle_id"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        op.f("ix_cutoff_case_due_date"),
        "cutoff_case",
        ["due_date"],
        unique=False,
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_cutoff_case_left_out_until",
        "cutoff_case",
        ["left_out_until"],
        unique=False,
        postgresql_where=sa.text("left_out_until IS NOT NULL"),
    )
    op.create_index(
        "ix_cutoff_case_under_way",
        "cutoff_case",
        ["under_way"],
        unique=False,
        postgresql_where=sa.text("under_way IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_cutoff_case_warn_from"),
        "cutoff_case",
        ["warn_from"],
        unique=False,
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_cutoff_case_warned",
        "cutoff_case",
        ["cut_from"],
        unique=False,
        postgresql_where=sa.text("state IN ('warned', 'warned_again')"),
    )
    op.create_table(
        "cutoff_decision",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column("sequence", sa.SmallInteger(), nullable=False, comment="of the case"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moment", sa.Text(), nullable=False, comment="when on the case's way it was decided"),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="a code of fatoura.cutoff.reasons"),
        sa.Column("notice_kind", sa.Text(), nullable=True, comment="the notice that it is about"),
        sa.Column("notice_id", sa.Uuid(), nullable=True, comment="that notice, once it is planned"),
        sa.Column(
            "cycle_id", sa.Integer(), nullable=True, comment="the day's cycle, of a decision of the daily run"
        ),
        sa.Column("balance_millimes", sa.BigInteger(), nullable=True, comment="what was owed then"),
        sa.Column("cut_from", sa.Date(), nullable=True, comment="the earliest day of the cut, as decided"),
        sa.Column(
            "evidence",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="ids of the facts it rests on",
        ),
        sa.Column("rules_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "moment IN ('due', 'claim', 'settled', 'feed', 'hand_over', 'corrected')",
            name=op.f("ck_cutoff_decision_moment"),
        ),
        sa.CheckConstraint(
            "verdict IN ('notify', 'leave_out', 'letter', 'warned', 'hand_over', 'withdraw', 'reopen')",
            name=op.f("ck_cutoff_decision_verdict"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cutoff_decision")),
        comment="Why a case went the way it went. Rows are never changed but for the notice planned from them.",
    )
    op.create_index(
        op.f("ix_cutoff_decision_cycle_id"),
        "cutoff_decision",
        ["cycle_id"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        op.f("ix_cutoff_decision_day"), "cutoff_decision", ["day"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        op.f("ix_cutoff_decision_invoice_number"), "cutoff_decision", ["invoice_number"], unique=False
    )
    op.create_table(
        "cutoff_list",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "watermarks",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="of each channel when it was made",
        ),
        sa.Column("rules_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('letters', 'hand_over', 'call_back')", name=op.f("ck_cutoff_list_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cutoff_list")),
        sa.UniqueConstraint("kind", "day", name=op.f("uq_cutoff_list_kind_day")),
        comment="Lists for people: letters to write, teams to send, teams to call back.",
    )
    op.create_table(
        "cutoff_list_line",
        sa.Column("list_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column("sequence", sa.SmallInteger(), nullable=False, comment="of the case"),
        sa.Column("balance_millimes", sa.BigInteger(), nullable=False, comment="when the list was made"),
        sa.Column(
            "notice_id",
            sa.Uuid(),
            nullable=True,
            comment="the proof of notice; of a letter the message that did not arrive",
        ),
        sa.Column(
            "delivered_at", sa.DateTime(timezone=True), nullable=True, comment="by the provider's clock"
        ),
        sa.Column("receipt_id", sa.BigInteger(), nullable=True, comment="the raw receipt that says so"),
        sa.PrimaryKeyConstraint("list_id", "invoice_number", name=op.f("pk_cutoff_list_line")),
    )
    op.create_index(
        op.f("ix_cutoff_list_line_invoice_number"), "cutoff_list_line", ["invoice_number"], unique=False
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="as its manifest says; sorts in the order of time"
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "location",
            sa.Text(),
            nullable=False,
            comment="folder, connection and query, or who pushed or typed",
        ),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "digest",
            sa.Text(),
            nullable=False,
            comment="sha256 over what it says and its parts, for sameness",
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="its rows by what became of them",
        ),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when cut-off cases took it up; null: still to be done",
        ),
        sa.CheckConstraint("content IN ('payments', 'facts')", name=op.f("ck_feed_content")),
        sa.CheckConstraint(
            "source IN ('landing', 'database', 'push', 'command')", name=op.f("ck_feed_source")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        sa.UniqueConstraint("content", "name", name=op.f("uq_feed_content_name")),
        comment="What other systems told of payments and accounts, one row a delivery.",
    )
    op.create_index(
        "ix_feed_unapplied", "feed", ["id"], unique=False, postgresql_where=sa.text("applied_at IS NULL")
    )
    op.create_table(
        "complaint",
        sa.Column("subject", sa.Text(), nullable=False, comment="a feed, or a place that is asked for feeds"),
        sa.Column("digest", sa.Text(), nullable=False, comment="sha256 of what was said of it"),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_complaint")),
        comment="What people were told is wrong and still is: the same is not told again and again.",
    )
    op.create_table(
        "feed_refusal",
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="of its folder"),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column(
            "problems",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="a sentence for each thing that is wrong",
        ),
        sa.Column(
            "channels",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="that its payments are of; null: not known, so perhaps all",
        ),
        sa.Column("first_refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False, comment="at the last look"),
        sa.CheckConstraint("content IN ('payments', 'facts')", name=op.f("ck_feed_refusal_content")),
        sa.PrimaryKeyConstraint("content", "name", name=op.f("pk_feed_refusal")),
        comment="Feeds in the landing folder that are refused as a whole. While one lies there, the watermarks of its channels stay where they are: something is missing.",
    )
    op.create_table(
        "payment",
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column(
            "invoice_number",
            sa.Text(),
            nullable=False,
            comment="one payment may pay several; may be unknown here",
        ),
        sa.Column(
            "amount_millimes", sa.BigInteger(), nullable=False, comment="over zero, also of a reversal"
        ),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "reverses",
            sa.Text(),
            nullable=True,
            comment="of a reversal: the payment's id; the invoice is the same",
        ),
        sa.Column("feed_id", sa.Integer(), nullable=False, comment="the feed that brought what stands"),
        sa.Column("row_number", sa.BigInteger(), nullable=False, comment="in its feed, 1-based"),
        sa.Column(
            "known_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the latest watermark under which it was told so",
        ),
        sa.Column(
            "told_in",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="that feed's name: of two alike, the one that sorts later wins",
        ),
        sa.Column(
            "revision",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="how many other versions of it were told",
        ),
        sa.Column(
            "counts_millimes",
            sa.BigInteger(),
            nullable=False,
            comment="what it takes off the invoice; of a reversal what it puts back, below zero",
        ),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.CheckConstraint("(kind = 'reversal') = (reverses IS NOT NULL)", name=op.f("ck_payment_reverses")),
        sa.CheckConstraint(
            "channel IN ('counter', 'post', 'bank', 'web', 'app', 'debit')", name=op.f("ck_payment_channel")
        ),
        sa.CheckConstraint("kind IN ('payment', 'reversal')", name=op.f("ck_payment_kind")),
        sa.CheckConstraint(
            "outcome IN ('counted', 'waits_for_payment', 'exceeds_payment')", name=op.f("ck_payment_outcome")
        ),
        sa.CheckConstraint("amount_millimes > 0", name=op.f("ck_payment_amount")),
        sa.PrimaryKeyConstraint("payment_id", "invoice_number", name=op.f("pk_payment")),
    )
    op.create_index(op.f("ix_payment_feed_id"), "payment", ["feed_id"], unique=False)
    op.create_index(
        op.f("ix_payment_invoice_number"),
        "payment",
        ["invoice_number"],
        unique=False,
        postgresql_include=["counts_millimes"],
    )
    op.create_index(
        op.f("ix_payment_reverses"),
        "payment",
        ["reverses"],
        unique=False,
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )
    op.create_table(
        "set_aside_row",
        sa.Column("feed_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "row_number", sa.BigInteger(), autoincrement=False, nullable=False, comment="in its feed, 1-based"
        ),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column(
            "part_row", sa.BigInteger(), nullable=False, comment="1-based in its part, header excluded"
        ),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column(
            "reasons",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="field: code, for each thing that is wrong",
        ),
        sa.Column(
            "fields",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the row as it came, unknown columns included",
        ),
        sa.Column(
            "subject", sa.Text(), nullable=True, comment="its payment_id or fact_id, where it can be read"
        ),
        sa.Column("invoice_number", sa.Text(), nullable=True, comment="where it can be read"),
        sa.Column("customer_reference", sa.Text(), nullable=True, comment="where it can be read"),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a person, or a good row of the same id, settled it",
        ),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column(
            "settlement",
            sa.Text(),
            nullable=True,
            comment="in a person's words, or the feed that brought the good row",
        ),
        sa.CheckConstraint("content IN ('payments', 'facts')", name=op.f("ck_set_aside_row_content")),
        sa.PrimaryKeyConstraint("feed_id", "row_number", name=op.f("pk_set_aside_row")),
        comment="Rows of feeds that break a rule. Until one is settled, whoever it names is not warned.",
    )
    op.create_index(
        "ix_set_aside_row_pending_customer",
        "set_aside_row",
        ["customer_reference"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL AND customer_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_set_aside_row_pending_subject",
        "set_aside_row",
        ["subject"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL AND subject IS NOT NULL"),
    )
    op.create_index(
        "ix_set_aside_row_pending_invoice",
        "set_aside_row",
        ["invoice_number"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL AND invoice_number IS NOT NULL"),
    )
    op.create_table(
        "superseded_row",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="the payment_id or fact_id"),
        sa.Column("invoice_number", sa.Text(), nullable=True),
        sa.Column(
            "was",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the row as it stood, or as it came too late to stand",
        ),
        sa.Column("feed_id", sa.Integer(), nullable=False, comment="the feed that said so"),
        sa.Column("superseded_by", sa.Integer(), nullable=False, comment="the feed that stands instead"),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("content IN ('payments', 'facts')", name=op.f("ck_superseded_row_content")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_superseded_row")),
        comment="Payments and facts as they stood before a correction.",
    )
    op.create_index(op.f("ix_superseded_row_subject"), "superseded_row", ["subject"], unique=False)
    op.create_table(
        "watermark",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column(
            "complete_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="all payments of the channel before it are here",
        ),
        sa.Column("feed_id", sa.Integer(), nullable=False, comment="which said so"),
        sa.ForeignKeyConstraint(["feed_id"], ["feed.id"], name=op.f("fk_watermark_feed_id")),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_watermark")),
        comment="Up to when the payments of each channel are complete.",
    )
    op.create_index(
        op.f("ix_invoice_customer_reference"),
        "invoice",
        ["customer_reference"],
        unique=False,
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.create_index(
        "ix_invoice_corrected",
        "invoice",
        ["invoice_number"],
        unique=False,
        postgresql_where=sa.text("revision > 0"),
    )
    _guard_states()


def downgrade() -> None:
    op.drop_index("ix_invoice_corrected", table_name="invoice", postgresql_where=sa.text("revision > 0"))
    op.drop_index(
        op.f("ix_invoice_customer_reference"),
        table_name="invoice",
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.drop_table("watermark")
    op.drop_index(op.f("ix_superseded_row_subject"), table_name="superseded_row")
    op.drop_table("superseded_row")
    op.drop_index(
        "ix_set_aside_row_pending_invoice",
        table_name="set_aside_row",
        postgresql_where=sa.text("settled_at IS NULL AND invoice_number IS NOT NULL"),
    )
    op.drop_index(
        "ix_set_aside_row_pending_customer",
        table_name="set_aside_row",
        postgresql_where=sa.text("settled_at IS NULL AND customer_reference IS NOT NULL"),
    )
    op.drop_index(
        "ix_set_aside_row_pending_subject",
        table_name="set_aside_row",
        postgresql_where=sa.text("settled_at IS NULL AND subject IS NOT NULL"),
    )
    op.drop_table("set_aside_row")
    op.drop_index(
        op.f("ix_payment_reverses"), table_name="payment", postgresql_where=sa.text("reverses IS NOT NULL")
    )
    op.drop_index(
        op.f("ix_payment_invoice_number"), table_name="payment", postgresql_include=["counts_millimes"]
    )
    op.drop_index(op.f("ix_payment_feed_id"), table_name="payment")
    op.drop_table("payment")
    op.drop_table("feed_refusal")
    op.drop_table("complaint")
    op.drop_index("ix_feed_unapplied", table_name="feed", postgresql_where=sa.text("applied_at IS NULL"))
    op.drop_table("feed")
    op.drop_index(op.f("ix_cutoff_list_line_invoice_number"), table_name="cutoff_list_line")
    op.drop_table("cutoff_list_line")
    op.drop_table("cutoff_list")
    op.drop_index(op.f("ix_cutoff_decision_invoice_number"), table_name="cutoff_decision")
    op.drop_index(op.f("ix_cutoff_decision_day"), table_name="cutoff_decision", postgresql_using="brin")
    op.drop_index(
        op.f("ix_cutoff_decision_cycle_id"),
        table_name="cutoff_decision",
        postgresql_using="brin",
    )
    op.drop_table("cutoff_decision")
    op.drop_index(
        "ix_cutoff_case_warned",
        table_name="cutoff_case",
        postgresql_where=sa.text("state IN ('warned', 'warned_again')"),
    )
    op.drop_index(
        op.f("ix_cutoff_case_warn_from"),
        table_name="cutoff_case",
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.drop_index(
        "ix_cutoff_case_under_way",
        table_name="cutoff_case",
        postgresql_where=sa.text("under_way IS NOT NULL"),
    )
    op.drop_index(
        "ix_cutoff_case_left_out_until",
        table_name="cutoff_case",
        postgresql_where=sa.text("left_out_until IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_cutoff_case_due_date"),
        table_name="cutoff_case",
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.drop_index(op.f("ix_cutoff_case_cycle_id"), table_name="cutoff_case", postgresql_using="brin")
    op.drop_index(op.f("ix_cutoff_case_customer_reference"), table_name="cutoff_case")
    op.drop_table("cutoff_case")
    op.drop_index(op.f("ix_account_fact_feed_id"), table_name="account_fact")
    op.drop_index(op.f("ix_account_fact_customer_reference"), table_name="account_fact")
    op.drop_table("account_fact")
    op.execute("DROP FUNCTION cutoff_case_moves()")
