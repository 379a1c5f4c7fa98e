# SPDX-License-Identifier: GPL-2.0-or-later
"""What a unit's file forbids its program, without systemd: system calls, address families, capabilities."""
import ctypes
import errno
import re
import socket

from vt import run

ALLOW, ERRNO, EQUAL = 0x7FFF0000, 0x00050000, 4  # seccomp.h
PR_CAPBSET_DROP = 24
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def _settings(unit):
    with open(f"/usr/lib/systemd/system/{unit}.service", encoding="utf-8") as f:
        return {k: v.split() for k, v in re.findall(r"^(\w+)=(.*)$", f.read(), re.M)}


def _system_calls(words):
    groups, group = {}, None
    for line in run("systemd-analyze", "syscall-filter").splitlines():
        if line.startswith("@"):
            group = groups.setdefault(line.split()[0], [])
        elif group is not None and line.startswith(" ") and not line.strip().startswith("#"):
            group.append(line.strip())
    todo, out = ["@default", *words], set()  # systemd adds the former to any list of what is allowed
    while todo:
        word = todo.pop()
        if word.startswith("@"):
            todo += groups[word]
        else:
            out.add(word)
    return out


def confinement(unit):
    """A function for the child before its exec."""
    s = _settings(unit)
    lib, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None)
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
                                           ctypes.POINTER(Compare)]
    lib.seccomp_load.argtypes = [ctypes.c_void_p]
    ctx = lib.seccomp_init(ERRNO | getattr(errno, s["SystemCallErrorNumber"][0]))
    assert ctx
    for name in _system_calls(s["SystemCallFilter"]):
        nr = lib.seccomp_syscall_resolve_name(name.encode())
        for compare in ([Compare(0, EQUAL, getattr(socket, family), 0) for family in s["RestrictAddressFamilies"]]
                        if name == "socket" else [None]):
            if nr >= 0:
                r = lib.seccomp_rule_add_array(ctx, ALLOW, nr, compare is not None, compare)
                assert r == 0, f"{name}: {r}"
    keep = {CAPABILITIES[c] for c in s["CapabilityBoundingSet"]}

    def apply():
        for cap in range(64):
            if cap not in keep:
                libc.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)
        if lib.seccomp_load(ctx) != 0:
            raise OSError("seccomp_load")
    return apply
