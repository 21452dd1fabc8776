"""The store of samples: what was just taken as it came, what is older as one compressed column a channel and some minutes (decision 0015)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from monitor.hk.blobs import pack_matrix, pack_times, pack_values, unpack_matrix, unpack_times, unpack_values
from monitor.hk.names import Aliases
from monitor.hk.storefile import open_store, store_errors, transaction
from quicklook.core.housekeeping import Batch, Floats

MOST_CHANNELS = 20_000
MOST_WORDS = 50_000
COLUMN_S = 600.0
"""Columns are made so often."""
MOST_RECENT = 8 << 20
"""Bytes, compressed, that may wait to become columns: they are held in memory when they do."""


class HkStore:
    """Samples of channels, as they were given (fill values too). One writes; any number read, also while it writes."""

    def __init__(self, path: Path, *, writing: bool) -> None:
        self.path = path
        self._db = open_store(path, writing=writing)
        self._ids: dict[str, tuple[int, bool]] = {}
        self._words: dict[str, int] = {}
        self._compacted = -np.inf
        self.dropped = 0
        """Samples that were not stored: too many channels, or words where there were numbers."""

    # writing

    def append(self, source: str, batches: Sequence[Batch], positions: Mapping[str, str], aliases: Aliases | None = None) -> None:
        """Store batches and how far their source is, both or none. Raises Transient, NoSpace."""
        self.put([(source, batches, positions)], {}, aliases)

    def put(
        self,
        taken: Sequence[tuple[str, Sequence[Batch], Mapping[str, str]]],
        facts: Mapping[str, str | bytes],
        aliases: Aliases | None = None,
    ) -> None:
        """Store batches of sources, how far each is, and facts by their keys: all of it or nothing. Raises Transient, NoSpace."""
        known, words = dict(self._ids), dict(self._words)
        try:
            with transaction(self._db, self.path):
                for source, batches, positions in taken:
                    for batch in batches:
                        self._add(batch, aliases)
                    self._move(source, positions)
                self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(f"fact:{k}", v) for k, v in facts.items()])
        except BaseException:
            self._ids, self._words = known, words
            raise

    def _move(self, source: str, positions: Mapping[str, str]) -> None:
        for key, value in positions.items():
            if value:
                self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (source, key, value))
            else:
                self._db.execute("DELETE FROM positions WHERE source=? AND key=?", (source, key))

    def fact(self, key: str) -> str | bytes | None:
        """A fact by its key, None where there is none. Raises Transient."""
        with store_errors(self.path):
            found = self._db.execute("SELECT value FROM meta WHERE key=?", (f"fact:{key}",)).fetchone()
        return None if found is None else found[0]

    def _add(self, batch: Batch, aliases: Aliases | None) -> None:
        names = (*batch.channels, *batch.texts)
        plain = aliases.of_all(names) if aliases else names
        texts = [False] * len(batch.channels) + [True] * len(batch.texts)
        ids = [self._id(n, t) for n, t in zip(plain, texts, strict=True)]
        columns = [batch.values[:, i] for i in range(len(batch.channels))]
        columns += [np.array([np.nan if t is None else self._word(t) for t in words], dtype=float) for words in batch.texts.values()]
        kept = {i: c for i, c in zip(ids, columns, strict=True) if i is not None}
        self.dropped += sum(i is None for i in ids) * len(batch.times)
        if kept and len(batch.times):
            times = (float(batch.times[0]), float(batch.times[-1]))
            row = (*times, len(batch.times), json.dumps(list(kept)), pack_times(batch.times), pack_matrix(np.column_stack(list(kept.values()))))
            self._db.execute("INSERT INTO recent (start, stop, n, channels, times, samples) VALUES (?, ?, ?, ?, ?, ?)", row)

    def _id(self, name: str, text: bool) -> int | None:
        if name not in self._ids:
            found = self._db.execute("SELECT id, text FROM channels WHERE name=?", (name,)).fetchone()
            if found is None:
                count = self._db.execute("SELECT count(*) FROM channels").fetchone()[0]
                if count >= MOST_CHANNELS:
                    return None
                found = (self._db.execute("INSERT INTO channels (name, text) VALUES (?, ?)", (name, int(text))).lastrowid, text)
            self._ids[name] = (int(found[0]), bool(found[1]))
        number, words = self._ids[name]
        return number if words == text else None

    def _word(self, word: str) -> float:
        if word not in self._words:
            found = self._db.execute("SELECT id FROM words WHERE word=?", (word,)).fetchone()
            if found is None:
                if self._db.execute("SELECT count(*) FROM words").fetchone()[0] >= MOST_WORDS:
                    return np.nan
                found = (self._db.execute("INSERT INTO words (word) VALUES (?)", (word,)).lastrowid,)
            self._words[word] = int(found[0])
        return float(self._words[word])

    def positions(self, source: str) -> dict[str, str]:
        """How far a source was. Raises Transient."""
        with store_errors(self.path):
            return dict(self._db.execute("SELECT key, value FROM positions WHERE source=?", (source,)).fetchall())

    def compact(self, now: float, *, all_of_it: bool = False) -> int:
        """Make columns of what waits, when it is time or too much (or `all_of_it`); returns how many rows became so. Raises Transient, NoSpace."""
        with store_errors(self.path):
            waiting = self._db.execute("SELECT total(length(samples)) FROM recent").fetchone()[0]
        if not waiting or not (all_of_it or now - self._compacted > COLUMN_S or waiting > MOST_RECENT):
            return 0
        self._compacted = now
        done = 0
        with transaction(self._db, self.path):
            for channels, rows in self._alike().items():
                done += self._columns(json.loads(channels), rows)
        return done

    def _alike(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, channels in self._db.execute("SELECT id, channels FROM recent ORDER BY start").fetchall():
            found.setdefault(channels, []).append(number)
        return found

    def _columns(self, channels: Sequence[int], rows: Sequence[int]) -> int:
        times, values = [], []
        for number in rows:
            n, packed, samples = self._db.execute("SELECT n, times, samples FROM recent WHERE id=?", (number,)).fetchone()
            times.append(unpack_times(packed, n))
            values.append(unpack_matrix(samples, n, len(channels)))
        whole, table = np.concatenate(times), np.concatenate(values)
        order = np.argsort(whole, kind="stable")
        whole, table = whole[order], np.asfortranarray(table[order])
        grid = self._db.execute(
            "INSERT INTO grids (start, stop, n, times) VALUES (?, ?, ?, ?)", (float(whole[0]), float(whole[-1]), len(whole), pack_times(whole))
        ).lastrowid
        packed_columns = ((c, grid, pack_values(table[:, i])) for i, c in enumerate(channels))
        self._db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", packed_columns)
        self._db.executemany("DELETE FROM recent WHERE id=?", [(r,) for r in rows])
        return len(whole)

    def trim(self, now: float, keep_days: float, max_mb: float) -> int:
        """Forget what is older than that, and the oldest of what is too much; returns how many grids of times went. Raises Transient."""
        with transaction(self._db, self.path):
            gone = [r[0] for r in self._db.execute("SELECT id FROM grids WHERE stop < ?", (now - keep_days * 86400,)).fetchall()]
            self._forget(gone)
            while self.size_mb() > max_mb:
                oldest = [r[0] for r in self._db.execute("SELECT id FROM grids ORDER BY stop LIMIT 10").fetchall()]
                if not oldest:
                    break
                self._forget(oldest)
                gone += oldest
        if gone:
            with store_errors(self.path):
                self._db.execute("PRAGMA incremental_vacuum(20000)").fetchall()
        return len(gone)

    def _forget(self, grids: Iterable[int]) -> None:
        each = [(g,) for g in grids]
        self._db.executemany("DELETE FROM chunks WHERE grid=?", each)
        self._db.executemany("DELETE FROM grids WHERE id=?", each)

    def size_mb(self) -> float:
        """What is in use of the file, MB (10^6 bytes)."""
        pages, free, size = (self._db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size"))
        return float((pages - free) * size / 1e6)

    # reading

    def channels(self) -> dict[str, bool]:
        """All channels, and whether each holds words. Raises Transient."""
        with store_errors(self.path):
            return {n: bool(t) for n, t in self._db.execute("SELECT name, text FROM channels ORDER BY name").fetchall()}

    def words(self) -> dict[int, str]:
        """All words by their number."""
        with store_errors(self.path):
            return dict(self._db.execute("SELECT id, word FROM words").fetchall())

    def span(self) -> tuple[float, float] | None:
        """First and last time of any sample, Unix seconds; None where there is none."""
        with store_errors(self.path):
            both = "SELECT start, stop FROM grids UNION ALL SELECT start, stop FROM recent"
            first, last = self._db.execute(f"SELECT min(start), max(stop) FROM ({both})").fetchone()
        return None if first is None else (float(first), float(last))

    def read(self, names: Sequence[str], start: float, stop: float) -> dict[str, tuple[Floats, Floats]]:
        """Times and values [n], as given, of each channel that is known, start <= time < stop, in the order of time. Raises Transient, BadData."""
        out: dict[str, tuple[Floats, Floats]] = {}
        with store_errors(self.path):
            self._db.execute("BEGIN")  # one view of both kinds: a column that is being made is not seen twice, nor missed
            try:
                ids = {n: self._db.execute("SELECT id FROM channels WHERE name=?", (n,)).fetchone() for n in names}
                recent = self._recent(start, stop)
                grids: dict[int, Floats] = {}
                for name, found in ids.items():
                    if found is not None:
                        pieces = [*self._columns_of(found[0], start, stop, grids), *_of_recent(recent, found[0])]
                        out[name] = _joined(pieces, start, stop)
            finally:
                self._db.execute("COMMIT")
        return out

    def _columns_of(self, channel: int, start: float, stop: float, grids: dict[int, Floats]) -> Iterable[tuple[Floats, Floats]]:
        found = self._db.execute(
            "SELECT g.id, g.n, c.samples FROM grids g JOIN chunks c ON c.grid = g.id AND c.channel = ?"
            " WHERE g.stop >= ? AND g.start < ? ORDER BY g.start",
            (channel, start, stop),
        )
        for grid, n, samples in found.fetchall():
            if grid not in grids:
                grids[grid] = unpack_times(self._db.execute("SELECT times FROM grids WHERE id=?", (grid,)).fetchone()[0], n)
            yield grids[grid], unpack_values(samples, n)

    def _recent(self, start: float, stop: float) -> list[tuple[list[int], Floats, Floats]]:
        found = self._db.execute("SELECT n, channels, times, samples FROM recent WHERE stop >= ? AND start < ? ORDER BY start", (start, stop))
        out = []
        for n, channels, times, samples in found.fetchall():
            ids = json.loads(channels)
            out.append((ids, unpack_times(times, n), unpack_matrix(samples, n, len(ids))))
        return out

    def close(self) -> None:
        """Close the file."""
        try:
            self._db.close()
        except sqlite3.Error:
            return


def _of_recent(recent: Iterable[tuple[list[int], Floats, Floats]], channel: int) -> Iterable[tuple[Floats, Floats]]:
    for ids, times, table in recent:
        if channel in ids:
            yield times, table[:, ids.index(channel)]


def _joined(pieces: Sequence[tuple[Floats, Floats]], start: float, stop: float) -> tuple[Floats, Floats]:
    if not pieces:
        return np.empty(0), np.empty(0)
    times, values = (np.concatenate([p[k] for p in pieces]) for k in (0, 1))
    kept = np.flatnonzero((times >= start) & (times < stop))
    kept = kept[np.argsort(times[kept], kind="stable")]
    return times[kept], values[kept]
