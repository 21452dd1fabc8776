"""The sink that mirrors raw files: each file that has arrived, with what belongs to it, to one or more other places. In a process of its own.

What is to be copied stands in a small database, so that a restart or a place that is away for a day loses nothing. Nothing is ever deleted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.dialects.sqlite import insert

from monitor.mirror.rsync import Rsync
from quicklook.core.errors import BadConfig, BadData, Transient, describe
from quicklook.core.events import Draft, Event, Heartbeat, Mirrored, Refused, Seen, draft
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext
from quicklook.io import sqlite

log = logging.getLogger("quicklook.mirror")

_PAUSES_S = (5, 30, 120, 600)
_NAP_S = 0.3
_TROUBLE = 3
"""What could not be copied in so many attempts is told; it is tried on, and told again when it is there."""
_METADATA = sa.MetaData()
FILES = sa.Table(
    "files",
    _METADATA,
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("unit", sa.String, nullable=False, default=""),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("next", sa.Float, nullable=False, default=0.0),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("told", sa.Boolean, nullable=False, default=False),
)
sa.Index("ix_files_untold", FILES.c.seq, sqlite_where=FILES.c.told.is_(False))
"""What was not told is looked for at every heartbeat, among the files of years."""
WAITING, DONE, FAILED = "waiting", "done", "failed"


class MirrorParams(Params):
    """Parameters of `mirror`."""

    raw: str = Field("", description="folder of raw files; names below it stay the same at the other place")
    to: dict[str, str] = Field({}, description="other places by name: a folder, or HOST:FOLDER (rsync by ssh, without a password)")
    siblings: bool = Field(True, description="whether other files of the folder of an exposure are copied with it, if that is a folder of its own")
    bandwidth_kb: int = Field(0, ge=0, description="at most so many kB a second; 0: no limit")
    timeout_s: float = Field(600.0, gt=0, description="a transfer that stands still for so long is given up, and tried again")


class Mirror(Sink[MirrorParams]):
    """Copies raw files to other places while they arrive."""

    name = "mirror"
    kinds = (Seen.kind, Refused.kind, Heartbeat.kind)
    isolated = True

    def check(self) -> None:
        """Look at the places. Raises BadConfig."""
        if not self.params.raw or not self.params.to:
            raise BadConfig("the mirror has no folder of raw files (raw) or no other place (to)", what_next="Name both under `sinks: {mirror: ...}`.")
        raw = Path(self.params.raw).resolve()
        for name, target in self.params.to.items():
            if not self._rsync(target).remote and Path(target).resolve().is_relative_to(raw):
                said = f"{name}: {target} is in the folder of raw files; its copies would be taken for new files"
                raise BadConfig(said, what_next="Name another place.")

    def open(self, context: SinkContext) -> None:
        """Open the list of what is to be copied, and go on with it."""
        self._engine = sqlite.open_own(Path(context.out) / "mirror.sqlite", _METADATA, "the list of the mirror")
        self._root = Path(self.params.raw).resolve()
        self._stop = threading.Event()
        self._threads = [self._thread(name, target) for name, target in self.params.to.items()]
        for thread in self._threads:
            thread.start()

    def accept(self, event: Event) -> Sequence[Draft]:
        """Note what is to be copied; tell what was copied since. Raises Transient where the list cannot be written now."""
        try:
            with self._engine.begin() as connection:
                if event.kind != Heartbeat.kind:
                    self._note(connection, event)
                return self._tell(connection, event.tag)
        except sa.exc.OperationalError as error:
            raise Transient(f"the list of the mirror cannot be written now: {error.orig}") from error

    def _note(self, connection: sa.Connection, event: Event) -> None:
        # what is refused is copied as it is: it may be all that there is of an exposure
        seen = Seen.model_validate(event.payload) if event.kind == Seen.kind else Refused.model_validate(event.payload)
        fresh = {"seq": event.seq, "unit": event.unit or "", "state": WAITING, "attempts": 0, "next": 0.0, "error": "", "told": False}
        for name in self._names(Path(seen.path or seen.file)):
            for target in self.params.to:
                row = insert(FILES).values({"target": target, "name": name, **fresh})
                connection.execute(row.on_conflict_do_update(index_elements=["target", "name"], set_=fresh))

    def close(self) -> None:
        """Let each transfer end, for a moment; one that is cut off goes on at the next start."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3.0)
        self._engine.dispose()

    # ---- what is to be copied

    def _thread(self, name: str, target: str) -> threading.Thread:
        return threading.Thread(target=self._work, args=(name, self._rsync(target)), name=f"mirror-{name}", daemon=True)

    def _rsync(self, target: str) -> Rsync:
        return Rsync(target, bandwidth_kb=self.params.bandwidth_kb, timeout_s=self.params.timeout_s)

    def _names(self, path: Path) -> list[str]:
        """The file, and what lies beside it, relative to the raw folder; nothing for a file of elsewhere."""
        resolved = path.resolve() if path.is_absolute() else (self._root / path).resolve()
        if not resolved.is_relative_to(self._root):
            log.warning("%s is not below %s and is not mirrored", path, self._root)
            return []
        try:
            files = self._with_siblings(resolved)
        except OSError as error:  # taken away meanwhile, or not to be read: what cannot be copied is told when it is tried
            log.warning("what lies beside %s cannot be seen: %s", path, describe(error))
            files = {resolved}
        return sorted(str(f.relative_to(self._root)) for f in files)

    def _with_siblings(self, path: Path) -> set[Path]:
        files = {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
        own_folder = path.parent != self._root and path.parent.name.lstrip("0").isdecimal()
        if self.params.siblings and own_folder:
            files |= {p for p in path.parent.iterdir() if p.is_file() and not p.name.startswith(".")}
        return {f for f in files if f == path or f.resolve().is_relative_to(self._root)}  # a link that leads elsewhere is no raw file

    @staticmethod
    def _tell(connection: sa.Connection, tag: str) -> list[Draft]:
        """What has been copied, has failed, or cannot be copied for now, since this was asked last."""
        worth = sa.or_(FILES.c.state != WAITING, FILES.c.attempts >= _TROUBLE)
        rows = connection.execute(sa.select(FILES).where(FILES.c.told.is_(False), worth).limit(200)).all()
        out = []
        for row in rows:
            connection.execute(sa.update(FILES).where(FILES.c.target == row.target, FILES.c.name == row.name).values(told=True))
            told = Mirrored(name=row.target, file=row.name, done=row.state == DONE, error=row.error)
            out.append(draft(told, tag=tag).model_copy(update={"unit": row.unit or None}))
        return out

    # ---- copying

    def _work(self, name: str, rsync: Rsync) -> None:
        while not self._stop.is_set():
            try:
                if not self._turn(name, rsync):
                    self._stop.wait(_NAP_S)
            except Exception as error:
                log.exception("the mirror to %s stumbled: %s", name, describe(error))
                self._stop.wait(5.0)

    def _turn(self, target: str, rsync: Rsync) -> bool:
        """Copy the next file that is due; False where there is none."""
        mine = (FILES.c.target == target, FILES.c.state == WAITING, FILES.c.next <= time.time())
        with self._engine.connect().execution_options(reading=True) as connection, connection.begin():
            row = connection.execute(sa.select(FILES).where(*mine).order_by(FILES.c.next, FILES.c.name).limit(1)).first()
        if row is None:
            return False
        state, error, attempts = DONE, "", row.attempts + 1
        try:
            rsync.copy(self._root, row.name, datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))
        except BadData as lasting:
            state, error = FAILED, describe(lasting)
        except (Transient, BadConfig) as trouble:
            state, error = WAITING, describe(trouble)
        log.log(logging.DEBUG if state == DONE else logging.WARNING, "%s to %s: %s%s", row.name, target, state, f", {error}" if error else "")
        pause = _PAUSES_S[min(attempts, len(_PAUSES_S)) - 1] if state == WAITING else 0.0
        after = {"state": state, "error": error, "attempts": attempts, "next": time.time() + pause}
        if state == DONE:
            after["told"] = False
        with self._engine.begin() as connection:
            # a file that came anew while it was copied has another number: it is copied once more
            same = (FILES.c.target == target, FILES.c.name == row.name, FILES.c.seq == row.seq)
            connection.execute(sa.update(FILES).where(*same).values(**after))
        return True
