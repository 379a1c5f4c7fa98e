# SPDX-License-Identifier: GPL-2.0-or-later
"""The least vhost-user backend that lets QEMU start: it listens, answers the handshake and moves no
frame. For scenarios about libvirt where the datapath itself is not the subject."""
import os
import socket
import struct
import threading

_GET_FEATURES, _SET_LOG_BASE, _GET_VRING_BASE, _GET_PROTOCOL_FEATURES, _GET_QUEUE_NUM = 1, 6, 11, 15, 17
_FEATURES = 1 << 32 | 1 << 30 | 1 << 26 | 1 << 22 | 1 << 15
_PROTOCOL_FEATURES = 1 << 0 | 1 << 1 | 1 << 3  # MQ, LOG_SHMFD (so that a guest may be saved), REPLY_ACK
_REPLY, _NEED_REPLY = 0x5, 0x8


class VhostFake:
    """Listens on file until close(). .peers counts connections that there ever were."""

    def __init__(self, file):
        os.makedirs(os.path.dirname(file), exist_ok=True)
        if os.path.lexists(file):
            os.unlink(file)
        self.file = file
        self.peers = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(file)
        os.chmod(file, 0o666)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        if os.path.lexists(self.file):
            os.unlink(self.file)

    def _accept(self):
        while True:
            try:
                peer = self._listener.accept()[0]
            except OSError:
                return
            self.peers += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    @staticmethod
    def _serve(peer):
        with peer:
            while True:
                try:
                    head, fds, _, _ = socket.recv_fds(peer, 12, 16, socket.MSG_WAITALL)
                    for fd in fds:
                        os.close(fd)
                    if len(head) < 12:
                        return
                    request, flags, size = struct.unpack("<III", head)
                    body = peer.recv(size, socket.MSG_WAITALL) if size else b""
                    if request == _GET_FEATURES:
                        answer = struct.pack("<Q", _FEATURES)
                    elif request == _GET_PROTOCOL_FEATURES:
                        answer = struct.pack("<Q", _PROTOCOL_FEATURES)
                    elif request == _GET_QUEUE_NUM:
                        answer = struct.pack("<Q", 8)
                    elif request == _GET_VRING_BASE:
                        answer = struct.pack("<II", struct.unpack("<II", body)[0], 0)
                    elif flags & _NEED_REPLY or request == _SET_LOG_BASE:
                        answer = struct.pack("<Q", 0)
                    else:
                        continue
                    peer.sendall(struct.pack("<III", request, _REPLY, len(answer)) + answer)
                except OSError:
                    return
