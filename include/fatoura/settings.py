"""All settings of the project in one place, read from the environment with the prefix ``FATOURA_``.

Everything that can be configured is a field of `Settings`; its docstring is what `docs/settings.md` is
generated from. Airflow's own settings keep their own names and are not repeated here. Secrets for the
SMS provider live in Airflow connections, not here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fatoura.errors import BadInput

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def _seconds(value: object) -> object:
    """Read a plain number as seconds; anything else is left to pydantic (ISO 8601: ``PT5M``)."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""A length of time: seconds (``300``), ``PT5M``, or ``00:05:00``."""


class Settings(BaseSettings):
    """Values that differ between installations. Defaults suit the embedded stack of ``make up``."""

    model_config = SettingsConfigDict(env_prefix="FATOURA_", extra="ignore", frozen=True)

    profile: Literal["local", "production"] = Field(
        "local", description="`production` refuses what is meant for trials only, such as a moved clock."
    )
    home: Path = Field(PROJECT_ROOT, description="The project's root; relative paths start here.")
    var: Path = Field(Path("var"), description="Everything that the project writes lies below this folder.")
    database_url: str = Field(
        "", description="SQLAlchemy URL of the application's database; empty: the embedded PostgreSQL."
    )
    landing: str = Field(
        "",
        description="Landing folder: a path, or a URL that Airflow's ObjectStoragePath opens (`s3://…`); "
        "empty: `var/landing`.",
    )
    reports: Path = Field(
        Path(), description="Where reports and Data Docs are written; empty: `var/reports`."
    )
    lists: Path = Field(
        Path(),
        description="Where lists for people are written, of letters and for field teams: with customers' "
        "references in full, so nothing there is shown in the UI; empty: `var/lists`.",
    )
    outbox: Path = Field(
        Path(),
        description="Where files for other systems are written, of charges for the billing system: with "
        "customers' references in full; empty: `var/outbox`.",
    )
    now: str = Field(
        "",
        description="A moved clock, for trials only: an ISO 8601 instant with offset (the clock of each "
        "process starts there), or an offset in seconds like `+86400` (the same in all processes); or the "
        "absolute path of a file that holds one of these: put another in its place, and the clock of all "
        "running processes moves (an instant counts from when the file was written).",
    )
    timezone: str = Field("Africa/Tunis", description="The zone of windows, holidays and printed dates.")
    calendar_file: Path = Field(
        Path(__file__).with_name("calendar") / "calendar.yaml",
        description="Sending hours, Ramadan hours, fixed holidays, grace: data, with validity dates.",
    )
    cutoff_rules: Path = Field(
        Path(__file__).with_name("cutoff") / "rules.yaml",
        description="Who is warned that supply may be cut, and when: data, with validity dates.",
    )
    fee_rules: Path = Field(
        Path(__file__).with_name("fees") / "rules.yaml",
        description="What a subscription costs, when it is charged, and who pays nothing: data, with "
        "validity dates.",
    )
    districts_file: Path = Field(
        Path(__file__).with_name("extracts") / "districts.csv",
        description="Known district codes with their French and Arabic names.",
    )
    quality_suite: Path = Field(
        Path(__file__).with_name("quality") / "suite.yaml", description="Row and batch rules of an extract."
    )

    # Enrolment
    coupon_wordings: Path = Field(
        Path(__file__).with_name("enrolment") / "wordings.yaml",
        description="The texts that were printed on coupons, in dated versions: data.",
    )
    phone_contracts: int = Field(
        6,
        ge=1,
        description="How many contracts one phone may serve without a clerk's word: the number of somebody "
        "who fills in coupons for others is not theirs.",
    )
    coupon_wait: Duration = Field(
        timedelta(days=30),
        description="How long a coupon waits for its customer to be known, before a clerk has to look at it.",
    )

    # Privacy: how long what is personal is kept; counts stay for ever
    keep_texts: Duration = Field(
        timedelta(days=180), description="The texts of messages, after their last word."
    )
    keep_numbers: Duration = Field(
        timedelta(days=400),
        description="The numbers that messages went to, after their last word; of the lines of providers' "
        "statements, after their import.",
    )
    keep_ended: Duration = Field(
        timedelta(days=90), description="The number of a subscription that has ended."
    )
    keep_evidence: Duration = Field(
        timedelta(days=400),
        description="The number on a coupon, or one that a code was sent to, after it was judged. That "
        "consent was given, and its scan, stay.",
    )
    keep_receipts: Duration = Field(
        timedelta(days=180), description="What providers reported, word by word. What was read of it stays."
    )
    keep_bad_rows: Duration = Field(
        timedelta(days=180),
        description="Rows of extracts and feeds that broke a rule, word by word. That they did, and which, "
        "stays.",
    )
    keep_staged: Duration = Field(
        timedelta(days=30), description="Staged rows of an extract, after all of them have become invoices."
    )
    keep_files: Duration = Field(
        timedelta(days=90),
        description="Files for clerks with numbers or references in them; batches of coupons and departures "
        "in a landing folder on disk, after they were loaded.",
    )
    keep_lists: Duration = Field(
        timedelta(days=400), description="Lists of letters and for field teams, as files."
    )
    keep_logs: Duration = Field(timedelta(days=90), description="Logs of Airflow's tasks.")
    retention_at: str = Field(
        "30 3 * * *",
        description="When what is kept no longer is erased, as a cron expression in the utility's zone.",
    )
    keywords_file: Path = Field(
        Path(__file__).with_name("inbound") / "keywords.yaml",
        description="The words by which customers leave, and what they are answered, where the provider "
        "receives messages.",
    )
    phone_key_file: Path | None = Field(
        None,
        description="File with the key that phone numbers are sealed with in the database, and former ones "
        "on further lines (`fatoura phones key` makes it: keep a copy elsewhere); empty: none are sealed.",
    )

    # Sending
    sms_conn_ids: str = Field(
        "fatoura_sms",
        description="Airflow connections of the SMS providers, separated by commas, in the order of "
        "fall-back.",
    )
    sms_connections_file: Path | None = Field(
        None,
        description="File with the connections of these providers, a JSON object by their ids in the form of "
        "Airflow's file of connections, for the process that sends without Airflow: the web site. Empty: "
        "variables `AIRFLOW_CONN_<ID>`, as the local stack sets them.",
    )
    sender_id: str = Field("STEG", description="Sender shown on the phone; at most 11 characters.")
    segments_per_second: float = Field(
        50, gt=0, description="The contract's rate, over all workers, in segments a second."
    )
    send_lanes: int = Field(2, ge=1, le=64, description="How many send tasks share one cycle.")
    send_slots: int = Field(
        4,
        ge=1,
        description="How many send tasks of bills run at once, over all cycles: the size of Airflow's pool "
        "`sms_gateway`.",
    )
    urgent_slots: int = Field(
        2,
        ge=1,
        description="How many send tasks of warnings run at once, in the pool `sms_gateway_urgent`: they "
        "never wait for a slot that bills hold.",
    )
    connections: int = Field(50, ge=1, description="Concurrent requests of one send task.")
    claim_size: int = Field(500, ge=1, description="Notices claimed in one transaction.")
    lease: Duration = Field(
        timedelta(minutes=5), description="After this long without an outcome a claimed notice is in doubt."
    )
    request_timeout: Duration = Field(
        timedelta(seconds=30), description="How long a submit waits for an answer before it is in doubt."
    )
    doubt_horizon: Duration = Field(
        timedelta(hours=6),
        description="How long an in-doubt notice waits for a receipt before its policy acts.",
    )
    no_validity_margin: Duration = Field(
        timedelta(hours=2),
        description="How long before the window closes sending stops through a provider that takes no "
        "validity period: nothing else keeps it from delivering at night.",
    )
    settle_horizon: Duration = Field(
        timedelta(hours=72), description="How long a cycle waits for receipts; later ones still count."
    )
    settle_poll: Duration = Field(timedelta(seconds=30), description="How often settling looks.")
    receipt_poll: Duration = Field(
        timedelta(seconds=60),
        description="How often a provider that does not report by itself is asked for receipts.",
    )
    segment_price_millimes: int = Field(
        20, ge=0, description="Price of a segment, in millimes (assumed; the contract's price goes here)."
    )

    # Reports
    report_language: Literal["fr", "en"] = Field("fr", description="The language of reports.")
    annual_fee_millimes: int = Field(
        1000, ge=0, description="What a subscription costs a year, in millimes; reports set costs beside it."
    )
    bills_a_year: int = Field(6, ge=1, description="Bills that a customer gets in a year.")

    # Provider statements
    statement_forms: Path | None = Field(
        None,
        description="Folder with the utility's own forms of provider statements; they go before those that "
        "come along.",
    )

    # Receipts
    receiver_host: str = Field("127.0.0.1", description="Address that the receipt receiver binds.")
    receiver_port: int = Field(8081, description="Port of the receipt receiver.")
    receiver_url: str = Field("", description="How the provider reaches the receiver; empty: host and port.")
    receipt_secret_file: Path = Field(
        Path(),
        description="File with the secret in the receipt callback's URL, made on first start; former ones, "
        "of messages whose receipts are still to come, on further lines; empty: below `var/secrets`.",
    )

    # The web site
    site_host: str = Field("127.0.0.1", description="Address that the web site binds.")
    site_port: int = Field(8082, description="Port of the web site.")
    site_url: str = Field(
        "",
        description="The web site's address as customers see it; empty: host and port. With `https://` its "
        "cookies go over TLS only, and browsers are told to stay with it.",
    )
    site_proxies: str = Field(
        "127.0.0.1",
        description="Addresses or networks of the reverse proxies before the web site, separated by commas: "
        "what they say of a client's address is believed, and limits are kept by it.",
    )
    site_key_file: Path = Field(
        Path(),
        description="File with the key of the web site's codes, tokens and counters, made on first start; "
        "several processes share it; empty: below `var/secrets`.",
    )
    site_wordings: Path = Field(
        Path(__file__).with_name("site") / "wordings.yaml",
        description="What customers agree to, in dated versions, and whom they can turn to: data.",
    )
    site_limit_phone: str = Field(
        "5/h,10/d", description="Codes that one phone gets, in an hour and in a day."
    )
    site_limit_reference: str = Field(
        "8/h,15/d", description="Codes and departures that are asked for with one customer's reference."
    )
    site_limit_address: str = Field(
        "120/h,600/d",
        description="The same from one network address. Many customers share one: mobile operators give "
        "theirs to thousands.",
    )
    site_limit_all: str = Field(
        "3000/h,20000/d", description="The same from everybody together: what the codes may cost at most."
    )

    # Payments
    payments_conn_id: str = Field(
        "",
        description="Airflow connection of a database of payments, asked beside the landing folder; empty: "
        "none.",
    )
    payments_secret_file: Path = Field(
        Path(),
        description="File with the token by which payments may be pushed to the receiver, made on first use; "
        "former ones on further lines; empty: below `var/secrets`.",
    )

    # Guard-rails: beyond these a person is asked before anything is sent
    guard_bad_rows_share: float = Field(
        0.10,
        ge=0,
        le=1,
        description="Share of rejected rows; a feed of payments or facts with more is refused as a whole.",
    )
    guard_bad_coupons_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="The same of captured coupons: handwriting is worse than what systems write.",
    )
    guard_messages: int = Field(200_000, ge=0, description="Messages of one cycle.")
    guard_cost_millimes: int = Field(10_000_000, ge=0, description="Cost of one cycle, in millimes.")
    approval_timeout: Duration = Field(
        timedelta(hours=24), description="How long a run waits for a person before it fails."
    )

    # Alerts for the people who operate this; customers' messages never go this way
    alert_webhook_conn_id: str = Field("", description="Airflow HTTP connection that failures are posted to.")
    alert_smtp_conn_id: str = Field("", description="Airflow SMTP connection that failures are mailed by.")
    alert_to: str = Field("", description="Mail addresses for failures, separated by commas.")
    late_after: Duration = Field(
        timedelta(hours=26), description="A billing cycle that runs longer than this raises an alert."
    )

    # Metrics
    statsd_host: str = Field(
        "", description="StatsD server that metrics are sent to, by UDP; empty: none are sent."
    )
    statsd_port: int = Field(8125, description="Its port.")
    metrics_poll: Duration = Field(
        timedelta(seconds=15), description="How often the receiver looks up how things stand, for metrics."
    )

    # Starting
    landing_poll: Duration = Field(
        timedelta(seconds=30), description="How often the landing folder is looked at for new extracts."
    )
    feed_poll: Duration = Field(
        timedelta(minutes=5),
        description="How often feeds of payments and account facts are looked for, and taken up.",
    )
    enrolment_poll: Duration = Field(
        timedelta(seconds=10),
        description="How often customers and coupons are looked for, judged and welcomed.",
    )
    cutoff_warnings_at: str = Field(
        "30 9,14 * * *",
        description="When reminders and warnings are decided, as a cron expression in the utility's zone.",
    )
    cutoff_handover_at: str = Field(
        "30 7 * * *",
        description="When cases are handed over to the field teams, as a cron expression in the utility's "
        "zone.",
    )
    fee_renewals_at: str = Field(
        "0 10 1 * *",
        description="When years of subscriptions are announced, charged, and let lapse, as a cron expression "
        "in the utility's zone.",
    )
    billing_conn_id: str = Field(
        "fatoura_billing_db", description="Airflow connection of the billing database, the second source."
    )

    # The local stack of `make up`
    airflow_port: int = Field(8080, description="Port of Airflow's UI, on loopback.")
    gateway_port: int = Field(13013, description="Port of the sandbox gateway, on loopback.")
    parallelism: int = Field(6, ge=2, description="Workers of the local executor.")

    @field_validator("sender_id")
    @classmethod
    def _sender_fits(cls, value: str) -> str:
        if not (1 <= len(value) <= 11 and value.isascii()):
            raise ValueError(
                "a sender id is 1 to 11 ASCII characters; gateways take a longer one and drop it"
            )
        return value

    @field_validator("sms_conn_ids")
    @classmethod
    def _gateways_are_told_apart(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if not all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names):
            raise ValueError(
                "name the Airflow connections of the SMS providers, separated by commas; a name has letters, "
                "digits, and the signs _ . -"
            )
        if len(set(names)) < len(names):
            raise ValueError("a connection stands there twice")
        return ",".join(names)

    @field_validator("site_limit_phone", "site_limit_reference", "site_limit_address", "site_limit_all")
    @classmethod
    def _limit_can_be_read(cls, value: str) -> str:
        parts = [part.strip() for part in value.split(",")]
        if not all(re.fullmatch(r"[1-9][0-9]{0,8}/[hd]", part) for part in parts):
            raise ValueError("a limit is written as 5/h,10/d: so many in an hour, so many in a day")
        return ",".join(parts)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The connections of the providers, in the order of fall-back."""
        return tuple(self.sms_conn_ids.split(","))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        fill = object.__setattr__  # frozen for everybody else
        fill(self, "var", self.home / self.var)
        fill(self, "landing", self.landing or str(self.var / "landing"))
        if "://" not in self.landing:
            fill(self, "landing", str(self.home / self.landing))
        fill(self, "reports", self.home / self.reports if self.reports != Path() else self.var / "reports")
        fill(self, "lists", self.home / self.lists if self.lists != Path() else self.var / "lists")
        fill(self, "outbox", self.home / self.outbox if self.outbox != Path() else self.var / "outbox")
        if self.phone_key_file is not None:
            blank = self.phone_key_file == Path()
            fill(self, "phone_key_file", None if blank else self.home / self.phone_key_file)
        if self.statement_forms is not None:
            fill(self, "statement_forms", self.home / self.statement_forms)
        if self.receipt_secret_file == Path():
            fill(self, "receipt_secret_file", self.var / "secrets" / "receipt_secret")
        if self.payments_secret_file == Path():
            fill(self, "payments_secret_file", self.var / "secrets" / "payments_secret")
        if self.site_key_file == Path():
            fill(self, "site_key_file", self.var / "secrets" / "site_key")
        if not self.site_url:
            fill(self, "site_url", f"http://{self.site_host}:{self.site_port}")
        if not self.database_url:
            from fatoura.database.embedded import socket_dir

            fill(
                self,
                "database_url",
                f"postgresql+psycopg://postgres@/fatoura?host={quote(str(socket_dir(self.var)), safe='')}",
            )
        if not self.receiver_url:
            fill(self, "receiver_url", f"http://{self.receiver_host}:{self.receiver_port}")
        if self.profile == "production" and self.now:
            raise ValueError("FATOURA_NOW moves the clock and is refused when FATOURA_PROFILE is production")
        return self


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    :raises BadInput: when a value in the environment is wrong; names each variable.
    """
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = (
            f"FATOURA_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" if e["loc"] else e["msg"]
            for e in error.errors()
        )
        raise BadInput("Settings in the environment are wrong. " + "; ".join(lines)) from None


__all__ = ["PROJECT_ROOT", "Settings", "get_settings"]
