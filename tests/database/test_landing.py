"""One run a manifest: never two, never none, whatever lies in the landing folder."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from upath import UPath

from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin
from fatoura.errors import BadInput
from fatoura.extracts import find_unannounced, load_extract, remember_announced
from fatoura.extracts.landing import find_complete_extracts
from fatoura.extracts.sample import Sample, deliver, write_sample
from fatoura.landing import landing_path

KEY = "2026-05-T1"


@pytest.fixture(params=["path", "upath", "memory"])
def landing(request, tmp_path, configure, database):
    """The landing folder as a path of the machine, and as those that Airflow hands in."""
    configure(landing=str(tmp_path / "landing"))
    if request.param == "path":
        yield tmp_path / "landing"
    elif request.param == "upath":
        yield UPath(f"file://{tmp_path}/landing")
    else:
        folder = UPath(f"memory://{tmp_path.name}")
        yield folder
        if folder.exists():
            folder.fs.rm(str(folder.path), recursive=True)


def put(landing, key: str, content: bytes | None = None) -> None:
    folder = landing / "billing" / key
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.json").open("wb") as file:
        file.write(content or json.dumps({"of": key}).encode())


def keys(announcements) -> list[str]:
    return [one.partition_key for one in announcements]


def matched(key: str) -> None:
    with begin() as connection:
        connection.execute(
            text(
                "WITH c AS (INSERT INTO cycle (key, issue_date) VALUES (:key, '2026-05-20') "
                "RETURNING id) INSERT INTO extract (cycle_id, source, location, manifest, digest, "
                "declared_rows, declared_total_millimes, loaded_at, matched_at) "
                "SELECT id, 'landing', '', '{}', '', 0, 0, now(), now() FROM c"
            ),
            {"key": key},
        )


def test_nothing_is_found_where_there_is_no_folder(landing):
    assert find_unannounced(landing) == []


def test_a_manifest_is_announced_once(landing):
    put(landing, KEY)
    found = find_unannounced(landing)
    assert keys(found) == [KEY]
    remember_announced(found)
    assert find_unannounced(landing) == []


def test_a_look_that_dies_before_its_events_went_out_is_repeated(landing):
    put(landing, KEY)
    assert find_unannounced(landing) == find_unannounced(landing) != []


def test_announcements_survive_the_passage_between_tasks(landing):
    put(landing, KEY)
    remember_announced(json.loads(json.dumps(find_unannounced(landing))))
    assert find_unannounced(landing) == []
    remember_announced([])


def test_a_changed_manifest_is_announced_again_also_when_it_changes_back(landing):
    for content in (b'{"a": 1}', b'{"a": 2}', b'{"a": 1}'):
        put(landing, KEY, content)
        found = find_unannounced(landing)
        assert keys(found) == [KEY]
        remember_announced(found)
        assert find_unannounced(landing) == []


def test_a_folder_without_a_manifest_is_not_complete(landing):
    put(landing, KEY)
    with (landing / "billing" / KEY / "invoices.csv").open("wb") as file:
        file.write(b"x")
    (landing / "billing" / KEY / "manifest.json").unlink()
    assert find_complete_extracts(landing) == []


def test_folders_that_bear_no_key_are_left_alone(landing, caplog):
    put(landing, "not a key")
    put(landing, f"{KEY}/supplement-zero")
    put(landing, KEY)
    assert keys(find_unannounced(landing)) == [KEY]
    assert "its name is not a cycle key" in caplog.text
    assert "not supplement-<n>" in caplog.text


def test_a_supplement_waits_for_its_cycle(landing):
    put(landing, KEY)
    put(landing, f"{KEY}/supplement-10")
    put(landing, f"{KEY}/supplement-2")
    found = find_unannounced(landing)
    assert keys(found) == [KEY]
    remember_announced(found)
    assert find_unannounced(landing) == []
    matched(KEY)
    assert keys(find_unannounced(landing)) == [f"{KEY}/supplement-2", f"{KEY}/supplement-10"]


def test_a_bad_manifest_is_announced_so_that_its_run_refuses_it_in_words(landing):
    put(landing, KEY, b'{"cycle": 5}')
    assert keys(find_unannounced(landing)) == [KEY]


def age(file, seconds: float) -> None:
    os.utime(str(file), (time.time() - seconds,) * 2)


def test_a_half_manifest_has_a_minute_to_become_whole(tmp_path, database):
    put(tmp_path, KEY, b'{"cycle": "2026-05-T1", "ro')
    assert find_unannounced(tmp_path) == []
    age(tmp_path / "billing" / KEY / "manifest.json", 61)
    assert keys(find_unannounced(tmp_path)) == [KEY]


def test_old_manifests_are_not_opened_again(tmp_path, database, monkeypatch):
    put(tmp_path, KEY)
    file = tmp_path / "billing" / KEY / "manifest.json"
    remember_announced(find_unannounced(tmp_path))
    age(file, 3 * 3600)
    opened = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self) or original(self, *a, **k))
    assert find_unannounced(tmp_path) == []
    assert file not in opened
    file.write_text('{"changed": true}')
    assert keys(find_unannounced(tmp_path)) == [KEY]


def test_a_run_remembers_its_own_manifest(tmp_path, database, configure):
    configure(now="2026-05-20T10:00:00+01:00", landing=str(tmp_path / "landing"))
    write_sample(tmp_path / "sample", Sample(KEY, invoices=3))
    deliver(tmp_path / "sample")
    load_extract(ExtractKey(KEY), run_id="by hand")
    assert find_unannounced() == []


def test_a_refused_run_remembers_its_manifest_too(tmp_path, database, configure):
    configure(landing=str(tmp_path))
    put(tmp_path, KEY, b"[]")
    with pytest.raises(BadInput):
        load_extract(ExtractKey(KEY), run_id="by itself")
    assert find_unannounced() == []


def test_an_extract_lands_on_s3(bucket, tmp_path, database, configure):
    configure(now="2026-05-20T10:00:00+01:00", landing=bucket)
    assert find_unannounced() == []
    for form in ("csv", "parquet"):
        write_sample(tmp_path / form, Sample(f"2026-05-{form}", invoices=30, format=form, parts=2))
        deliver(tmp_path / form)
        [found] = find_unannounced()
        assert load_extract(found.key, run_id="s3").rows == 30
    assert find_unannounced() == []


def test_the_landing_folder_of_the_settings_may_be_a_url(configure):
    configure(landing="memory://somewhere/landing")
    assert (landing_path() / "billing").name == "billing"
    assert landing_path("/tmp").name == "tmp"
