# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenario tests that run inside of a host VM. A script registers tests as those of tests/netns do (vt.py) and calls
inside.main(): on this machine it starts a VM a kernel with this tree's project in it, and runs itself there; there it
runs the tests. Its TAP names each test once a kernel."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import vt  # noqa: E402

IN_VM = os.path.exists("/usr/local/sbin/rig-agent")
BUILD = os.environ.get("VNIC_BUILD") or os.path.join(vt.TOP, "build/check")


def _bring(vm, script, programs):
    """This script, what it imports and what it reads, at the same places as here."""
    with tempfile.TemporaryDirectory() as d:
        for folder in ("tests/rig", "tests/tables", "tests/unit"):
            os.makedirs(os.path.join(d, folder))
        for name in {os.path.basename(script), "inside.py", "devices.py"}:
            shutil.copy(os.path.join(HERE, name), os.path.join(d, "tests/rig"))
        for name in os.listdir(os.path.join(vt.TOP, "tests/tables")):
            shutil.copy(os.path.join(vt.TOP, "tests/tables", name), os.path.join(d, "tests/tables"))
        for p in programs:
            shutil.copy(os.path.join(BUILD, p), os.path.join(d, "tests/unit"))
            subprocess.run(["strip", "-g", os.path.join(d, "tests/unit", os.path.basename(p))], check=False)
        shutil.copy(os.path.join(vt.TOP, "README.md"), d)
        tar = os.path.join(d, "tar")
        subprocess.run(["tar", "-C", d, "-cf", tar, "--exclude=./tar", "."], check=True)
        vm.put(tar, "/run/rig-tests.tar")
    vm.sh("tar -x -f /run/rig-tests.tar -C /root")


class _Tap:
    """Passes TAP on, with each test's number and kernel; what is no TAP goes to `text`."""

    def __init__(self, first, label):
        self.n, self.label, self.left, self.text, self.bad = first, label, b"", [], 0

    def __call__(self, data):
        *lines, self.left = (self.left + data).split(b"\n")
        for line in lines:
            self.line(line.decode(errors="replace"))

    def line(self, line):
        m = re.match(r"(not )?ok \d+ - (.*?)( # SKIP .*)?$", line)
        if m:
            self.n += 1
            self.bad += bool(m.group(1))
            print(f"{m.group(1) or ''}ok {self.n} - {m.group(2)}, {self.label}{m.group(3) or ''}", flush=True)
        elif line.startswith("#"):
            print(line, flush=True)
        elif not line.startswith("1.."):
            self.text.append(line)


def _in_vm(kernel, argv, tap, script, programs, limit):
    from vm import Vm, payload
    vm = Vm(f"{os.path.basename(script)[:-3]}-{kernel}", kernel=kernel)
    try:
        vm.start(payload())
        _bring(vm, script, programs)
        return vm.run(["/usr/bin/python3", "-B", f"/root/tests/rig/{os.path.basename(script)}", *argv], limit, out=tap)[0]
    finally:
        vm.end()


def _on_host(script, programs, kernels, limit):
    sys.path.insert(0, HERE)
    from vm import KERNELS, Hung
    if "--list" in sys.argv:
        return vt.main()
    argv = [a for a in sys.argv[1:] if a not in KERNELS]
    bad, n, text = 0, 0, []
    for kernel in [k for k in kernels or KERNELS if k in sys.argv or not set(KERNELS) & set(sys.argv)]:
        for last in (False, True):
            tap = _Tap(n, f"Linux {kernel}")
            start = time.monotonic()
            try:
                status = _in_vm(kernel, argv, tap, script, programs, limit)
                print(f"# Linux {kernel}: {time.monotonic() - start:.0f} s", flush=True)
            except Hung as e:
                print(f"# {e}", flush=True)
                status = 1
                # Emulated machines do hang, rarely: once more, unless it has begun to tell results.
                if not last and tap.n == n:
                    continue
            break
        if status not in (0, 1) or (status == 1 and not tap.bad):
            tap.n += 1
            print(f"not ok {tap.n} - the tests run to their end, Linux {kernel} (status {status})", flush=True)
            for line in tap.text[-10:]:
                print(f"# {line}")
        bad |= status != 0
        n = tap.n
        text.append((kernel, tap.text))
    print(f"1..{n}")
    if argv and argv[0].startswith("--"):
        return text
    sys.exit(bad)


def main(script, programs=(), kernels=None, limit=300):
    """Run the script's tests, or those named on the command line, on all kernels or those named there. Of a mode of the
    script's own ("--WORD"): returns (kernel, lines that it printed) of each."""
    if IN_VM:
        return vt.main()
    return _on_host(os.path.abspath(script), programs, kernels, limit)
