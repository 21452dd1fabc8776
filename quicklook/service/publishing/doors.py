"""Sockets of a daemon: encrypted where there are keys, bound with errors that say what to do, and a thread that answers requests."""

from __future__ import annotations

import ipaddress
import logging
import socket as unix
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import zmq

from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.wire import MAX_REQUEST
from quicklook.io.curvekeys import ServerKeys

log = logging.getLogger("quicklook.publish")

_LONGEST_NAP_S = 0.05
_MOST_FRAMES = 4
_CLOSING_S = 2.0
"""A socket of our own that was closed, as at a reload, is gone after a moment."""
_LONGEST_TOPIC, _LONGEST_GREETING = 192, 640
"""Bytes of a subscription, and of what a client with keys says first; who sends more loses the connection.

libzmq keeps subscriptions in a tree, at some 50 bytes for every byte: 180 MB of long ones made 9 GB, and nothing was published for a minute.
"""
_ANSWERS_KEPT = 4
"""Answers kept for a client that asks and does not read; further ones are dropped. And so many of its requests; with further ones it has to wait."""


def is_local(endpoint: str) -> bool:
    """Whether an endpoint can be reached from this machine alone."""
    parts = urlsplit(endpoint)
    if parts.scheme in ("ipc", "inproc"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(endpoint: str, keys: str) -> None:
    """Refuse what is no address, and one off the loopback without keys. Raises BadConfig that says what to do."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("tcp", "ipc", "inproc") or not (parts.netloc or parts.path):
        raise BadConfig(f"{endpoint!r} is no address; write tcp://127.0.0.1:PORT or ipc://FILE")
    port = parts.netloc.rpartition(":")[2]
    if parts.scheme == "tcp" and port != "*" and not (port.isdecimal() and int(port) < 65536):
        raise BadConfig(f"{endpoint!r} has no port; write tcp://127.0.0.1:PORT")
    if keys:
        ServerKeys.load(keys)
    elif not is_local(endpoint):
        what = "make keys with `quicklook keys new FOLDER` and write `keys: FOLDER` beside the endpoint, or bind to 127.0.0.1 or ipc://"
        raise BadConfig(f"{endpoint} can be reached from other machines, and without keys anybody could listen: {what}")


class Gate:
    """Says who may come in, by their public keys (ZAP, ZeroMQ RFC 27). As long as it stands nobody else does, even where its thread has died."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys, kinds: tuple[str, ...]) -> None:
        self._keys, self._kinds = keys, kinds
        self._stop = threading.Event()
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind("inproc://zeromq.zap.01")
        self._thread = threading.Thread(target=self._run, name="zmq-gate", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(100):
                self._socket.send_multipart(self._answer(self._socket.recv_multipart()))

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        version, request = (*frames, b"", b"")[:2]
        mechanism, credential = (frames[5], frames[6]) if len(frames) == 7 else (b"", b"")
        name = None
        if mechanism == b"CURVE" and len(credential) == 32:
            name = self._keys.known(_z85(credential), self._kinds)
        if name is None:
            log.warning("a stranger was turned away; a client needs a key in %s", " or ".join(self._kinds))
            return [version, request, b"400", b"unknown key", b"", b""]
        return [version, request, b"200", b"OK", name.encode(), b""]

    def close(self) -> None:
        """Take it away, once the sockets that it guards are closed."""
        self._stop.set()
        self._thread.join(2.0)
        self._socket.close()


def _z85(key: bytes) -> str:
    from zmq.utils import z85

    return str(z85.encode(key).decode())


class Door:
    """A context for sockets: with keys all of them are encrypted, and let in those alone whose keys are in one of the folders `kinds`."""

    def __init__(self, keys: str, kinds: tuple[str, ...]) -> None:
        self.keys = ServerKeys.load(keys) if keys else None
        self._context = zmq.Context() if self.keys else zmq.Context.instance()
        self._gate = Gate(self._context, self.keys, kinds) if self.keys else None

    def socket(self, kind: int, endpoint: str, *, high_water_mark: int, linger_ms: int = 1000) -> zmq.Socket[bytes]:
        """A socket that is bound. Raises BadConfig for an address that is malformed, Transient where it is in use."""
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        # pings of ZeroMQ's own (HEARTBEAT_IVL) are left off: libzmq 4.3.5 ends the process of a peer that gets one while it does not read
        # (libzmq issues 3937, 4364, 4767); TCP finds out by itself when a machine is gone
        longest = (_LONGEST_GREETING if self.keys else _LONGEST_TOPIC) if kind == zmq.PUB else MAX_REQUEST
        options = {zmq.SNDHWM: high_water_mark, zmq.RCVHWM: high_water_mark, zmq.LINGER: linger_ms, zmq.MAXMSGSIZE: longest}
        options |= {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 20, zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 4}
        for option, value in options.items():
            socket.setsockopt(option, value)
        if endpoint.startswith("tcp://["):
            socket.setsockopt(zmq.IPV6, 1)
        if self.keys:
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = self.keys.own.public.encode(), self.keys.own.secret.encode()
        in_use = f"{endpoint} is in use; stop the other program or name another endpoint"
        end = time.monotonic() + _CLOSING_S
        while (taken := _answered(endpoint)) and time.monotonic() < end:
            time.sleep(0.05)
        if taken:
            socket.close(0)
            raise Transient(in_use)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(0)
            if error.errno == zmq.EADDRINUSE:
                raise Transient(in_use) from error
            raise BadConfig(f"cannot bind {endpoint}: {error}") from error
        return socket

    def close(self) -> None:
        """Take the gate away; sockets are closed before by those who have them."""
        if self._gate is not None:
            self._gate.close()
            self._context.term()


def _answered(endpoint: str) -> bool:
    """Whether somebody listens at a socket in the file system: ZeroMQ would put another one in its place, and say nothing."""
    path = endpoint.removeprefix("ipc://")
    if path in (endpoint, "*") or path.startswith("@"):
        return False
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(path)
        except OSError:
            return False
    return True


Answer = Callable[[bytes, str], list[bytes]]
"""What is answered to the body of a request from a client of that name ("" without keys)."""


class Desk:
    """Answers requests in a thread of its own. Asked in a hurry, it rests as long as it works, so that those who publish are not delayed."""

    def __init__(self, door: Door, endpoint: str, name: str, answer: Answer) -> None:
        self._answer, self._name = answer, name
        self._socket = door.socket(zmq.ROUTER, endpoint, high_water_mark=_ANSWERS_KEPT, linger_ms=500)
        # else an answer that finds no room would be dropped before we know
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(100):
                began = time.monotonic()
                self._serve(self._socket.recv_multipart(copy=False))
                self._stop.wait(min(_LONGEST_NAP_S, time.monotonic() - began))
        self._socket.close()

    def _serve(self, frames: list[zmq.Frame]) -> None:
        if not 2 <= len(frames) <= _MOST_FRAMES:
            return
        try:
            answer = self._answer(frames[-1].bytes, _user(frames[-1]))
        except Exception as error:
            log.exception("%s could not answer: %s", self._name, describe(error))
            return
        try:
            self._socket.send_multipart([*(f.bytes for f in frames[:-1]), *answer], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.debug("%s: a client does not read its answers, or has gone: %s", self._name, error)

    def close(self) -> None:
        """End the thread and close the socket."""
        self._stop.set()
        self._thread.join(5.0)


def _user(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # without keys nobody has a name
        return ""
