# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios whose tests run inside of the host VM, where they are much nearer to its kernel. The script registers tests
with vt.py's test() and calls inside.main(__file__): here that starts the VM (scenario.py), brings the script into it and
passes on what it prints; there it runs the tests."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import vt  # noqa: E402

IN_VM = os.path.exists("/usr/local/sbin/rig-agent")
BUILD = os.environ.get("VNIC_BUILD") or os.path.join(vt.TOP, "build/check")


def bring(host, script, programs=(), tables=()):
    """The script, what it imports and what it reads, into the same places below /root as here."""
    with tempfile.TemporaryDirectory() as d:
        for folder in ("tests/rig", "tests/unit", "tests/tables"):
            os.makedirs(os.path.join(d, folder))
        for name in (os.path.basename(script), "inside.py", "devices.py"):
            shutil.copy(os.path.join(HERE, name), os.path.join(d, "tests/rig"))
        for name in tables:
            shutil.copy(os.path.join(vt.TOP, "tests/tables", f"{name}.md"), os.path.join(d, "tests/tables"))
        shutil.copy(os.path.join(vt.TOP, "README.md"), d)
        for p in programs:
            to = os.path.join(d, "tests/unit", os.path.basename(p))
            subprocess.run(["strip", "-g", "-o", to, os.path.join(BUILD, p)], check=True)
        tar = subprocess.run(["tar", "-C", d, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    status, out = host.run(["tar", "-x", "-C", "/root"], stdin=tar)
    assert status == 0, out


def _out(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main(script, programs=(), limit=280, tables=()):
    """Run the script's tests, or those named on the command line."""
    if IN_VM or "--list" in sys.argv:
        return vt.main()
    import scenario
    try:
        host = scenario.start()
        bring(host, os.path.abspath(script), programs, tables)
        status = host.run(["env", f"VNIC_SLOW={host.slow}", "/usr/bin/python3", "-B",
                           f"/root/tests/rig/{os.path.basename(script)}", *sys.argv[1:]], limit, out=_out)[0]
    except scenario.Hung as e:
        print(f"# {scenario.vms_said()}".replace("\n", "\n# "))
        print(f"Bail out! hung: {e}".split("\n", maxsplit=1)[0], flush=True)
        status = scenario.HUNG
    finally:
        scenario.end()
    sys.exit(status)
