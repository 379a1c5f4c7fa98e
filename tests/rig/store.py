# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig's cache: what the recipes in build/ make, each under a key of all that went into it.

Folders NAME-KEY, complete or absent: made aside and renamed. Several trees and processes may share it; a lock per
NAME-KEY lets one of them build while the others wait."""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
RUN = os.path.join(TOP, "build/rig")


def root():
    d = os.environ.get("VNIC_RIG_CACHE")
    if not d:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        d = os.path.join(home, "vnicd-rig")
    os.makedirs(d, exist_ok=True)
    return d


class Error(Exception):
    """What a person should read, without a traceback."""


class Unavailable(Error):
    """What is missing is missing here: packages, not something of ours."""


def say(text):
    print(f"rig: {text}", file=sys.stderr, flush=True)


def digest(*parts):
    """A key of files (by content) and strings."""
    h = hashlib.sha256()
    for p in parts:
        if os.path.isabs(p):
            with open(p, "rb") as f:
                p = f.read()
        else:
            p = p.encode()
        h.update(len(p).to_bytes(8, "little") + p)
    return h.hexdigest()[:16]


class Locked:
    """Hold a file's lock: exclusively to build or remove, shared to use."""

    def __init__(self, path, shared=False, wait=lambda: None):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.fd, how | fcntl.LOCK_NB)
        except OSError:
            wait()
            fcntl.flock(self.fd, how)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)


def have(name, key):
    return os.path.exists(os.path.join(root(), f"{name}-{key}", ".done"))


def get(name, key, build, what):
    """The folder NAME-KEY; where it is not there yet, build(folder) makes it."""
    d = os.path.join(root(), f"{name}-{key}")
    done = os.path.join(d, ".done")
    if not os.path.exists(done):
        with Locked(d + ".lock"):
            if not os.path.exists(done):
                start = time.monotonic()
                say(f"making {what}")
                shutil.rmtree(d, ignore_errors=True)
                tmp = tempfile.mkdtemp(prefix=f".{name}-", dir=root())
                try:
                    os.chmod(tmp, 0o755)
                    build(tmp)
                    open(os.path.join(tmp, ".done"), "w", encoding="ascii").close()
                    os.rename(tmp, d)
                finally:
                    shutil.rmtree(tmp, ignore_errors=True)
                say(f"made {what} in {time.monotonic() - start:.0f} s")
    os.utime(done)
    return d


def recipe(name, variant, what, limit=900, apt="apt", more=()):
    """The result of build/NAME VARIANT, which is made of files `more` as well; its apt is locked as long as it runs."""
    script = os.path.join(HERE, "build", name)

    def build(out):
        log = os.path.join(root(), f"{name}-{variant}.log")
        with tempfile.TemporaryDirectory(prefix=".work-", dir=root()) as work, open(log, "wb") as f, \
                Locked(os.path.join(root(), f"{apt}.lock")):
            env = dict(os.environ, work=work, out=out, apt=os.path.join(root(), apt))
            try:
                status = subprocess.run(["nice", script, variant], stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                        env=env, timeout=limit, check=False).returncode
            except subprocess.TimeoutExpired:
                raise Error(f"{what}: not done within {limit} s; see {log}") from None
        if status != 0:
            with open(log, encoding="utf-8", errors="replace") as f:
                tail = "".join(f.readlines()[-5:])
            # 69: EX_UNAVAILABLE, from build/lib.sh.
            raise (Unavailable if status == 69 else Error)(f"{what} failed; see {log}\n{tail}")

    key = digest(script, os.path.join(HERE, "build/lib.sh"), variant, *more)
    return get(f"{name}-{variant}", key, build, what)


def file_system(libvirt):
    return recipe("root", libvirt, f"the file system with libvirt {libvirt}")


def kernel(series):
    series, debug, _ = series.partition("-debug")
    if debug:
        # It is compiled, which takes long: nobody else should wait for its apt.
        return recipe("kernel-debug", series, f"kernel {series} with KASAN and lockdep (half an hour of two cores)", 7200,
                      "apt-debug", [os.path.join(HERE, "build/kernel-debug.config")])
    return recipe("kernel", series, f"kernel {series} and its modules")


def collect(keep_days=0):
    """Remove what was not used for some days; in use counts as used."""
    limit = time.time() - keep_days * 86400
    for n in sorted(os.listdir(root())):
        d = os.path.join(root(), n)
        done = os.path.join(d, ".done")
        if n.endswith(".lock") or n.endswith(".log") or n in ("apt", "apt-debug"):
            continue
        with Locked(d + ".lock") if os.path.exists(done) else Locked(os.path.join(root(), "gc.lock")):
            if os.path.exists(done) and os.stat(done).st_mtime > limit:
                continue
            if not os.path.exists(done) and os.stat(d).st_mtime > time.time() - 3600:
                continue  # somebody may be at it
            say(f"removing {n}")
            shutil.rmtree(d, ignore_errors=True)
