"""The billing cycle.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# The state machine of fatoura.notices.states, as the database enforces it. A test compares the two.
BY_RECEIPT = ("delivered", "undeliverable", "expired", "rejected")
TRANSITIONS = {
    "OLD.state = 'planned'": ("sending", "cancelled"),
    "OLD.state = 'planned' AND OLD.attempts > 0": BY_RECEIPT,
    "OLD.state = 'sending'": ("planned", "in_doubt", "accepted", *BY_RECEIPT),
    "OLD.state = 'in_doubt'": ("planned", "sending", "accepted", *BY_RECEIPT),
    "OLD.state = 'accepted'": BY_RECEIPT,
}


def _guard_states() -> None:
    allowed = " OR ".join(
        f"({old} AND NEW.state IN ({', '.join(repr(state) for state in new)}))"
        for old, new in TRANSITIONS.items()
    )
    op.execute(
        f"""
        CREATE FUNCTION notice_state_moves() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                RAISE EXCEPTION 'a notice begins as planned, not as %', NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'notice_state_moves';
            ELSIF NOT ({allowed}) THEN
                RAISE EXCEPTION 'notice % may not go from % to %', OLD.id, OLD.state, NEW.state
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'notice_state_moves';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER notice_begins BEFORE INSERT ON notice FOR EACH ROW "
        "WHEN (NEW.state <> 'planned') EXECUTE FUNCTION notice_state_moves()"
    )
    op.execute(
        "CREATE TRIGGER notice_moves BEFORE UPDATE OF state ON notice FOR EACH ROW "
        "WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION notice_state_moves()"
    )


def _keep_decisions() -> None:
    op.execute(
        """
        CREATE FUNCTION doubt_decision_stays() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'a decision on a doubt is never changed or removed'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'doubt_decision_stays';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER doubt_decision_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON doubt_decision "
        "FOR EACH STATEMENT EXECUTE FUNCTION doubt_decision_stays()"
    )


def upgrade() -> None:
    op.create_table(
        "announcement",
        sa.Column("partition_key", sa.Text(), nullable=False, comment="cycle key, or cycle key/supplement-n"),
        sa.Column("manifest_digest", sa.Text(), nullable=False, comment="sha256 of the manifest file"),
        sa.Column(
            "announced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("partition_key", "manifest_digest", name=op.f("pk_announcement")),
        comment="Complete manifests for which a run was asked; one manifest never starts two runs.",
    )
    op.create_table(
        "attempt",
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "valid_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the end of the validity that was handed to the provider",
        ),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="accepted, refused, rejected, in_doubt; null while under way",
        ),
        sa.Column(
            "answer",
            sa.Text(),
            nullable=True,
            comment="the provider's answer, shortened; never the text or the number",
        ),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'refused', 'rejected', 'in_doubt')", name=op.f("ck_attempt_outcome")
        ),
        sa.PrimaryKeyConstraint("notice_id", "number", name=op.f("pk_attempt")),
    )
    op.create_index(
        "ix_attempt_provider_id",
        "attempt",
        ["gateway", "provider_id"],
        unique=False,
        postgresql_where=sa.text("provider_id IS NOT NULL"),
    )
    op.create_table(
        "cycle",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="such as 2026-05-T1, or cutoff-2026-06-29"),
        sa.Column("purpose", sa.Text(), server_default="billing", nullable=False),
        sa.Column(
            "issue_date", sa.Date(), nullable=False, comment="of its bills; of any other cycle, its day"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cycle")),
        sa.UniqueConstraint("key", name=op.f("uq_cycle_key")),
        sa.CheckConstraint(
            "purpose IN ('billing', 'cutoff', 'payment_received')", name=op.f("ck_cycle_purpose")
        ),
        comment="What is planned, sent and settled together: a billing cycle, a day's cut-off warnings, …",
    )
    op.create_table(
        "calendar_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("opens", sa.Time(), nullable=True, comment="null: the usual hour"),
        sa.Column("closes", sa.Time(), nullable=True, comment="null: the usual hour"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_calendar_day")),
        comment="Dated decisions that override the calendar's rules.",
    )
    op.create_table(
        "district",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name_fr", sa.Text(), nullable=False),
        sa.Column("name_ar", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_district")),
    )
    op.create_table(
        "gateway",
        sa.Column("name", sa.Text(), nullable=False, comment="of its Airflow connection"),
        sa.Column("adapter", sa.Text(), nullable=False, comment="how the provider is spoken to: kannel, …"),
        sa.Column(
            "form",
            sa.Text(),
            nullable=True,
            comment="of an adapter that speaks to several providers: which one",
        ),
        sa.Column(
            "capabilities",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="what its interface declares that it can do",
        ),
        sa.Column("position", sa.SmallInteger(), nullable=False, comment="in the order of fall-back"),
        sa.Column("in_use", sa.Boolean(), nullable=False, comment="whether new messages may go through it"),
        sa.Column(
            "weight",
            sa.Numeric(),
            nullable=True,
            comment="its share beside the others' weights, as an operator decided; 0: fall-back. Null: nobody "
            "has, and the first gets all",
        ),
        sa.Column(
            "health",
            sa.Numeric(),
            server_default="1",
            nullable=False,
            comment="0 to 1: how much of its share it gets",
        ),
        sa.Column(
            "health_since",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("segments_per_second", sa.Numeric(), nullable=True, comment="null: the setting"),
        sa.Column(
            "next_free",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the next unreserved instant",
        ),
        sa.Column(
            "urgent_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="until then urgent messages have its whole rate",
        ),
        sa.Column(
            "turns",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="by cycle: when the stretch that it reserved last begins, in seconds since the epoch",
        ),
        sa.Column(
            "polled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was last asked for receipts, where it does not report by itself",
        ),
        sa.Column(
            "polled_to",
            sa.Uuid(),
            nullable=True,
            comment="the notice asked about last: the next question goes on there",
        ),
        sa.Column(
            "balance",
            sa.Numeric(),
            nullable=True,
            comment="what was left of the account, as its provider told last",
        ),
        sa.Column("balance_unit", sa.Text(), nullable=True, comment="as SMS or TND"),
        sa.Column("balance_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "balance_asked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="also where the provider did not answer",
        ),
        sa.CheckConstraint("health BETWEEN 0 AND 1", name=op.f("ck_gateway_health")),
        sa.CheckConstraint("segments_per_second > 0", name=op.f("ck_gateway_segments_per_second")),
        sa.CheckConstraint("weight >= 0", name=op.f("ck_gateway_weight")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gateway")),
    )
    op.create_table(
        "doubt_decision",
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column(
            "attempt",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="the last one, in doubt",
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="in a person's words; holds no phone number"),
        sa.CheckConstraint(
            "decision IN ('accepted', 'not_accepted', 'undeliverable')",
            name=op.f("ck_doubt_decision_decision"),
        ),
        sa.PrimaryKeyConstraint("notice_id", "attempt", name=op.f("pk_doubt_decision")),
        comment="What persons decided of notices in doubt. Rows are never changed or removed.",
    )
    op.create_table(
        "invoice",
        sa.Column("extract_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cycle_id", sa.Integer(), nullable=False),
        sa.Column("invoice_number", sa.Text(), nullable=False),
        sa.Column(
            "revision", sa.SmallInteger(), nullable=False, comment="0 as first issued, then one a correction"
        ),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("district", sa.Text(), nullable=False),
        sa.Column("supply", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column(
            "amount_due_millimes", sa.BigInteger(), nullable=False, comment="as issued; never recomputed"
        ),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False, comment="the ledger's bucket of this row"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why there is no notice"),
        sa.Column("subscription_id", sa.BigInteger(), nullable=True, comment="the subscription it matched"),
        sa.CheckConstraint(
            "(bucket = 'noticed') = (reason IS NULL)", name=op.f("ck_invoice_reason_unless_noticed")
        ),
        sa.CheckConstraint(
            "bucket IN ('unsubscribed', 'suppressed', 'held_out', 'noticed')", name=op.f("ck_invoice_bucket")
        ),
        sa.PrimaryKeyConstraint("extract_id", "row_number", name=op.f("pk_invoice")),
        sa.UniqueConstraint("invoice_number", "revision", name=op.f("uq_invoice_invoice_number_revision")),
    )
    op.create_index(
        op.f("ix_invoice_cycle_id"), "invoice", ["cycle_id"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="what it is about: the invoice number of a bill"
        ),
        sa.Column(
            "sequence",
            sa.SmallInteger(),
            nullable=False,
            comment="1 for the first; the revision + 1 of a bill",
        ),
        sa.Column("cycle_id", sa.Integer(), nullable=True),
        sa.Column("extract_id", sa.Integer(), nullable=True),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("district", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True, comment="E.164, as planned; null once erased"),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True, comment="null once erased"),
        sa.Column("encoding", sa.Text(), nullable=False),
        sa.Column("segments", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False, comment="lower goes first"),
        sa.Column("send_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "send_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="after this it is cancelled unsent",
        ),
        sa.Column(
            "validity_minutes", sa.Integer(), nullable=False, comment="the longest the provider may try"
        ),
        sa.Column("planned_by", sa.Text(), nullable=True, comment="the run that planned it"),
        sa.Column("planned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), server_default="planned", nullable=False),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="why it was cancelled, or the provider's word for a failure",
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="not before this instant, after a refusal that proved nothing was accepted",
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="while sending: after this the claim is in doubt",
        ),
        sa.Column("gateway", sa.Text(), nullable=True, comment="the provider of the last attempt"),
        sa.Column("provider_id", sa.Text(), nullable=True, comment="the provider's id of the last attempt"),
        sa.Column(
            "submitted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the last attempt was claimed",
        ),
        sa.Column(
            "final_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it reached its final state, by the provider's word",
        ),
        sa.CheckConstraint("encoding IN ('gsm7', 'ucs2')", name=op.f("ck_notice_encoding")),
        sa.CheckConstraint("language IN ('ar', 'fr')", name=op.f("ck_notice_language")),
        sa.CheckConstraint(
            "state IN ('planned', 'sending', 'in_doubt', 'accepted', 'delivered', 'undeliverable', 'expired', 'rejected', 'cancelled')",
            name=op.f("ck_notice_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("kind", "subject", "sequence", name=op.f("uq_notice_kind_subject_sequence")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(op.f("ix_notice_cycle_id"), "notice", ["cycle_id"], unique=False, postgresql_using="brin")
    op.create_index(
        "ix_notice_open",
        "notice",
        ["state", "lease_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('sending', 'in_doubt')"),
    )
    op.create_index(
        "ix_notice_planned",
        "notice",
        ["cycle_id", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'planned'"),
    )
    op.create_table(
        "receipt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "raw",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="as it came: query and body",
        ),
        sa.Column(
            "notice_id",
            sa.Uuid(),
            nullable=True,
            comment="as it says, or as its provider_id tells; no foreign key: it may be unknown, or garbage",
        ),
        sa.Column("attempt", sa.SmallInteger(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column(
            "status",
            sa.Text(),
            nullable=True,
            comment="the state that it reports; null for an intermediate or unreadable one",
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="the provider's code or word for it"),
        sa.Column(
            "happened_at", sa.DateTime(timezone=True), nullable=True, comment="when, by the provider's clock"
        ),
        sa.Column("match", sa.Text(), server_default="new", nullable=False),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "match IN ('new', 'parked', 'moved', 'noted', 'repeated', 'contradicted', 'unreadable')",
            name=op.f("ck_receipt_match"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
    )
    op.create_index(
        op.f("ix_receipt_notice_id"),
        "receipt",
        ["notice_id"],
        unique=False,
        postgresql_where=sa.text("notice_id IS NOT NULL"),
    )
    op.create_index(
        "ix_receipt_new", "receipt", ["id"], unique=False, postgresql_where=sa.text("match = 'new'")
    )
    op.create_index(
        "ix_receipt_parked",
        "receipt",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("match = 'parked'"),
    )
    op.create_index(
        "ix_receipt_provider_id",
        "receipt",
        ["gateway", "provider_id"],
        unique=False,
        postgresql_where=sa.text("notice_id IS NULL AND provider_id IS NOT NULL"),
    )
    op.create_table(
        "subscription",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("customer_reference", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False, comment="E.164"),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("channel", sa.Text(), nullable=False, comment="how consent was given"),
        sa.Column("consent_date", sa.Date(), nullable=False),
        sa.Column(
            "study_arm", sa.Text(), nullable=True, comment="set by a study; the control arm is held out"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("channel IN ('coupon', 'web')", name=op.f("ck_subscription_channel")),
        sa.CheckConstraint("language IN ('ar', 'fr')", name=op.f("ck_subscription_language")),
        sa.CheckConstraint("state IN ('active', 'suspended', 'ended')", name=op.f("ck_subscription_state")),
        sa.CheckConstraint("study_arm IN ('treatment', 'control')", name=op.f("ck_subscription_study_arm")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(
        "uq_subscription_current",
        "subscription",
        ["customer_reference"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_table(
        "extract",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("cycle_id", sa.Integer(), nullable=False),
        sa.Column(
            "supplement",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="0: the cycle's extract",
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False, comment="folder, or connection and query name"),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="sha256 over issue date and checksums, for sameness"
        ),
        sa.Column("declared_rows", sa.BigInteger(), nullable=False),
        sa.Column("declared_total_millimes", sa.Numeric(), nullable=False, comment="an integer of any size"),
        sa.Column("unknown_columns", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected_rows", sa.BigInteger(), nullable=True, comment="known once validated"),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("source IN ('landing', 'database')", name=op.f("ck_extract_source")),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_extract_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_extract")),
        sa.UniqueConstraint("cycle_id", "supplement", name=op.f("uq_extract_cycle_id_supplement")),
    )
    op.create_table(
        "stage",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("cycle_id", sa.Integer(), nullable=False),
        sa.Column("supplement", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="extract, validate, match, render, release, send, …"
        ),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "seconds",
            sa.Numeric(),
            sa.Computed(
                "extract(epoch from finished_at - started_at)",
            ),
            nullable=True,
        ),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_stage_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage")),
        comment="What each task did, each time it ran: the times and counts of reports.",
    )
    op.create_index(op.f("ix_stage_cycle_id_name"), "stage", ["cycle_id", "name"], unique=False)
    op.create_table(
        "rejected_row",
        sa.Column("extract_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "row_number",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="1-based over all parts, header excluded",
        ),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column(
            "part_row", sa.BigInteger(), nullable=False, comment="1-based in its part, header excluded"
        ),
        sa.Column(
            "reasons", postgresql.ARRAY(sa.Text()), nullable=False, comment="codes of the rules it broke"
        ),
        sa.Column(
            "fields",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the row as it came, unknown columns included",
        ),
        sa.PrimaryKeyConstraint("extract_id", "row_number", name=op.f("pk_rejected_row")),
    )
    op.create_table(
        "statement",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("period", sa.Date(), nullable=False, comment="the first day of its month"),
        sa.Column(
            "level",
            sa.Text(),
            nullable=False,
            comment="detail: a line a message; summary: a line a kind of them",
        ),
        sa.Column("file", sa.Text(), nullable=False, comment="its name"),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="sha256 over the file and the form it was read by"
        ),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column(
            "time_window", sa.Interval(), nullable=False, comment="how far the two clocks may lie apart"
        ),
        sa.Column(
            "segment_price_millimes",
            sa.Numeric(),
            nullable=True,
            comment="the contract's with this provider; null: the setting",
        ),
        sa.Column("lines", sa.BigInteger(), nullable=False, comment="that could be counted"),
        sa.Column("set_aside", sa.BigInteger(), nullable=False, comment="lines that could not"),
        sa.Column(
            "declared_segments",
            sa.BigInteger(),
            nullable=True,
            comment="the file's own total, where it has one",
        ),
        sa.Column("declared_millimes", sa.Numeric(), nullable=True, comment="the same"),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "revision",
            sa.SmallInteger(),
            server_default="1",
            nullable=False,
            comment="2: a first correction, …",
        ),
        sa.CheckConstraint("level IN ('detail', 'summary')", name=op.f("ck_statement_level")),
        sa.CheckConstraint("extract(day FROM period) = 1", name=op.f("ck_statement_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
        sa.UniqueConstraint("gateway", "period", name=op.f("uq_statement_gateway_period")),
        comment="What a provider says that it counted in a month.",
    )
    op.create_table(
        "statement_flaw",
        sa.Column("statement_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="a code; never the value"),
        sa.PrimaryKeyConstraint("statement_id", "line", "field", name=op.f("pk_statement_flaw")),
        comment="Lines that were set aside.",
    )
    op.create_table(
        "statement_line",
        sa.Column("statement_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False, comment="in the file, 1-based"),
        sa.Column(
            "message",
            sa.Integer(),
            nullable=False,
            comment="the line of the message's first part; often itself",
        ),
        sa.Column(
            "notice_id", sa.Uuid(), nullable=True, comment="our id in it; no foreign key: it may be unknown"
        ),
        sa.Column("attempt", sa.SmallInteger(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column(
            "recipient", sa.Text(), nullable=True, comment="E.164, as far as it can be told; null once erased"
        ),
        sa.Column(
            "submitted_at", sa.DateTime(timezone=True), nullable=True, comment="by the provider's clock"
        ),
        sa.Column(
            "submitted_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the end of the second, minute or day that it stands for",
        ),
        sa.Column("messages", sa.Integer(), nullable=True, comment="1, or of a summary how many"),
        sa.Column("segments", sa.Integer(), nullable=True, comment="null: the file does not say"),
        sa.Column("amount_millimes", sa.Numeric(), nullable=True, comment="null: the file does not say"),
        sa.Column("status", sa.Text(), nullable=True, comment="the provider's word"),
        sa.Column("billed", sa.Boolean(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True, comment="of a summary: what was counted"),
        sa.Column(
            "kinds",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="of a summary: our kinds of notice; null: all that no other line counts",
        ),
        sa.PrimaryKeyConstraint("statement_id", "line", name=op.f("pk_statement_line")),
    )
    op.create_table(
        "statement_match",
        sa.Column("statement_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("matched_by", sa.Text(), nullable=False),
        sa.Column(
            "surplus", sa.Boolean(), nullable=False, comment="another line counts the same attempt already"
        ),
        sa.CheckConstraint(
            "matched_by IN ('notice_id', 'provider_id', 'recipient')",
            name=op.f("ck_statement_match_matched_by"),
        ),
        sa.PrimaryKeyConstraint("statement_id", "line", name=op.f("pk_statement_match")),
        comment="Which attempt a line is about.",
    )
    op.create_index(
        op.f("ix_statement_match_notice_id_attempt"),
        "statement_match",
        ["notice_id", "attempt"],
        unique=False,
    )
    op.create_index(
        op.f("ix_attempt_claimed_at"), "attempt", ["claimed_at"], unique=False, postgresql_using="brin"
    )
    op.execute("CREATE SCHEMA staging")
    _guard_states()
    _keep_decisions()


def downgrade() -> None:
    op.execute("DROP SCHEMA staging CASCADE")
    op.drop_index(op.f("ix_attempt_claimed_at"), table_name="attempt", postgresql_using="brin")
    op.drop_index(op.f("ix_statement_match_notice_id_attempt"), table_name="statement_match")
    op.drop_table("statement_match")
    op.drop_table("statement_line")
    op.drop_table("statement_flaw")
    op.drop_table("statement")
    op.drop_table("rejected_row")
    op.drop_index(op.f("ix_stage_cycle_id_name"), table_name="stage")
    op.drop_table("stage")
    op.drop_table("extract")
    op.drop_index(
        "uq_subscription_current", table_name="subscription", postgresql_where=sa.text("state <> 'ended'")
    )
    op.drop_table("subscription")
    op.drop_index(
        "ix_receipt_provider_id",
        table_name="receipt",
        postgresql_where=sa.text("notice_id IS NULL AND provider_id IS NOT NULL"),
    )
    op.drop_index("ix_receipt_parked", table_name="receipt", postgresql_where=sa.text("match = 'parked'"))
    op.drop_index("ix_receipt_new", table_name="receipt", postgresql_where=sa.text("match = 'new'"))
    op.drop_index(
        op.f("ix_receipt_notice_id"), table_name="receipt", postgresql_where=sa.text("notice_id IS NOT NULL")
    )
    op.drop_table("receipt")
    op.drop_index("ix_notice_planned", table_name="notice", postgresql_where=sa.text("state = 'planned'"))
    op.drop_index(
        "ix_notice_open", table_name="notice", postgresql_where=sa.text("state IN ('sending', 'in_doubt')")
    )
    op.drop_index(op.f("ix_notice_cycle_id"), table_name="notice", postgresql_using="brin")
    op.drop_table("notice")
    op.drop_index(op.f("ix_invoice_cycle_id"), table_name="invoice", postgresql_using="brin")
    op.drop_table("invoice")
    op.drop_table("gateway")
    op.drop_table("doubt_decision")
    op.drop_table("district")
    op.drop_table("calendar_day")
    op.drop_table("cycle")
    op.drop_index(
        "ix_attempt_provider_id", table_name="attempt", postgresql_where=sa.text("provider_id IS NOT NULL")
    )
    op.drop_table("attempt")
    op.drop_table("announcement")
    op.execute("DROP FUNCTION notice_state_moves()")
    op.execute("DROP FUNCTION doubt_decision_stays()")
