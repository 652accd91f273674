"""`fatoura phones`: how phone numbers are stored, and the keys that they are sealed with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from fatoura.cli.printing import print_json
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from fatoura.privacy.sealing import Say

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_EVERY_SECONDS = 2.0


@click.group()
def phones() -> None:
    """Seal the stored phone numbers with a key that lies outside the database, or open them again.

    Everything goes on meanwhile; each command may be stopped at any time, and goes on when it is run again.
    """


@phones.command()
@click.option("--add", is_flag=True, help="Put a new key behind the others: it opens, and seals nothing yet.")
@click.option("--use", "key_id", help="Put the key of this id first: it seals from now on.")
@click.option("--off", is_flag=True, help="Let no key seal: new numbers are stored as they are.")
@click.option("--drop", "dropped", help="Take the key of this id away, once nothing is sealed with it.")
@JSON
def key(add: bool, key_id: str | None, off: bool, dropped: str | None, as_json: bool) -> None:
    """Show the ids of the keys in FATOURA_PHONE_KEY_FILE; without such a file, make it with a first key.

    Every process that knows the file takes up what is changed within a second. Where the file is copied to
    several machines, a new key has to be everywhere before it is put first.
    """
    from fatoura.privacy.keys import add_key, drop_key, known_keys, make_file, use_key

    if sum((add, key_id is not None, off, dropped is not None)) > 1:
        raise click.UsageError("one at a time")
    if add:
        add_key()
    elif key_id is not None or off:
        use_key(key_id)
    elif dropped is not None:
        drop_key(dropped)
    else:
        make_file()
    keys = known_keys()
    present = keys.present.id if keys.present else None
    known = [one.id for one in keys.known]
    if as_json:
        print_json({"seals": present, "opens": known})
        return
    for one in known:
        click.echo(f"{one}  {'seals and opens' if one == present else 'opens'}")
    if present is None:
        click.echo("no key seals: new numbers are stored as they are")


@phones.command()
@JSON
def seal(as_json: bool) -> None:
    """Seal all stored numbers with the key in use."""
    from fatoura.phones_at_rest import phone_keys

    if phone_keys().present is None:
        raise BadInput(
            "no key seals: set FATOURA_PHONE_KEY_FILE for all processes, and make a key with "
            "`fatoura phones key`"
        )
    _convert(as_json=as_json)


@phones.command()
@JSON
def rotate(as_json: bool) -> None:
    """Seal all stored numbers with the key in use that are sealed with a former one."""
    from fatoura.phones_at_rest import phone_keys

    keys = phone_keys()
    if keys.present is None or len(keys.known) < 2:
        raise BadInput(
            "there is one key, or none: first add one (`fatoura phones key --add`), and once every process "
            "knows it put it first (`--use ID`)"
        )
    _convert(as_json=as_json)


@phones.command(name="open")
@JSON
def open_(as_json: bool) -> None:
    """Store all numbers as they are again."""
    from fatoura.phones_at_rest import phone_keys

    keys = phone_keys()
    if keys.present is not None:
        raise BadInput(
            "new numbers are still being sealed: first let no key seal (`fatoura phones key --off`)"
        )
    _convert(as_json=as_json)


@phones.command()
@JSON
def status(as_json: bool) -> None:
    """Count how the numbers of each column are stored. Reads whole tables."""
    from fatoura.phones_at_rest import phone_keys
    from fatoura.privacy.sealing import stored_numbers

    keys = phone_keys()
    present = keys.present.id if keys.present else None
    missing = set[str]()
    found = stored_numbers()
    for one in found:
        missing |= one.by_key.keys() - {key.id for key in keys.known}
    if as_json:
        columns = {one.column: {"as_they_are": one.as_they_are, "by_key": one.by_key} for one in found}
        print_json({"seals": present, "columns": columns, "missing_keys": sorted(missing)})
        return
    click.echo(f"new numbers are {'sealed with ' + present if present else 'stored as they are'}")
    for one in found:
        sealed = "".join(f", {count:,} sealed with {by}" for by, count in sorted(one.by_key.items()))
        click.echo(f"  {one.column:<24}{one.as_they_are:>12,} as they are{sealed}")
    if missing:
        click.echo(f"this process has no key {', '.join(sorted(missing))}: it cannot open what they seal")


def _convert(*, as_json: bool) -> None:
    from fatoura.privacy.sealing import convert_all

    began = time.monotonic()
    done = convert_all(_progress())
    changed = {name: count for name, count in sorted(done.values.items()) if count}
    if as_json:
        print_json({"converted": changed})
        return
    for name, count in changed.items():
        click.echo(f"  {count:>12,}  {name}")
    click.echo(f"{sum(changed.values()):,} values converted in {time.monotonic() - began:.0f} s")


def _progress() -> Say:
    told = time.monotonic()

    def say(column: str, rows: int, share: float) -> None:
        nonlocal told
        if time.monotonic() - told >= _EVERY_SECONDS:
            told = time.monotonic()
            click.echo(f"{column}: {share:.0%}, {rows:,} converted", err=True)

    return say
