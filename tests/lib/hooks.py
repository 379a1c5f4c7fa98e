# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's hook's side of api/hook.md, by hand: requests without a libvirt."""
import fcntl
import json
import os
import socket

SOCK = "/run/vnicd/hook.sock"


def ask(op, uuid, name, nics, timeout=20.0):
    """Send a hook's request and do not wait yet; the socket. nics: [(MAC, class, socket's name)]"""
    interfaces = [{"mac": mac, "type": "vhostuser", "mode": "client", "model": "virtio",
                   "socket": f"/run/vnicd/sock/{cls}/{sock}.sock"} for mac, cls, sock in nics]
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(timeout)
    try:
        s.connect(SOCK)
        s.send(json.dumps({"op": op, "version": 1, "interfaces": interfaces, "overrides": [], "domain": {
            "uuid": uuid, "name": name, "shared_memory": True, "pidfile": pidfile(name)}}).encode())
    except OSError:
        s.close()
        raise
    return s


def answer(s):
    """What vnicd says to ask()'s request."""
    with s:
        return json.loads(s.recv(65536))


def hook(op, uuid, name, nics):
    return answer(ask(op, uuid, name, nics))


def pidfile(name):
    return f"/run/libvirt/qemu/{name}.pid"


class Running:
    """A domain's QEMU, as its pidfile tells: this process, holding the lock."""

    def __init__(self, name):
        self.name = name
        os.makedirs(os.path.dirname(pidfile(name)), exist_ok=True)
        self._file = open(pidfile(name), "w", encoding="ascii")
        self._file.write(str(os.getpid()))
        self._file.flush()
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self):
        self._file.close()
        os.unlink(pidfile(self.name))
