"""The tables of the application, in the order in which data flows through them.

SQLAlchemy Core tables, for building statements and for checking that the migrations lead here (a test
compares the two). Money is integer millimes, instants are UTC, days are local days of the utility.
Columns marked `PHONE`, `WORDS` or `AS_IT_CAME` hold what is personal: `fatoura.privacy.personal` lists them,
and sealing, retention and erasure start from there.
Tables that take a row for each invoice or message have no foreign keys: checking them costs more than
writing the rows, every writer is a set statement of ours, and the ledger's check finds what is missing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from fatoura.cutoff.states import CaseState
from fatoura.fees.states import LAPSES, OWED, Account, ChargeState, listed
from fatoura.notices.states import Decision, State

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

PHONE = {"personal": "phone"}
"""Marks a column that holds phone numbers: sealed where that is set up."""

WORDS = {"personal": "words"}
"""Marks a column that holds a message's text."""

AS_IT_CAME = {"personal": "as_it_came"}
"""Marks a column that holds documents as others wrote them, in which anything may stand."""


def _instant(name: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **options)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


district = Table(
    "district",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name_fr", Text, nullable=False),
    Column("name_ar", Text, nullable=False),
)

# --- Cycles and extracts -----------------------------------------------------------------------------

cycle = Table(
    "cycle",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True, comment="such as 2026-05-T1, or cutoff-2026-06-29"),
    Column("purpose", Text, nullable=False, server_default="billing"),
    Column("issue_date", Date, nullable=False, comment="of its bills; of any other cycle, its day"),
    _instant("created_at", nullable=False, server_default=func.now()),
    _one_of("purpose", "billing", "cutoff", "payment_received", "welcome", "codes", "subscription_news"),
    comment="What is planned, sent and settled together: a billing cycle, a day's cut-off warnings, …",
)

announcement = Table(
    "announcement",
    metadata,
    Column("partition_key", Text, primary_key=True, comment="cycle key, or cycle key/supplement-n"),
    Column("manifest_digest", Text, primary_key=True, comment="sha256 of the manifest file"),
    _instant("announced_at", nullable=False, server_default=func.now()),
    comment="Complete manifests for which a run was asked; one manifest never starts two runs.",
)

extract = Table(
    "extract",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("cycle_id", ForeignKey("cycle.id"), nullable=False),
    Column("supplement", SmallInteger, nullable=False, server_default="0", comment="0: the cycle's extract"),
    Column("source", Text, nullable=False),
    Column("location", Text, nullable=False, comment="folder, or connection and query name"),
    Column("manifest", JSONB, nullable=False),
    Column("digest", Text, nullable=False, comment="sha256 over issue date and checksums, for sameness"),
    Column("declared_rows", BigInteger, nullable=False),
    Column("declared_total_millimes", Numeric, nullable=False, comment="an integer of any size"),
    Column("unknown_columns", ARRAY(Text), nullable=False, server_default="{}"),
    _instant("loaded_at"),
    _instant("validated_at"),
    Column("rejected_rows", BigInteger, comment="known once validated"),
    _instant("matched_at"),
    UniqueConstraint("cycle_id", "supplement"),
    _one_of("source", "landing", "database"),
)

# Staged rows lie in tables of their own, staging.extract_<id>, made by fatoura.extracts and dropped once
# every row has its bucket and the retention of staging has passed.

rejected_row = Table(
    "rejected_row",
    metadata,
    Column("extract_id", Integer, primary_key=True, autoincrement=False),
    Column(
        "row_number",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="1-based over all parts, header excluded",
    ),
    Column("part", Text, nullable=False),
    Column("part_row", BigInteger, nullable=False, comment="1-based in its part, header excluded"),
    Column("reasons", ARRAY(Text), nullable=False, comment="codes of the rules it broke"),
    Column(
        "fields",
        JSONB,
        nullable=False,
        info=AS_IT_CAME,
        comment="the row as it came, unknown columns included; empty once erased",
    ),
)

invoice = Table(
    "invoice",
    metadata,
    Column("extract_id", Integer, primary_key=True, autoincrement=False),
    Column("row_number", BigInteger, primary_key=True, autoincrement=False),
    Column("cycle_id", Integer, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("revision", SmallInteger, nullable=False, comment="0 as first issued, then one a correction"),
    Column("customer_reference", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("supply", Text, nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    Column("amount_due_millimes", BigInteger, nullable=False, comment="as issued; never recomputed"),
    Column("due_date", Date, nullable=False),
    Column("issue_date", Date, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("bucket", Text, nullable=False, comment="the ledger's bucket of this row"),
    Column("reason", Text, comment="why there is no notice"),
    Column("subscription_id", BigInteger, comment="the subscription it matched"),
    UniqueConstraint("invoice_number", "revision"),
    _one_of("bucket", "unsubscribed", "suppressed", "held_out", "noticed"),
    CheckConstraint("(bucket = 'noticed') = (reason IS NULL)", name="reason_unless_noticed"),
    # A customer's other bills tell whether an older one is still owed.
    Index(None, "customer_reference", postgresql_where=text("subscription_id IS NOT NULL")),
    Index("ix_invoice_corrected", "invoice_number", postgresql_where=text("revision > 0")),
    # The invoices of a cycle lie together, as its notices do.
    Index(None, "cycle_id", postgresql_using="brin"),
)

# --- Subscriptions -----------------------------------------------------------------------------------

customer = Table(
    "customer",
    metadata,
    Column("customer_reference", Text, primary_key=True),
    Column("district", Text, nullable=False),
    Column("contract", Text, nullable=False),
    Column("told_in", Text, nullable=False, comment="name of the feed that stands"),
    Column("feed_id", Integer, nullable=False),
    Column("row_number", BigInteger, nullable=False),
    Column(
        "revision",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="how many other versions of it were told",
    ),
    _one_of("contract", "open", "closed"),
    Index("ix_customer_closed", "customer_reference", postgresql_where=text("contract = 'closed'")),
    comment="The utility's customers, as it told them last: who can subscribe. Those with a bill can, too.",
)

subscription = Table(
    "subscription",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("customer_reference", Text, nullable=False),
    Column("phone", Text, info=PHONE, comment="E.164; sealed where that is set up; null once erased"),
    Column("language", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),
    Column("state_reason", Text, comment="why it is suspended, lapsed or ended; a code"),
    Column("channel", Text, nullable=False, comment="how consent was given"),
    Column("consent_date", Date, nullable=False),
    Column(
        "proven_at",
        DateTime(timezone=True),
        comment="when a message reached this phone, or its code came back",
    ),
    Column("study_arm", Text, comment="set by a study; the control arm is held out"),
    Column(
        "began_on", Date, comment="the day from which its years are counted; null: not yet taken up by fees"
    ),
    Column("paid_until", Date, comment="the last day that is paid for, waived or free"),
    Column("free_because", Text, comment="trial, or a code of an exemption: its years are waived"),
    Column("fees_closed_on", Date, comment="the day on which the charges of one that has ended were closed"),
    _instant("created_at", nullable=False, server_default=func.now()),
    _instant("changed_at", nullable=False, server_default=func.now()),
    _instant("ended_at", comment="when its customer left, or its contract ended"),
    _one_of("language", "ar", "fr"),
    _one_of("state", "active", "suspended", "lapsed", "ended"),
    _one_of("channel", "coupon", "web"),
    _one_of("study_arm", "treatment", "control"),
    Index(
        "uq_subscription_current",
        "customer_reference",
        unique=True,
        postgresql_where=text("state <> 'ended'"),
    ),
    Index("ix_subscription_phone", "phone", postgresql_where=text("state <> 'ended'")),
    Index("ix_subscription_suspended", "changed_at", postgresql_where=text("state = 'suspended'")),
    Index("ix_subscription_paid_until", "paid_until", postgresql_where=text("state <> 'ended'")),
    Index(
        "ix_subscription_new_to_fees", "id", postgresql_where=text("state <> 'ended' AND began_on IS NULL")
    ),
    Index(
        "ix_subscription_fees_open",
        "id",
        postgresql_where=text("state = 'ended' AND began_on IS NOT NULL AND fees_closed_on IS NULL"),
    ),
)

consent = Table(
    "consent",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("customer_reference", Text, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("act", Text, nullable=False, comment="given; changed: another number or language; revoked"),
    Column("wording_version", Text, comment="of the text that was agreed to; null where it is revoked"),
    Column("language", Text, comment="of that text"),
    Column("channel", Text, nullable=False),
    Column(
        "evidence", Text, nullable=False, comment="a scan id, the id of a code's verification, a file and row"
    ),
    Column("given_on", Date, nullable=False, comment="the day of the signature, or of the act"),
    _instant("recorded_at", nullable=False),
    Column("recorded_by", Text, nullable=False, comment="a workflow's run, the site, or a person's name"),
    _one_of("act", "given", "changed", "revoked"),
    _one_of("channel", "coupon", "web", "clerk", "keyword", "import", "utility"),
    Index(None, "customer_reference"),
    comment="Who agreed to what, when, and by which evidence. Rows are never changed or removed: revoking "
    "is a row of its own. Holds no phone number.",
)

coupon = Table(
    "coupon",
    metadata,
    Column("coupon_id", Text, primary_key=True),
    Column("scan_id", Text),
    Column("customer_reference", Text),
    Column("phone", Text, info=PHONE, comment="E.164; sealed where that is set up; null once erased"),
    Column("language", Text),
    Column("signed_on", Date),
    Column("wording_version", Text),
    Column("crossed_out", Boolean, nullable=False, comment="of one that is, nothing else has to be legible"),
    Column("told_in", Text, nullable=False, comment="name of the batch that stands"),
    Column("feed_id", Integer, nullable=False),
    Column("row_number", BigInteger, nullable=False),
    Column(
        "revision",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="how many other versions of it were told",
    ),
    Column("outcome", Text, comment="what became of it; null: not judged yet"),
    Column("reason", Text, comment="why a clerk has to look at it; a code"),
    Column("subscription_id", BigInteger, comment="which its consent was given to, also where it is no more"),
    _instant("judged_at", comment="of one that waits: when it was last looked at"),
    Column("judged_by", Text, comment="the clerk, where one has decided"),
    _instant("welcomed_at", comment="when a welcome was planned for it, or turned out to be unneeded"),
    _one_of("language", "ar", "fr"),
    _one_of("outcome", "enrolled", "changed", "unchanged", "superseded", "crossed_out", "waits", "refused"),
    CheckConstraint(
        "crossed_out OR (scan_id IS NOT NULL AND customer_reference IS NOT NULL AND language IS NOT NULL "
        "AND signed_on IS NOT NULL AND wording_version IS NOT NULL)",
        name="legible",
    ),
    Index(None, "customer_reference"),
    Index("ix_coupon_unjudged", "feed_id", postgresql_where=text("outcome IS NULL")),
    Index("ix_coupon_waiting", "coupon_id", postgresql_where=text("outcome = 'waits'")),
    Index("ix_coupon_refused", "coupon_id", postgresql_where=text("outcome = 'refused'")),
    Index(
        "ix_coupon_unwelcomed",
        "coupon_id",
        postgresql_where=text("outcome IN ('enrolled', 'changed') AND welcomed_at IS NULL"),
    ),
    comment="Captured coupons, as they stand: a later batch may tell one again, or crossed out.",
)

coupon_decision = Table(
    "coupon_decision",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("coupon_id", Text, nullable=False),
    _instant("decided_at", nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="in the clerk's words; holds no phone number"),
    Column("found", Text, nullable=False, comment="the outcome, and its reason, that it was decided on"),
    _one_of("decision", "accepted", "refused", "tried_again"),
    Index(None, "coupon_id"),
    comment="What clerks decided of coupons. Rows are never changed or removed.",
)

departure = Table(
    "departure",
    metadata,
    Column("departure_id", Text, primary_key=True),
    Column("customer_reference", Text, nullable=False),
    Column("asked_on", Date, nullable=False),
    Column("told_by", Text, nullable=False, comment="the clerk"),
    Column(
        "reason", Text, info=WORDS, comment="in the clerk's words; holds no phone number; null once erased"
    ),
    Column("feed_id", Integer, nullable=False, comment="the feed that brought what stands"),
    Column("row_number", BigInteger, nullable=False),
    Column("told_in", Text, nullable=False, comment="name of the feed that stands"),
    Column("revision", SmallInteger, nullable=False, server_default="0"),
    Column("outcome", Text, comment="null: not judged yet"),
    Column("subscription_id", BigInteger, comment="the one that it ended"),
    _instant("applied_at"),
    _one_of("outcome", "left", "not_subscribed", "signed_again"),
    Index(None, "customer_reference"),
    Index(None, "feed_id"),
    comment="What clerks were told by customers who want no more messages.",
)

erasure = Table(
    "erasure",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("request", Text, nullable=False, unique=True, comment="the number under which it was asked for"),
    Column("customer_reference", Text, nullable=False),
    Column("done_by", Text, nullable=False),
    _instant("done_at", nullable=False),
    Column("erased", JSONB, nullable=False, comment="how many values, by where they were"),
    Column("kept", JSONB, nullable=False, comment="how many rows, by where they are and why"),
    Index(None, "customer_reference"),
    comment="Whose data was erased at their own request. Holds nothing of what was erased.",
)

retention_done = Table(
    "retention_done",
    metadata,
    Column("place", Text, primary_key=True, comment="table and column"),
    Column(
        "part",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="a cycle, a statement, or a block of ids",
    ),
    _instant("done_at", nullable=False),
    comment="Parts of large tables in which nothing personal is left: they are not looked through again.",
)

inbound_message = Table(
    "inbound_message",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("gateway", Text, nullable=False),
    _instant("received_at", nullable=False),
    Column("act", Text, comment="what its keyword asks for; null: it holds none"),
    Column("outcome", Text, nullable=False),
    Column("subscriptions", Integer, nullable=False, comment="how many it ended"),
    _one_of("act", "leave", "help"),
    _one_of("outcome", "left", "already_left", "unknown_sender", "helped", "no_keyword"),
    Index(None, "received_at", postgresql_using="brin"),
    comment="Messages that customers sent. Neither their number nor their words are kept.",
)

# --- Notices, attempts, receipts ---------------------------------------------------------------------

notice = Table(
    "notice",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("uuidv7()")),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="what it is about: the invoice number of a bill"),
    Column("sequence", SmallInteger, nullable=False, comment="1 for the first; the revision + 1 of a bill"),
    Column("cycle_id", Integer),
    Column("extract_id", Integer),
    Column("subscription_id", BigInteger, comment="null: a code, for whoever asks"),
    Column("district", Text),
    Column("phone", Text, info=PHONE, comment="E.164, as planned; null once erased"),
    Column("language", Text, nullable=False),
    Column("text", Text, info=WORDS, comment="null once erased"),
    Column("encoding", Text, nullable=False),
    Column("segments", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False, comment="lower goes first"),
    Column("send_from", DateTime(timezone=True), nullable=False),
    Column(
        "send_until", DateTime(timezone=True), nullable=False, comment="after this it is cancelled unsent"
    ),
    Column("validity_minutes", Integer, nullable=False, comment="the longest the provider may try"),
    Column("planned_by", Text, comment="the run that planned it"),
    _instant("planned_at", nullable=False, server_default=func.now()),
    Column("state", Text, nullable=False, server_default=State.PLANNED.value),
    Column("reason", Text, comment="why it was cancelled, or the provider's word for a failure"),
    _instant("state_since", nullable=False, server_default=func.now()),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    _instant("retry_at", comment="not before this instant, after a refusal that proved nothing was accepted"),
    _instant("lease_until", comment="while sending: after this the claim is in doubt"),
    Column("gateway", Text, comment="the provider of the last attempt"),
    Column("provider_id", Text, comment="the provider's id of the last attempt"),
    _instant("submitted_at", comment="when the last attempt was claimed"),
    _instant("final_at", comment="when it reached its final state, by the provider's word"),
    UniqueConstraint("kind", "subject", "sequence"),
    _one_of("state", *State),
    _one_of("language", "ar", "fr"),
    _one_of("encoding", "gsm7", "ucs2"),
    # The notices of a cycle lie together: a few pages of index find them among those of years.
    Index(None, "cycle_id", postgresql_using="brin"),
    # The queue. Its last column finds what is planned for a subscription that ends, without reading a notice.
    Index(
        "ix_notice_planned",
        "cycle_id",
        "priority",
        "id",
        "subscription_id",
        postgresql_where=text("state = 'planned'"),
    ),
    Index(
        "ix_notice_open", "state", "lease_until", postgresql_where=text("state IN ('sending', 'in_doubt')")
    ),
    # Claimed, accepted and settled: three updates of each row, which stay in its page with this much room.
    postgresql_with={"fillfactor": "70"},
)

attempt = Table(
    "attempt",
    metadata,
    Column("notice_id", Uuid, primary_key=True),
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("gateway", Text, nullable=False),
    Column("worker", Text, nullable=False),
    _instant("claimed_at", nullable=False, server_default=func.now()),
    _instant("valid_until", comment="the end of the validity that was handed to the provider"),
    _instant("answered_at"),
    Column("outcome", Text, comment="accepted, refused, rejected, in_doubt; null while under way"),
    Column("answer", Text, comment="the provider's answer, shortened; never the text or the number"),
    Column("provider_id", Text),
    _one_of("outcome", "accepted", "refused", "rejected", "in_doubt"),
    Index(
        "ix_attempt_provider_id", "gateway", "provider_id", postgresql_where=text("provider_id IS NOT NULL")
    ),
    # Attempts are written in the order of time: a few pages of index find a month among those of years.
    Index(None, "claimed_at", postgresql_using="brin"),
)

doubt_decision = Table(
    "doubt_decision",
    metadata,
    Column("notice_id", Uuid, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True, autoincrement=False, comment="the last one, in doubt"),
    _instant("decided_at", nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="in a person's words; holds no phone number"),
    _one_of("decision", *Decision),
    comment="What persons decided of notices in doubt. Rows are never changed or removed.",
)

receipt = Table(
    "receipt",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("gateway", Text, nullable=False),
    _instant("received_at", nullable=False, server_default=func.clock_timestamp()),
    Column(
        "raw",
        JSONB,
        nullable=False,
        info=AS_IT_CAME,
        comment="as it came but for the number: query and body; empty once erased",
    ),
    Column(
        "notice_id",
        Uuid,
        comment="as it says, or as its provider_id tells; no foreign key: it may be unknown, or garbage",
    ),
    Column("attempt", SmallInteger),
    Column("provider_id", Text),
    Column("status", Text, comment="the state that it reports; null for an intermediate or unreadable one"),
    Column("detail", Text, comment="the provider's code or word for it"),
    _instant("happened_at", comment="when, by the provider's clock"),
    Column("match", Text, nullable=False, server_default="new"),
    _instant("matched_at"),
    _one_of("match", "new", "parked", "moved", "noted", "repeated", "contradicted", "unreadable"),
    Index("ix_receipt_new", "id", postgresql_where=text("match = 'new'")),
    Index("ix_receipt_parked", "received_at", postgresql_where=text("match = 'parked'")),
    Index(None, "notice_id", postgresql_where=text("notice_id IS NOT NULL")),
    # Of providers that know only their own id, before they are matched.
    Index(
        "ix_receipt_provider_id",
        "gateway",
        "provider_id",
        postgresql_where=text("notice_id IS NULL AND provider_id IS NOT NULL"),
    ),
)

gateway = Table(
    "gateway",
    metadata,
    Column("name", Text, primary_key=True, comment="of its Airflow connection"),
    Column("adapter", Text, nullable=False, comment="how the provider is spoken to: kannel, …"),
    Column("form", Text, comment="of an adapter that speaks to several providers: which one"),
    Column("capabilities", JSONB, nullable=False, comment="what its interface declares that it can do"),
    Column("position", SmallInteger, nullable=False, comment="in the order of fall-back"),
    Column("in_use", Boolean, nullable=False, comment="whether new messages may go through it"),
    Column(
        "weight",
        Numeric,
        comment="its share beside the others' weights, as an operator decided; 0: fall-back. "
        "Null: nobody has, and the first gets all",
    ),
    Column(
        "health", Numeric, nullable=False, server_default="1", comment="0 to 1: how much of its share it gets"
    ),
    _instant("health_since", nullable=False, server_default=func.clock_timestamp()),
    Column("segments_per_second", Numeric, comment="null: the setting"),
    _instant("next_free", nullable=False, server_default=func.now(), comment="the next unreserved instant"),
    _instant("urgent_until", comment="until then urgent messages have its whole rate"),
    Column(
        "turns",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="by cycle: when the stretch that it reserved last begins, in seconds since the epoch",
    ),
    _instant("polled_at", comment="when it was last asked for receipts, where it does not report by itself"),
    Column("polled_to", Uuid, comment="the notice asked about last: the next question goes on there"),
    Column("balance", Numeric, comment="what was left of the account, as its provider told last"),
    Column("balance_unit", Text, comment="as SMS or TND"),
    _instant("balance_told_at"),
    _instant("balance_asked_at", comment="also where the provider did not answer"),
    CheckConstraint("weight >= 0", name="weight"),
    CheckConstraint("health BETWEEN 0 AND 1", name="health"),
    CheckConstraint("segments_per_second > 0", name="segments_per_second"),
)

# --- Provider statements -----------------------------------------------------------------------------

statement = Table(
    "statement",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("gateway", Text, nullable=False),
    Column("period", Date, nullable=False, comment="the first day of its month"),
    Column("level", Text, nullable=False, comment="detail: a line a message; summary: a line a kind of them"),
    Column("file", Text, nullable=False, comment="its name"),
    Column("digest", Text, nullable=False, comment="sha256 over the file and the form it was read by"),
    Column("form", Text, nullable=False),
    Column("time_window", Interval, nullable=False, comment="how far the two clocks may lie apart"),
    Column("segment_price_millimes", Numeric, comment="the contract's with this provider; null: the setting"),
    Column("lines", BigInteger, nullable=False, comment="that could be counted"),
    Column("set_aside", BigInteger, nullable=False, comment="lines that could not"),
    Column("declared_segments", BigInteger, comment="the file's own total, where it has one"),
    Column("declared_millimes", Numeric, comment="the same"),
    _instant("imported_at", nullable=False),
    Column("revision", SmallInteger, nullable=False, server_default="1", comment="2: a first correction, …"),
    UniqueConstraint("gateway", "period"),
    _one_of("level", "detail", "summary"),
    CheckConstraint("extract(day FROM period) = 1", name="period"),
    comment="What a provider says that it counted in a month.",
)

statement_line = Table(
    "statement_line",
    metadata,
    Column("statement_id", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False, comment="in the file, 1-based"),
    Column("message", Integer, nullable=False, comment="the line of the message's first part; often itself"),
    Column("notice_id", Uuid, comment="our id in it; no foreign key: it may be unknown"),
    Column("attempt", SmallInteger),
    Column("provider_id", Text),
    Column("recipient", Text, info=PHONE, comment="E.164, as far as it can be told; null once erased"),
    _instant("submitted_at", comment="by the provider's clock"),
    _instant("submitted_until", comment="the end of the second, minute or day that it stands for"),
    Column("messages", Integer, comment="1, or of a summary how many"),
    Column("segments", Integer, comment="null: the file does not say"),
    Column("amount_millimes", Numeric, comment="null: the file does not say"),
    Column("status", Text, comment="the provider's word"),
    Column("billed", Boolean, nullable=False),
    Column("label", Text, comment="of a summary: what was counted"),
    Column(
        "kinds", ARRAY(Text), comment="of a summary: our kinds of notice; null: all that no other line counts"
    ),
)

statement_match = Table(
    "statement_match",
    metadata,
    Column("statement_id", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("notice_id", Uuid, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("matched_by", Text, nullable=False),
    Column("surplus", Boolean, nullable=False, comment="another line counts the same attempt already"),
    _one_of("matched_by", "notice_id", "provider_id", "recipient"),
    Index(None, "notice_id", "attempt"),
    comment="Which attempt a line is about.",
)

statement_flaw = Table(
    "statement_flaw",
    metadata,
    Column("statement_id", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("field", Text, primary_key=True),
    Column("reason", Text, nullable=False, comment="a code; never the value"),
    comment="Lines that were set aside.",
)

# --- Calendar ------------------------------------------------------------------------------------------

calendar_day = Table(
    "calendar_day",
    metadata,
    Column("day", Date, primary_key=True),
    Column("closed", Boolean, nullable=False),
    Column("opens", Time, comment="null: the usual hour"),
    Column("closes", Time, comment="null: the usual hour"),
    Column("reason", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    comment="Dated decisions that override the calendar's rules.",
)

# --- Payments and account facts ----------------------------------------------------------------------

feed = Table(
    "feed",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("content", Text, nullable=False),
    Column("name", Text, nullable=False, comment="as its manifest says; sorts in the order of time"),
    Column("source", Text, nullable=False),
    Column("location", Text, nullable=False, comment="folder, connection and query, or who pushed or typed"),
    Column("manifest", JSONB, nullable=False),
    Column("digest", Text, nullable=False, comment="sha256 over what it says and its parts, for sameness"),
    Column("counts", JSONB, nullable=False, server_default="{}", comment="its rows by what became of them"),
    _instant("loaded_at", nullable=False),
    _instant("applied_at", comment="when cut-off cases took it up; null: still to be done"),
    UniqueConstraint("content", "name"),
    _one_of("content", "payments", "facts", "customers", "coupons", "departures", "fee_results"),
    _one_of("source", "landing", "database", "push", "command"),
    Index("ix_feed_unapplied", "id", postgresql_where=text("applied_at IS NULL")),
    comment="What other systems told of payments and accounts, one row a delivery.",
)

watermark = Table(
    "watermark",
    metadata,
    Column("channel", Text, primary_key=True),
    _instant("complete_until", nullable=False, comment="all payments of the channel before it are here"),
    Column("feed_id", ForeignKey("feed.id"), nullable=False, comment="which said so"),
    comment="Up to when the payments of each channel are complete.",
)

payment = Table(
    "payment",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column(
        "invoice_number", Text, primary_key=True, comment="one payment may pay several; may be unknown here"
    ),
    Column("amount_millimes", BigInteger, nullable=False, comment="over zero, also of a reversal"),
    _instant("paid_at", nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reverses", Text, comment="of a reversal: the payment's id; the invoice is the same"),
    Column("feed_id", Integer, nullable=False, comment="the feed that brought what stands"),
    Column("row_number", BigInteger, nullable=False, comment="in its feed, 1-based"),
    _instant("known_until", nullable=False, comment="the latest watermark under which it was told so"),
    Column(
        "told_in",
        Text,
        nullable=False,
        server_default="",
        comment="that feed's name: of two alike, the one that sorts later wins",
    ),
    Column(
        "revision",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="how many other versions of it were told",
    ),
    Column(
        "counts_millimes",
        BigInteger,
        nullable=False,
        comment="what it takes off the invoice; of a reversal what it puts back, below zero",
    ),
    Column("outcome", Text, nullable=False),
    _one_of("kind", "payment", "reversal"),
    _one_of("channel", "counter", "post", "bank", "web", "app", "debit"),
    _one_of("outcome", "counted", "waits_for_payment", "exceeds_payment"),
    CheckConstraint("amount_millimes > 0", name="amount"),
    CheckConstraint("(kind = 'reversal') = (reverses IS NOT NULL)", name="reverses"),
    # All that a balance needs: the table itself is not read.
    Index(None, "invoice_number", postgresql_include=["counts_millimes"]),
    Index(None, "reverses", postgresql_where=text("reverses IS NOT NULL")),
    Index(None, "feed_id"),
)

account_fact = Table(
    "account_fact",
    metadata,
    Column("fact_id", Text, primary_key=True),
    Column("customer_reference", Text, nullable=False),
    Column("invoice_number", Text, comment="null: of all invoices of the customer"),
    Column("fact", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_until", Date, comment="its last day; null: until further notice"),
    Column("set_by", Text, nullable=False),
    Column("feed_id", Integer, nullable=False, comment="the feed that brought what stands"),
    Column("row_number", BigInteger, nullable=False),
    Column(
        "told_in",
        Text,
        nullable=False,
        comment="the last feed that told it so: of two names, the one that sorts later wins",
    ),
    Column(
        "revision",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="how many other versions of it were told",
    ),
    _one_of(
        "fact",
        "payment_plan",
        "dispute",
        "direct_debit",
        "protected",
        "estimate_review",
        "cancelled",
        "number_changed",
        "contract_ended",
    ),
    # A fact that ends before it begins was taken back.
    Index(None, "customer_reference"),
    Index(
        "ix_account_fact_contract_ended",
        "customer_reference",
        postgresql_where=text("fact = 'contract_ended'"),
    ),
    Index(None, "feed_id"),
    comment="What changes whether a customer may be warned.",
)

superseded_row = Table(
    "superseded_row",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("content", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="the payment_id or fact_id"),
    Column("invoice_number", Text),
    Column(
        "was",
        JSONB,
        nullable=False,
        info=AS_IT_CAME,
        comment="the row as it stood, or as it came too late to stand; without its number once erased",
    ),
    Column("feed_id", Integer, nullable=False, comment="the feed that said so"),
    Column("superseded_by", Integer, nullable=False, comment="the feed that stands instead"),
    _instant("superseded_at", nullable=False),
    _one_of("content", "payments", "facts", "customers", "coupons", "departures", "fee_results"),
    Index(None, "subject"),
    comment="Payments and facts as they stood before a correction.",
)

set_aside_row = Table(
    "set_aside_row",
    metadata,
    Column("feed_id", Integer, primary_key=True, autoincrement=False),
    Column("row_number", BigInteger, primary_key=True, autoincrement=False, comment="in its feed, 1-based"),
    Column("part", Text, nullable=False),
    Column("part_row", BigInteger, nullable=False, comment="1-based in its part, header excluded"),
    Column("content", Text, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False, comment="field: code, for each thing that is wrong"),
    Column(
        "fields",
        JSONB,
        nullable=False,
        info=AS_IT_CAME,
        comment="the row as it came, unknown columns included; empty once erased",
    ),
    Column("subject", Text, comment="its payment_id or fact_id, where it can be read"),
    Column("invoice_number", Text, comment="where it can be read"),
    Column("customer_reference", Text, comment="where it can be read"),
    _instant("settled_at", comment="when a person, or a good row of the same id, settled it"),
    Column("settled_by", Text),
    Column("settlement", Text, comment="in a person's words, or the feed that brought the good row"),
    _one_of("content", "payments", "facts", "customers", "coupons", "departures", "fee_results"),
    Index(
        "ix_set_aside_row_pending_invoice",
        "invoice_number",
        postgresql_where=text("settled_at IS NULL AND invoice_number IS NOT NULL"),
    ),
    Index(
        "ix_set_aside_row_pending_customer",
        "customer_reference",
        postgresql_where=text("settled_at IS NULL AND customer_reference IS NOT NULL"),
    ),
    Index(
        "ix_set_aside_row_pending_subject",
        "subject",
        postgresql_where=text("settled_at IS NULL AND subject IS NOT NULL"),
    ),
    comment="Rows of feeds that break a rule. Until one is settled, whoever it names is not warned.",
)

feed_refusal = Table(
    "feed_refusal",
    metadata,
    Column("content", Text, primary_key=True),
    Column("name", Text, primary_key=True, comment="of its folder"),
    Column("location", Text, nullable=False),
    Column("problems", ARRAY(Text), nullable=False, comment="a sentence for each thing that is wrong"),
    Column("channels", ARRAY(Text), comment="that its payments are of; null: not known, so perhaps all"),
    _instant("first_refused_at", nullable=False),
    _instant("refused_at", nullable=False, comment="at the last look"),
    _one_of("content", "payments", "facts", "customers", "coupons", "departures", "fee_results"),
    comment="Feeds in the landing folder that are refused as a whole. While one lies there, the watermarks "
    "of its channels stay where they are: something is missing.",
)

complaint = Table(
    "complaint",
    metadata,
    Column("subject", Text, primary_key=True, comment="a feed, or a place that is asked for feeds"),
    Column("digest", Text, nullable=False, comment="sha256 of what was said of it"),
    _instant("told_at", nullable=False),
    comment="What people were told is wrong and still is: the same is not told again and again.",
)

# --- Cut-off warnings --------------------------------------------------------------------------------

cutoff_case = Table(
    "cutoff_case",
    metadata,
    Column("invoice_number", Text, primary_key=True),
    Column(
        "sequence",
        SmallInteger,
        primary_key=True,
        autoincrement=False,
        server_default="1",
        comment="2 when it was opened again, …",
    ),
    Column("cycle_id", Integer, nullable=False, comment="the billing cycle"),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_reference", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("revision", SmallInteger, nullable=False, comment="of the invoice"),
    Column("notice_id", Uuid, nullable=False, comment="the bill notice it follows"),
    Column("amount_due_millimes", BigInteger, nullable=False),
    Column("issue_date", Date, nullable=False),
    Column("due_date", Date, nullable=False),
    Column("warn_from", Date, nullable=False, comment="first day on which it may be warned"),
    Column("opened_because", Text, nullable=False, server_default="billed"),
    Column("state", Text, nullable=False, server_default=CaseState.SCHEDULED.value),
    Column("reason", Text, comment="why it is left out or not warned"),
    Column("left_out_until", Date, comment="the last day of the fact that leaves it out; null: not known"),
    _instant("state_since", nullable=False, server_default=func.now()),
    Column("under_way", Uuid, comment="the warning that has no final word yet"),
    Column("warning_id", Uuid, comment="the first warning, once delivered"),
    _instant("warned_at", comment="when it was delivered"),
    Column("second_warning_id", Uuid, comment="the second one, once delivered"),
    _instant("warned_again_at"),
    Column("cut_from", Date, comment="the earliest day of the cut, as the customer was told"),
    _instant("created_at", nullable=False, server_default=func.now()),
    _one_of("state", *CaseState),
    _one_of("opened_because", "billed", "reversal", "left_out_no_more", "corrected"),
    # The cases of a cycle lie together, but for those that have moved since.
    Index(None, "cycle_id", postgresql_using="brin"),
    Index(None, "customer_reference"),
    Index(None, "warn_from", postgresql_where=text("state = 'scheduled'")),
    Index(None, "due_date", postgresql_where=text("state = 'scheduled'")),
    Index("ix_cutoff_case_warned", "cut_from", postgresql_where=text("state IN ('warned', 'warned_again')")),
    Index("ix_cutoff_case_under_way", "under_way", postgresql_where=text("under_way IS NOT NULL")),
    Index(
        "ix_cutoff_case_left_out_until", "left_out_until", postgresql_where=text("left_out_until IS NOT NULL")
    ),
    postgresql_with={"fillfactor": "80"},
)

cutoff_decision = Table(
    "cutoff_decision",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("invoice_number", Text, nullable=False),
    Column("sequence", SmallInteger, nullable=False, comment="of the case"),
    Column("day", Date, nullable=False),
    _instant("decided_at", nullable=False),
    Column("moment", Text, nullable=False, comment="when on the case's way it was decided"),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, comment="a code of fatoura.cutoff.reasons"),
    Column("notice_kind", Text, comment="the notice that it is about"),
    Column("notice_id", Uuid, comment="that notice, once it is planned"),
    Column("cycle_id", Integer, comment="the day's cycle, of a decision of the daily run"),
    Column("balance_millimes", BigInteger, comment="what was owed then"),
    Column("cut_from", Date, comment="the earliest day of the cut, as decided"),
    Column("evidence", JSONB, nullable=False, server_default="{}", comment="ids of the facts it rests on"),
    Column("rules_version", Text, nullable=False),
    Column("run_id", Text),
    _one_of("moment", "due", "claim", "settled", "feed", "hand_over", "corrected"),
    _one_of("verdict", "notify", "leave_out", "letter", "warned", "hand_over", "withdraw", "reopen"),
    Index(None, "invoice_number"),
    # Those of a day's cycle lie together, written one after the other.
    Index(None, "cycle_id", postgresql_using="brin"),
    Index(None, "day", postgresql_using="brin"),
    comment="Why a case went the way it went. Rows are never changed but for the notice planned from them.",
)

cutoff_list = Table(
    "cutoff_list",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("day", Date, nullable=False),
    _instant("made_at", nullable=False),
    Column("watermarks", JSONB, nullable=False, comment="of each channel when it was made"),
    Column("rules_version", Text, nullable=False),
    Column("run_id", Text),
    UniqueConstraint("kind", "day"),
    _one_of("kind", "letters", "hand_over", "call_back"),
    comment="Lists for people: letters to write, teams to send, teams to call back.",
)

cutoff_list_line = Table(
    "cutoff_list_line",
    metadata,
    Column("list_id", Integer, primary_key=True, autoincrement=False),
    Column("invoice_number", Text, primary_key=True),
    Column("sequence", SmallInteger, nullable=False, comment="of the case"),
    Column("balance_millimes", BigInteger, nullable=False, comment="when the list was made"),
    Column("notice_id", Uuid, comment="the proof of notice; of a letter the message that did not arrive"),
    _instant("delivered_at", comment="by the provider's clock"),
    Column("receipt_id", BigInteger, comment="the raw receipt that says so"),
    Index(None, "invoice_number"),
)

# --- Fees --------------------------------------------------------------------------------------------

fee_file = Table(
    "fee_file",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="such as 2026-07-01-1; of its folder too"),
    Column("day", Date, nullable=False),
    Column("charges", Integer, nullable=False),
    Column("charged_millimes", BigInteger, nullable=False),
    Column("credits", Integer, nullable=False),
    Column("credited_millimes", BigInteger, nullable=False),
    Column("digest", Text, comment="sha256 of its rows as they were written first: it never says another"),
    _instant("made_at", nullable=False),
    _instant("written_at", comment="when it lay in the outbox; null: still to be done"),
    Column("run_id", Text),
    comment="Files of charges and credits for the billing system.",
)

fee_charge = Table(
    "fee_charge",
    metadata,
    Column(
        "id", BigInteger, Identity(), primary_key=True, comment="F and this number: its charge_id outside"
    ),
    Column("subscription_id", BigInteger, nullable=False),
    Column("customer_reference", Text, nullable=False),
    Column("period_start", Date, nullable=False, comment="the first day of the year that it is for"),
    Column("period_end", Date, nullable=False, comment="its last one"),
    Column("amount_millimes", BigInteger, nullable=False, comment="as announced; never changed"),
    Column("rules_version", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=ChargeState.ANNOUNCED.value),
    Column("because", Text, comment="why it is waived or withdrawn; a code"),
    _instant("state_since", nullable=False),
    Column("announced_on", Date, comment="null: of a year that was free from the start"),
    Column("charged_on", Date),
    Column("told_on", Date, comment="the day of its file"),
    Column("told_millimes", BigInteger, comment="what the billing system was asked for"),
    Column("file_id", Integer, comment="its file: never two"),
    Column("grace_until", Date, comment="the last day on which its subscription does not lapse for it"),
    Column(
        "owed_millimes",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="what is left to pay; as the journal's account receivable has it",
    ),
    Column("paid_millimes", BigInteger, nullable=False, server_default="0", comment="all that was"),
    Column(
        "owed_back_millimes",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of what was paid, to be given back; as the account payable has it",
    ),
    Column(
        "given_back_millimes",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of what was paid, given back or taken back",
    ),
    Column("paid_on", Date, comment="the day on which its payment became known"),
    Column(
        "covered_from", Date, comment="the first day that it pays for: after a lapse another than its year's"
    ),
    Column("covered_until", Date),
    Column("lapsed_on", Date, comment="the day on which its subscription lapsed for it"),
    UniqueConstraint("subscription_id", "period_start"),
    _one_of("state", *ChargeState),
    CheckConstraint("period_start < period_end", name="period"),
    CheckConstraint("amount_millimes > 0", name="amount"),
    CheckConstraint("(told_millimes IS NULL) = (file_id IS NULL)", name="told"),
    CheckConstraint(
        "owed_millimes BETWEEN 0 AND amount_millimes AND paid_millimes >= 0 AND owed_back_millimes >= 0 "
        "AND given_back_millimes >= 0 AND owed_back_millimes + given_back_millimes <= paid_millimes",
        name="sums",
    ),
    CheckConstraint(f"(owed_millimes > 0) = (state IN ({listed(OWED)}))", name="owed"),
    Index(None, "file_id", postgresql_where=text("file_id IS NOT NULL")),
    Index("ix_fee_charge_to_charge", "period_start", postgresql_where=text("state = 'announced'")),
    Index("ix_fee_charge_to_tell", "id", postgresql_where=text("state = 'due'")),
    Index(
        "ix_fee_charge_unpaid",
        "grace_until",
        postgresql_where=text(f"state IN ({listed(LAPSES)})"),
    ),
    Index(None, "paid_on", postgresql_where=text("paid_on IS NOT NULL")),
    Index(None, "lapsed_on", postgresql_where=text("lapsed_on IS NOT NULL")),
    postgresql_with={"fillfactor": "70"},
    comment="What a subscription costs in a year: one row for each, from its announcement on.",
)

fee_credit = Table(
    "fee_credit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("charge_id", BigInteger, nullable=False),
    Column("amount_millimes", BigInteger, nullable=False),
    Column("because", Text, nullable=False, comment="a code"),
    Column("ordered_on", Date, nullable=False),
    Column("ordered_by", Text, nullable=False, comment="a workflow's run, or a person's name"),
    Column("file_id", Integer, comment="the file that told it: never two"),
    CheckConstraint("amount_millimes > 0", name="amount"),
    Index(None, "charge_id"),
    Index(None, "file_id", postgresql_where=text("file_id IS NOT NULL")),
    Index("ix_fee_credit_to_tell", "id", postgresql_where=text("file_id IS NULL")),
    comment="What is taken off charges that the billing system was told of: to be asked for no more, or to "
    "be given back where it was paid.",
)

fee_entry = Table(
    "fee_entry",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("charge_id", BigInteger, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("day", Date, nullable=False, comment="on which it was booked"),
    _instant("booked_at", nullable=False),
    Column("debit", Text, nullable=False, comment="the account that it is put on"),
    Column("credit", Text, nullable=False, comment="the account that it is taken from"),
    Column("amount_millimes", BigInteger, nullable=False),
    Column("because", Text, nullable=False, comment="what happened; a code"),
    Column("feed_id", Integer, comment="the feed that told it"),
    Column("booked_by", Text, comment="a workflow's run, or a person's name"),
    _one_of("debit", *Account),
    _one_of("credit", *Account),
    CheckConstraint("debit <> credit", name="two_accounts"),
    CheckConstraint("amount_millimes > 0", name="amount"),
    Index(None, "charge_id"),
    Index(None, "day", postgresql_using="brin"),
    comment="The journal, by double entry. Rows are never changed or removed: what was wrong is set right "
    "by another entry.",
)

fee_waiver = Table(
    "fee_waiver",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("customer_reference", Text, nullable=False),
    Column("because", Text, nullable=False, comment="trial, or a code of an exemption of the rules"),
    Column("valid_from", Date, nullable=False),
    Column("valid_until", Date, comment="its last day; null: until further notice"),
    Column("set_by", Text, nullable=False),
    _instant("recorded_at", nullable=False),
    Index(None, "customer_reference"),
    comment="Who pays nothing: years that begin while it holds are free. Rows are never changed or removed; "
    "of one customer and code the last one stands.",
)

fee_result = Table(
    "fee_result",
    metadata,
    Column("charge_id", Text, primary_key=True, comment="as the billing system names it"),
    Column("result", Text, primary_key=True),
    Column(
        "amount_millimes",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="of the charge; of paid and refunded, all that was so far",
    ),
    _instant("at", nullable=False, comment="by the billing system's clock"),
    Column("reason", Text, comment="in its words; holds no phone number"),
    Column("feed_id", Integer, nullable=False),
    Column("row_number", BigInteger, nullable=False),
    Column("told_in", Text, nullable=False),
    Column(
        "revision",
        SmallInteger,
        nullable=False,
        server_default="0",
        comment="how many other versions of it were told",
    ),
    Column("finding", Text, comment="why it does not count; null: it does"),
    _instant("settled_at", comment="when a person saw to a finding"),
    Column("settled_by", Text),
    Column("settlement", Text, comment="in a person's words"),
    _one_of("result", "accepted", "rejected", "paid", "refused", "refunded"),
    Index(None, "feed_id"),
    Index(
        "ix_fee_result_pending",
        "charge_id",
        postgresql_where=text("finding IS NOT NULL AND settled_at IS NULL"),
    ),
    comment="What the billing system told of charges.",
)

subscriber_count = Table(
    "subscriber_count",
    metadata,
    Column("day", Date, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("district", Text, primary_key=True, comment="empty: not known"),
    Column("subscribers", Integer, nullable=False),
    comment="How many subscriptions there were on a day, as they were then.",
)

# --- The web site --------------------------------------------------------------------------------------

verification = Table(
    "verification",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("uuidv7()"), comment="the evidence of consents"),
    Column("visit", Text, nullable=False, comment="keyed hash of the browser's cookie"),
    Column("action", Text, nullable=False),
    Column("customer_reference", Text, nullable=False),
    Column("invoice_number", Text, comment="as it was told from a bill, where it was asked for"),
    Column(
        "phone",
        Text,
        info=PHONE,
        comment="where the code goes: E.164, sealed where that is set up; null once erased",
    ),
    Column("language", Text, nullable=False, comment="of the visit; of a subscription, as it was chosen"),
    Column("wording_version", Text, comment="of the text that was agreed to"),
    Column("follows", Uuid, comment="the verification that this one completes"),
    _instant("asked_at", nullable=False),
    _instant("expires_at", nullable=False),
    _instant("judged_at", comment="when it was looked at whether a code is due; null: not yet"),
    Column("genuine", Boolean, comment="whether what was told is right, and a code went out"),
    Column("code_salt", Text),
    Column("code_hash", Text, comment="keyed; of a code that nobody was sent where nothing was due"),
    Column("tries", SmallInteger, nullable=False, server_default="0"),
    _instant("verified_at", comment="when its code came back"),
    Column("subscription_id", BigInteger, comment="the subscription that it was about in the end"),
    Column("outcome", Text, comment="what came of it; null while it is under way"),
    _instant("ended_at", comment="when that was decided"),
    _one_of("action", "subscribe", "manage", "change_number", "confirm_former", "leave_by_bill"),
    _one_of("language", "ar", "fr"),
    Index(None, "visit", "asked_at"),
    Index("ix_verification_unjudged", "asked_at", postgresql_where=text("judged_at IS NULL")),
    Index("ix_verification_unverified", "asked_at", postgresql_where=text("verified_at IS NULL")),
    Index("ix_verification_left_by_bill", "customer_reference", postgresql_where=text("outcome = 'left'")),
    comment="Codes that were asked for on the web site, and what was proven by them.",
)

site_count = Table(
    "site_count",
    metadata,
    Column("what", Text, primary_key=True),
    Column("subject", Text, primary_key=True, comment="keyed hash of the phone, reference or address"),
    Column("span", Text, primary_key=True),
    Column("began", DateTime(timezone=True), primary_key=True),
    Column("asked", Integer, nullable=False),
    _one_of("what", "phone", "reference", "address", "all"),
    _one_of("span", "hour", "day"),
    Index(None, "began"),
    comment="How often something was asked for on the web site: what limits are held to. Pruned.",
)

# --- Stages ------------------------------------------------------------------------------------------

stage = Table(
    "stage",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("cycle_id", ForeignKey("cycle.id"), nullable=False),
    Column("supplement", SmallInteger, nullable=False, server_default="0"),
    Column("name", Text, nullable=False, comment="extract, validate, match, render, release, send, …"),
    Column("run_id", Text),
    _instant("started_at", nullable=False),
    _instant("finished_at", nullable=False),
    Column("seconds", Numeric, Computed("extract(epoch from finished_at - started_at)")),
    Column("counts", JSONB, nullable=False),
    Index(None, "cycle_id", "name"),
    comment="What each task did, each time it ran: the times and counts of reports.",
)
