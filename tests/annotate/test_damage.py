"""Damaged run databases: the same bytes come out, or one line says so.

The fuzz has fixed seeds; it is slow, and the tests above it are what it found.
"""

import random
import shutil
import sqlite3
import struct
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fakes import HereReader, colour_model, drawing, read_and_answer
from PIL import Image

from annotate.conftest import Drive
from annotate.test_marks import CONTENT, FIXED, HAND, MODEL
from perception import loading
from perception.annotate.annotate import annotate, write_annotations
from perception.annotate.database import RunReader, run_path
from perception.annotate.integrity import TALLIED
from perception.annotate.records import Failure
from perception.annotate.work import Question
from perception.annotate.writer import RunWriter
from perception.cli.commands import status
from perception.errors import OutputError, PerceptionError, RunError
from perception.phrases import parse

TEXT = "red. sky: blue, green"
RUNS = Path(__file__).parents[1] / "data" / "runs"


@pytest.fixture
def marked(drive):
    """A run with marks on one of its pictures."""
    drive(TEXT)
    with RunWriter(drive.path) as run:
        run.mark(run.find("b.png").picture, [HAND, MODEL, FIXED], CONTENT, revision=0)
    return drive


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.run"
    shutil.copy(RUNS / "version_3.run", path)
    return path


def change(path, *statements):
    """What damage does: no connection of ours, so nothing is summed up anew."""
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def exported(path):
    """All that a run gives away, as one value."""
    out = path.with_name("exported.json")
    with RunReader(path) as run:
        write_annotations(run, out)
        return out.read_bytes(), list(run.listed()), run.counts(), list(run.failures())


IN_SMALL_TABLES = [
    "UPDATE run SET value = '\"red\"' WHERE key = 'text'",
    "DELETE FROM run WHERE key = 'settings'",
    "UPDATE phrase SET text = 'rod' WHERE text = 'red'",
    "UPDATE picture SET name = 'a.pnh' WHERE name = 'a.png'",
    "UPDATE picture SET listed = 0 WHERE name = 'a.png'",
    "UPDATE picture SET uid = CAST(uid AS BLOB)",
    "UPDATE picture SET width = width + 1",
    "UPDATE picture SET content = NULL",
    "DELETE FROM picture WHERE name = 'a.png'",
    "UPDATE edited SET revision = 0",
    "DELETE FROM edited",
    "UPDATE tally SET sum = sum + 1 WHERE name = 'picture'",
    "DELETE FROM tally WHERE name = 'asked'",
    "ALTER TABLE picture ADD COLUMN more",
    "DROP INDEX picture_by_state",
]


@pytest.mark.parametrize("statement", IN_SMALL_TABLES)
@pytest.mark.parametrize("open_run", [RunReader, RunWriter])
def test_found_when_a_run_is_opened(marked, statement, open_run):
    change(marked.path, statement)
    before = marked.path.read_bytes()
    with pytest.raises(RunError, match=r"out\.json\.run: .* damaged .*; move it away, or begin"):
        open_run(marked.path)
    assert marked.path.read_bytes() == before


IN_LARGE_TABLES = [
    "UPDATE instance SET x0 = x0 + 1",
    "UPDATE instance SET mask = NULL WHERE query = 0",
    "UPDATE instance SET made = 0",
    "DELETE FROM instance WHERE query = 0",
    "UPDATE score SET score = 0.8",
    "UPDATE score SET phrase = phrase + 90",
    "DELETE FROM score WHERE query = 200",
    "UPDATE mark SET class = 'green' WHERE place = 0",
    "UPDATE mark SET score = 1.0",
    "DELETE FROM mark WHERE place = 2",
]


@pytest.mark.parametrize("statement", IN_LARGE_TABLES)
def test_found_when_a_picture_is_read(marked, statement):
    change(marked.path, statement)
    with RunReader(marked.path) as run, pytest.raises(RunError, match="aren't those that were"):
        _ = [(run.instances(n, run.phrases), run.marks(n)) for n in (1, 2, 3)]
    with pytest.raises(RunError, match="damaged"):
        exported(marked.path)


def test_damage_is_not_sealed_by_what_is_added(drive):
    """More phrases add to a picture's rows."""
    drive("red")
    change(drive.path, "UPDATE instance SET x0 = x0 + 1")
    with pytest.raises(RunError, match="damaged"):
        drive("red. blue")
    assert drive("red") == []
    with pytest.raises(RunError, match="damaged"):
        exported(drive.path)


NEVER_SEALED = [
    ("UPDATE instance SET mask = 'oooo'", "a mask: counts is cut off"),
    ("UPDATE instance SET mask = 'PQ6`1`1'", "a mask: "),
    ("UPDATE instance SET mask = ''", "a mask: "),
    ("UPDATE instance SET mask = 'é'", "a mask: "),
    ("UPDATE instance SET mask = 5", "a mask: "),
    ("UPDATE instance SET mask = x'00'", "a mask that is no text"),
    ("UPDATE instance SET x0 = 'left'", "a text in the place of a number"),
    ("UPDATE instance SET y1 = 9e999", "an instance that can't be"),
    ("UPDATE score SET score = 2", "a score that can't be"),
    ("UPDATE score SET score = 'best'", "a score that can't be"),
    ("UPDATE score SET phrase = phrase + 90", "a score that can't be"),
    ("DELETE FROM instance", "a score that can't be"),
    ("UPDATE picture SET height = 0", "a picture's size that can't be"),
    ("UPDATE picture SET height = 1000000, width = 1000000", "a picture's size that can't be"),
    ("UPDATE picture SET height = 95", "runs of 12288 pixels in a mask of 12160"),
    ("UPDATE picture SET uid = NULL", "a picture without what it shows"),
    ("UPDATE mark SET mask = '0'", "a mask: "),
    ("UPDATE mark SET class = 'none of its'", "'none of its', which is no class of it"),
    ("UPDATE mark SET score = 'high'", "a mark that can't be"),
    ("UPDATE edited SET height = 5", "a mask: runs of 12288 pixels"),
    ("UPDATE run SET value = '{' WHERE key = 'text'", "text that isn't JSON"),
    ("UPDATE run SET value = '[1]' WHERE key = 'text'", "text that can't be"),
    ("UPDATE run SET value = '\"a \\\"\\nb\"' WHERE key = 'text'", "a quote is never closed"),
    ("UPDATE question SET phrases = '[\"red'", "a question that can't be"),
    ("UPDATE question SET phrases = '[1]'", "a question that can't be"),
    ("UPDATE run SET value = '{\"a\": 1}' WHERE key = 'text'", "text that can't be"),
    ("UPDATE run SET value = '{}' WHERE key = 'settings'", "settings that can't be"),
    ("UPDATE run SET key = 'sittings' WHERE key = 'settings'", "its settings are gone"),
    ("UPDATE run SET value = '{\"a\": 1}' WHERE key = 'classes'", "classes that can't be"),
    ("INSERT INTO run VALUES ('shards', '\"../..\"')", "shards that can't be"),
    ("UPDATE run SET value = '[5]' WHERE key = 'marked_with'", "marked_with that can't be"),
    ("UPDATE phrase SET text = CAST(x'ff' AS TEXT) WHERE id = 1", "can't decode"),
]


@pytest.mark.parametrize(("statement", "message"), NEVER_SEALED)
def test_values_that_can_not_be(old, statement, message):
    """In a run of a version without checksums, or one that a stranger has made."""
    change(old, statement)
    with pytest.raises(RunError) as error:
        exported(old)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_nothing_is_said_behind_an_error(old, capfd):
    change(old, "UPDATE instance SET mask = 'oooo'")
    with pytest.raises(RunError):
        exported(old)
    assert capfd.readouterr() == ("", "")


def test_the_sums_are_kept_whatever_is_written(marked):
    """Also of what REPLACE deletes, and of a transaction that is broken off."""
    with RunWriter(marked.path) as run:
        run.add_class("one more")
        run.add_picture("c.png")
        run.note_asked(1, ["red", "one more"])
        run.note_model({"segmenter": {}})
        run.mark(run.find("b.png").picture, [HAND], CONTENT, revision=1)
        run.record([Failure(run.find("a.png").picture, "gone")])
        with suppress(KeyboardInterrupt), run._transaction() as db:
            db.execute("DELETE FROM picture")
            raise KeyboardInterrupt
    with closing(sqlite3.connect(marked.path)) as db:
        counts = dict(db.execute("SELECT name, count FROM tally"))
        assert counts == {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in TALLIED
        }
    assert [one.marks for one in exported(marked.path)[1]] == [0, 1, 0, 0]


def test_all_columns_are_summed(drive):
    drive("red")
    with closing(sqlite3.connect(drive.path)) as db:
        for table, columns in TALLIED.items():
            rows = db.execute(f"PRAGMA table_info({table})").fetchall()
            assert tuple(row[1] for row in rows) == columns


# Of 0 bytes, or never begun: an output beside it is of another run.


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr("perception.annotate.runner.Reader", HereReader)


@pytest.mark.parametrize("state", ["is empty", "was never begun"])
def test_an_output_beside_an_empty_run_is_kept(pictures, tmp_path, here, state):
    out = tmp_path / "out.json"
    annotate(colour_model, [str(pictures)], TEXT, out)
    before = out.read_bytes()
    if state == "is empty":
        run_path(out).write_bytes(b"")
    else:
        change(run_path(out), *(f"DELETE FROM {table}" for table in ("run", "picture")))  # noqa: S608
        change(
            run_path(out), "UPDATE tally SET count = 0, sum = 0 WHERE name IN ('run', 'picture')"
        )
    with pytest.raises(OutputError, match=rf"is of no run \(out\.json\.run {state}\)"):
        annotate(colour_model, [str(pictures)], "green", out)
    assert out.read_bytes() == before
    annotate(colour_model, [str(pictures)], TEXT, out, overwrite=True)
    assert out.read_bytes() == before


def test_an_empty_run_with_a_log(pictures, tmp_path):
    """SQLite would remove the log."""
    path = tmp_path / "out.json.run"
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(b"x" * 5000)
    for open_run in (RunReader, RunWriter):
        with pytest.raises(RunError, match="it is empty, and its log isn't"):
            open_run(path)
    assert Path(f"{path}-wal").stat().st_size == 5000


def test_tables_of_a_run_that_was_never_begun_are_read_as_an_empty_one(tmp_path):
    with RunWriter(tmp_path / "x.run") as run, pytest.raises(RunError, match="an empty run"):
        RunReader(run.path)


# The log.


@pytest.fixture
def killed(drive, tmp_path):
    """A run whose last two pictures are in its log alone, as its process was killed."""
    drive(TEXT, most=1)
    path = tmp_path / "killed" / "out.json.run"
    path.parent.mkdir()
    with RunWriter(drive.path) as run:
        for task in run.tasks():
            run.record(read_and_answer(drive.model, [task], QUESTION))
        for suffix in ("", "-wal"):
            shutil.copy(f"{drive.path}{suffix}", f"{path}{suffix}")
    shutil.copytree(drive.folder, path.parent / "in")
    return path


QUESTION = Question(parse(TEXT), True, 0.05, 0.9, 0.3, 10**6)


def test_a_log_that_is_whole(killed, drive):
    assert exported(killed) == exported(drive.path)


def test_a_log_with_half_a_commit_at_its_end(killed, drive):
    """The process died while it wrote: nothing that was there is gone."""
    whole = Path(f"{killed}-wal").read_bytes()
    Path(f"{killed}-wal").write_bytes(whole + whole[-4120:-2000])
    assert exported(killed) == exported(drive.path)


def test_a_log_that_lost_what_was_stored(killed, drive, here):
    log = bytearray(Path(f"{killed}-wal").read_bytes())
    log[-100] ^= 1  # in the last frame, a commit
    Path(f"{killed}-wal").write_bytes(log)
    with pytest.raises(RunError, match=r"what was stored last is lost.*; perception annotate goes"):
        RunReader(killed)
    told, out = [], killed.with_suffix("")
    annotate(colour_model, [str(killed.parent / "in")], TEXT, out, note=told.append)
    assert [line for line in told if "what was stored last is lost" in line] == told != []
    assert exported(killed)[0] == exported(drive.path)[0]


# The fuzz.


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Name -> folder with in/, out.json, out.json.run, perhaps with a log, and truth.json.

    plain: small pages, so that most bytes matter; freed: with free pages; log: with a log.
    """
    folders = {}
    for name in ("plain", "freed", "log"):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        (folder / "in" / "sub").mkdir(parents=True)
        for n, where in enumerate(("a.png", "b.png", "sub/a.png", "sub/c.png")):
            things = [("red", (8 + n, 8, 40 + n, 40)), ("blue", (60, 30 + n, 90, 60 + n))][: 3 - n]
            Image.fromarray(drawing(things=things)).save(folder / "in" / where)
        (folder / "in" / "torn.png").write_bytes(b"\x89PNG")
        path = folder / "out.json.run"
        drive = Drive(folder / "in", path, colour_model())
        drive(TEXT, most=4)
        change(path, "PRAGMA page_size = 512", "VACUUM")
        with RunWriter(path) as run:
            one = run.find("b.png").picture
            marks = [HAND, MODEL, FIXED] * (30 if name == "freed" else 1)
            run.mark(one, marks, CONTENT, revision=0)
            if name == "freed":
                run.mark(one, [HAND, MODEL, FIXED], CONTENT, revision=1)
            run.note_asked(one, ["green"])
            if name == "log":
                # What follows stays in the log.
                run._db.execute("PRAGMA wal_checkpoint")
                run.record(read_and_answer(drive.model, run.tasks(), QUESTION))
                run.mark(run.find("a.png").picture, [HAND], CONTENT, revision=0)
                write_annotations(run, folder / "out.json")
                for suffix in ("", "-wal"):
                    shutil.copy(f"{path}{suffix}", f"{path}.kept{suffix}")
        if name == "log":
            for suffix in ("", "-wal"):
                Path(f"{path}.kept{suffix}").rename(f"{path}{suffix}")
        else:
            drive(TEXT)
            with RunReader(path) as run:
                write_annotations(run, folder / "out.json")
        shutil.copy(folder / "out.json", folder / "truth.json")
    return folders


class Damage:
    """A run's files, which are put back damaged, and what then comes of an action."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "out.json.run"
        self.files = {
            path: path.read_bytes()
            for path in (self.path, Path(f"{self.path}-wal"), folder / "out.json")
            if path.exists()
        }
        self.came = Counter()

    def put(self, path=None, content=b""):
        for suffix in ("-wal", "-shm", "-journal", ".lock"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        for file, whole in self.files.items():
            file.write_bytes(content if file == path else whole)

    def flips(self, seed, count, *, path=None, within=None):
        """A file with one byte changed, at places and by values that the seed says."""
        path, chosen = path or self.path, random.Random(seed)  # noqa: S311
        whole = self.files[path]
        for _ in range(count):
            at = chosen.choice(within) if within else chosen.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[at] ^= chosen.choice([1 << chosen.randrange(8), chosen.randrange(1, 256)])
            yield path, bytes(flipped)

    def check(self, damages, act, expected=None):
        """Each damage gives the same, or one line."""
        self.put()
        expected = act(self.path) if expected is None else expected
        for path, content in damages:
            self.put(path, content)
            try:
                found = act(self.path)
            except PerceptionError as error:
                assert len(str(error).splitlines()) == 1  # noqa: PT017
                self.came["line"] += 1
            else:
                assert found == expected
                self.came["same"] += 1
        self.put()
        return self.came


def go_on(path):
    """The same command again."""
    out = path.with_suffix("")
    annotate(colour_model, [str(path.parent / "in")], TEXT, out, retry_failed=True)
    return out.read_bytes()


def free_bytes(whole):
    """The places of all bytes in pages that are free, but for the list of these."""
    size, trunk = int.from_bytes(whole[16:18], "big"), struct.unpack(">I", whole[32:36])[0]
    places = []
    while trunk:
        at = (trunk - 1) * size
        trunk, count = struct.unpack(">II", whole[at : at + 8])
        for leaf in struct.unpack(f">{count}I", whole[at + 8 : at + 8 + 4 * count]):
            places += range((leaf - 1) * size, leaf * size)
    return places


@pytest.mark.slow
def test_fuzz_what_is_read(runs):
    damage = Damage(runs["plain"])
    damage.check(damage.flips(1, 120, within=range(100)), exported)
    came = damage.check(damage.flips(2, 700), exported)
    assert came["line"] > 200
    assert came["same"] > 100


@pytest.mark.slow
def test_fuzz_a_run_without_checksums(tmp_path):
    """Other values may come out, but nothing that can't be."""
    path = tmp_path / "out.json.run"
    shutil.copy(RUNS / "version_3.run", path)
    damage = Damage(tmp_path)
    for _, content in damage.flips(20, 300):
        damage.put(path, content)
        try:
            exported(path)
        except PerceptionError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


@pytest.mark.slow
def test_fuzz_what_is_cut_off(runs):
    damage = Damage(runs["plain"])
    whole = damage.files[damage.path]
    cuts = [(damage.path, whole[:size]) for size in range(0, len(whole) - 512, 257)]
    assert damage.check(cuts, exported) == {"line": len(cuts)}


@pytest.mark.slow
def test_fuzz_free_pages(runs, here):
    damage = Damage(runs["freed"])
    places = free_bytes(damage.files[damage.path])
    assert len(places) > 2000
    assert damage.check(damage.flips(3, 60, within=places), exported) == {"same": 60}
    damage = Damage(runs["freed"])
    assert damage.check(damage.flips(3, 30, within=places), go_on) == {"same": 30}


@pytest.mark.slow
def test_fuzz_the_list_of_free_pages(runs, here):
    damage = Damage(runs["freed"])
    whole = damage.files[damage.path]
    trunk = (struct.unpack(">I", whole[32:36])[0] - 1) * int.from_bytes(whole[16:18], "big")
    places = [*range(32, 40), *range(trunk, trunk + 40)]
    damage.check(damage.flips(4, 40, within=places), exported)
    came = damage.check(damage.flips(5, 60, within=places), go_on)
    assert came["line"] > 20


@pytest.mark.slow
def test_fuzz_the_log(runs, here):
    damage = Damage(runs["log"])
    log = Path(f"{damage.path}-wal")
    came = damage.check(damage.flips(6, 150, path=log), exported)
    assert came["line"] > 100
    damage.check(damage.flips(7, 100), exported)


@pytest.mark.slow
def test_fuzz_going_on(runs, here):
    damage = Damage(runs["plain"])
    came = damage.check(damage.flips(8, 150), go_on)
    assert came["line"] > 40
    assert came["same"] > 20


@pytest.mark.slow
def test_fuzz_the_commands(runs, tmp_path, monkeypatch, here, capfd):
    """What a person sees: no stack trace, one line on standard error, the same files."""
    monkeypatch.setattr(loading, "load", lambda *_, **__: colour_model())
    damage = Damage(runs["plain"])
    commands = {
        "csv": ["export-annotations", "--format", "csv"],
        "labelme": ["export-annotations", "--format", "labelme"],
        "page": ["review", "-q"],
        "figures": ["evaluate", "coco", str(damage.folder / "truth.json"), "--json"],
    }

    def act(name, path):
        out = tmp_path / name
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        command = [*commands[name][:2], *commands[name][2:], str(out)]
        if name == "figures":
            command.insert(3, str(path))
        else:
            command[-1:] = ["--out", str(out)]
            command.insert(1, str(path))
        code = status(command)
        said = capfd.readouterr().err.splitlines()
        if code:
            assert (code, len(said)) == (1, 1)
            assert said[0].startswith("perception: error: ")
            raise PerceptionError(said[0])
        files = [out] if out.is_file() else sorted(out.rglob("*.json"))
        return [file.read_bytes() for file in files]

    for n, name in enumerate(commands):
        came = damage.check(damage.flips(9 + n, 20), lambda path, name=name: act(name, path))
        assert came["same"] > 0 < came["line"]
