# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd with its datapath, asked over the bus what it is to refuse or to outlive: what tests/bus/test_dbus_*.py share."""
import contextlib
import os
import signal

from busports import add, ports, release_all
from daemon import CONF, Vnicd
from net import Bridge
from rawbus import Bus, DBusError
from vt import run, test, wait_for

BUS_LIMIT = "org.freedesktop.DBus.Error.LimitsExceeded"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
HUGE = "a" * 65536
_bed = {}


def daemon():
    """Bridge, datapath and vnicd, once for all tests."""
    if not _bed:
        _bed["bridge"] = Bridge("br0")
        _bed["vnicd"] = Vnicd(CONF).start()
        _bed["vnicd"].wait_connected()
    return _bed["vnicd"]


def case(name):
    """A test that leaves no port, whatever comes of it, and the daemon that it found."""
    def register(fn):
        def whole():
            pid = daemon().daemon.pid
            try:
                fn()
            finally:
                if daemon().daemon.running():
                    release_all(Bus())
            assert daemon().daemon.pid == pid and daemon().daemon.running(), f"vnicd has ended: {said()}"
        return test(name)(whole)
    return register


@contextlib.contextmanager
def stopped(*pids):
    """These processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def slow():
    """The datapath does nothing it is asked: a port's making and its release wait, for up to 10 s."""
    return stopped(daemon().keeper.pid)


def rss_kib():
    with open(f"/proc/{daemon().daemon.pid}/status", encoding="ascii") as f:
        return next(int(s.split()[1]) for s in f if s.startswith("VmRSS"))


def said():
    """All that vnicd has said since it was started first."""
    return daemon().daemon.said(100000) + "\n"


def wait_said(words, before, timeout=15.0):
    """Until vnicd says it once more than it had in `before`."""
    wait_for(f"vnicd to say '{words}'", lambda: said().count(words) > before.count(words), timeout)


def fails(fn, *args, **kwargs):
    """The D-Bus error that fn raises."""
    try:
        r = fn(*args, **kwargs)
    except DBusError as e:
        assert len(e.message) < 1024, f"a message of {len(e.message)} characters"
        assert e.message.isprintable(), repr(e.message)
        return e
    raise AssertionError(f"it was taken: {r}")


def refused(code, *words, do=None, bus=None, n=1, **keys):
    """PortAdd of this spec fails with this code, its message holds the words, and nothing was made."""
    daemon()
    b = bus or Bus()
    before = ports(b)
    e = fails(do or add, b, n, **keys)
    assert e.code == code, f"{e} is not {code}"
    for w in words:
        assert w in e.message, f"{w!r} is not in: {e.message}"
    assert ports(b) == before
    return e


def as_user(user, group, source):
    """Python source run as another user, rawbus imported; its stdout."""
    run("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "/usr/bin/python3", "-B", "-c",
        f"import sys; sys.path.insert(0, '{os.path.dirname(os.path.abspath(__file__))}')\n{source}")
