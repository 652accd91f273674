"""Real Kannel for tests: an SMPP centre (smsc.js), bearerbox and smsbox on free loopback ports.

Used by the fixture `kannel`. Every process runs in a group of its own and is ended by its id.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Child, free_port

HERE = Path(__file__).parent

USERNAME = "steg"
PASSWORD = "not a secret: tests only"
MAX_MESSAGES = 10

CONFIGURATION = """\
group = core
admin-port = {admin_port}
admin-interface = 127.0.0.1
admin-password = a
status-password = s
smsbox-port = {smsbox_port}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
store-type = spool
store-location = {spool}
dlr-storage = spool
dlr-spool = {dlr_spool}
sms-resend-freq = 2

group = smsc
smsc = smpp
smsc-id = NODE
host = 127.0.0.1
port = {smsc_port}
transceiver-mode = true
smsc-username = kannel
smsc-password = secret
system-type = VMA
source-addr-ton = 5
source-addr-npi = 0
dest-addr-ton = 1
dest-addr-npi = 1
max-pending-submits = 50
reconnect-delay = 2

group = smsbox
smsbox-id = box1
bearerbox-host = 127.0.0.1
sendsms-interface = 127.0.0.1
sendsms-port = {port}
sendsms-chars = "0123456789+ "
http-request-retry = 5
http-queue-delay = 2
http-timeout = 10

group = smsbox-route
smsbox-id = box1
smsc-id = NODE

group = sendsms-user
username = "{username}"
password = "{password}"
max-messages = {max_messages}
concatenation = true

group = sms-service
keyword = default
catch-all = true
{service}
"""

SILENT = 'max-messages = 0\ntext = ""'


def why_not() -> str | None:
    """Return why real Kannel cannot run here, or nothing. Installs the SMSC's npm package if needed."""
    for program, package in (("bearerbox", "kannel"), ("smsbox", "kannel"), ("node", "nodejs")):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    if (HERE / "node_modules" / "smpp").is_dir():
        return None
    if shutil.which("npm") is None:
        return "the npm package smpp is not installed, and there is no npm to get it"
    with (HERE / "package.json").open() as lock:  # several pytest processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (HERE / "node_modules" / "smpp").is_dir():
            return None
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return f"the npm package smpp cannot be had: {done.stderr.strip()[-300:]}" if done.returncode else None


@dataclass
class KannelStack:
    """One SMPP centre, one bearerbox, one smsbox.

    :param folder: where configuration, spools and logs go; best on a tmpfs.
    :param receipt_delay: milliseconds from a message to its final receipt.
    :param service: what Kannel does with messages of customers, as lines of its configuration.
    """

    folder: Path
    receipt_delay: int = 50
    service: str = SILENT
    smsc_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    smsbox_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def smsc_log(self) -> Path:
        return self.folder / "smsc.jsonl"

    def start(self) -> KannelStack:
        for name in ("spool", "dlr"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(
            CONFIGURATION.format(
                admin_port=self.admin_port,
                smsbox_port=self.smsbox_port,
                smsc_port=self.smsc_port,
                port=self.port,
                spool=self.folder / "spool",
                dlr_spool=self.folder / "dlr",
                username=USERNAME,
                password=PASSWORD,
                max_messages=MAX_MESSAGES,
                service=self.service,
            )
        )
        self.start_smsc()
        self.start_bearerbox()
        self.start_smsbox()
        self.wait_for_link()
        return self

    def stop(self) -> None:
        for name in ("smsbox", "bearerbox", "smsc"):
            if name in self.children:
                self.children.pop(name).stop(seconds=3)  # bearerbox can wait long for a link that is down

    def start_smsc(self) -> None:
        child = self._start(
            "smsc", "node", str(HERE / "smsc.js"), str(self.smsc_port), str(self.smsc_log),
            str(self.receipt_delay),
        )  # fmt: skip
        child.wait_for_port(self.smsc_port)

    def start_bearerbox(self) -> None:
        self._start("bearerbox", "bearerbox", "-v", "4", str(self._configuration)).wait_for_port(
            self.smsbox_port
        )

    def start_smsbox(self) -> None:
        self._start("smsbox", "smsbox", "-v", "4", str(self._configuration)).wait_for_port(self.port)

    def wait_for_link(self, seconds: float = 20) -> None:
        """Wait until Kannel says that its link to the SMPP centre is up."""
        self._wait_for_status("(online", seconds)

    def _wait_for_status(self, words: str, seconds: float = 20) -> None:
        import requests

        end = time.monotonic() + seconds
        while True:
            answer = requests.get(
                f"http://127.0.0.1:{self.admin_port}/status.txt", params={"password": "s"}, timeout=5
            )
            if words in answer.text:
                return
            assert time.monotonic() < end, answer.text
            time.sleep(0.05)

    def receive(self, phone: str, text: str, to: str = "85999") -> None:
        """Let a customer send a message."""
        self._wait_for_status("smsbox:box1")  # what comes before rests for a minute
        try:
            coding, octets = 0, text.encode("ascii")
        except UnicodeEncodeError:
            coding, octets = 8, text.encode("utf-16-be")
        message = {"from": phone.lstrip("+"), "to": to, "coding": coding, "octets": octets.hex()}
        self.smsc_log.with_name(f"{self.smsc_log.name}.inbound").write_text(json.dumps(message))
        self.children["smsc"].send(signal.SIGHUP)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return what the SMPP centre wrote down so far of one kind: `submit` or `receipt`."""
        with self.smsc_log.open() as lines:
            return [line for line in map(json.loads, lines) if line["event"] == event]

    def submitted(self, phone: str) -> list[dict[str, Any]]:
        """Return the SMPP messages that came for a number, in their order: one for each part."""
        return [event for event in self.events("submit") if event["to"].lstrip("+") == phone.lstrip("+")]

    @property
    def _configuration(self) -> Path:
        return self.folder / "kannel.conf"

    def _start(self, name: str, *command: str) -> Child:
        self.children[name] = Child(command, log=self.folder / f"{name}.log", cwd=self.folder)
        return self.children[name]
