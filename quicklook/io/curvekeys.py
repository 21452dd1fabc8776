"""Keys of the CURVE mechanism of ZeroMQ on disk: who a daemon is, who may listen to it, who may command it.

A folder of keys has ``server.key`` and ``server.key_secret``; ``clients/NAME.key`` for each who may listen; ``commanders/NAME.key`` for each who may
also command; and ``for-NAME``, a folder to be carried to that client, with its own secret and the server's public key. The files have the form that
pyzmq's ``zmq.auth`` reads.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.errors import BadConfig

CLIENTS, COMMANDERS = "clients", "commanders"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r'(public|secret)-key\s*=\s*"?([0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40})"?\s*\Z')


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A public key and the secret one that belongs to it, as Z85 text of 40 characters."""

    public: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """Keys of a daemon, and the folder in which the public keys of its clients are looked up whenever one connects."""

    own: KeyPair
    folder: Path

    @classmethod
    def load(cls, folder: str | Path) -> ServerKeys:
        """From a folder of keys. Raises BadConfig where it has none, or others can read the secret one."""
        folder = Path(folder).expanduser()
        return cls(own=read_pair(folder / "server.key_secret"), folder=folder)

    def known(self, public: str, kinds: tuple[str, ...]) -> str | None:
        """The name of a client by its public key, looked up in folders of these kinds; None for a stranger."""
        for kind in kinds:
            for path in sorted((self.folder / kind).glob("*.key")):
                try:
                    if _read(path).get("public") == public:
                        return path.stem
                except BadConfig:
                    continue
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeys:
    """Keys of a client: its own pair, and the public key of the daemon."""

    own: KeyPair
    server: str

    @classmethod
    def load(cls, folder: str | Path) -> ClientKeys:
        """From a folder with ``client.key_secret`` and ``server.key``. Raises BadConfig."""
        folder = Path(folder).expanduser()
        return cls(own=read_pair(folder / "client.key_secret"), server=read_public(folder / "server.key"))


def _read(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read as a key: {error}; make keys with `quicklook keys new`") from error
    return {found[1]: found[2] for line in text.splitlines() if (found := _KEY.match(line.strip()))}


def read_public(path: Path) -> str:
    """The public key in a file. Raises BadConfig where there is none."""
    keys = _read(path)
    if "public" not in keys:
        raise BadConfig(f"{path} has no public key; make keys with `quicklook keys new`")
    return keys["public"]


def read_pair(path: Path) -> KeyPair:
    """Both keys in a file of a secret key. Raises BadConfig where one is not there, or the file can be read by others than its owner."""
    keys = _read(path)
    if set(keys) != {"public", "secret"}:
        raise BadConfig(f"{path} has no secret key; make keys with `quicklook keys new`")
    if path.stat().st_mode & 0o077:
        raise BadConfig(f"{path} can be read by others; run: chmod 600 {path}")
    return KeyPair(public=keys["public"], secret=keys["secret"])


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, which is not there yet. Raises BadConfig."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadConfig(f"{path} is there already, and is not written over; move it away or name another folder") from error
    except OSError as error:
        raise BadConfig(f"{path} cannot be written: {error.strerror}; give access or name another folder") from error


def _write_pair(stem: Path, pair: KeyPair) -> None:
    write_private(stem.with_name(f"{stem.name}.key_secret"), _text(pair.public, pair.secret))
    write_private(stem.with_name(f"{stem.name}.key"), _text(pair.public))


def _text(public: str, secret: str = "") -> str:
    return f'curve\n    public-key = "{public}"\n' + (f'    secret-key = "{secret}"\n' if secret else "")


def _new_pair() -> KeyPair:
    import zmq

    public, secret = zmq.curve_keypair()
    return KeyPair(public=public.decode(), secret=secret.decode())


def new_server(folder: Path) -> None:
    """Make the keys of a daemon in a folder that its owner alone can enter. Raises BadConfig where it has some already."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadConfig(f"{folder} cannot be made: {error.strerror}; give access or name another one") from error
    _write_pair(folder / "server", _new_pair())


def new_client(folder: Path, name: str, *, commands: bool) -> Path:
    """Make the keys of a client and let it in; returns the folder that is to be carried to it.

    Raises BadConfig where the folder has no keys of a daemon, the name is none, or it is there already.
    """
    if not _NAME.fullmatch(name):
        raise BadConfig(f"{name!r} cannot be the name of a client; use letters, digits, and . _ - within")
    server = read_public(folder / "server.key")
    handed, pair = folder / f"for-{name}", _new_pair()
    write_private(folder / (COMMANDERS if commands else CLIENTS) / f"{name}.key", _text(pair.public))
    _write_pair(handed / "client", pair)
    write_private(handed / "server.key", _text(server))
    return handed
