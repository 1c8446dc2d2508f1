"""The last steps of a child before it becomes the server: a program of its own that ends in exec.

It is not a ``preexec_fn``, because that runs Python between fork and exec of a process that has
threads by then (journal, inference), which may deadlock. Started as ``python -I -S launch.py``,
so it imports nothing of this package; it costs about 20 ms.
"""

import ctypes
import os
import sys

# Exit codes that no server of ours uses, so that the parent can tell who failed.
PARENT_GONE = 121
UNREACHABLE = 122
RIGHT_MISSING = 123
NOT_RUNNABLE = 124

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main(arguments: list[str]) -> None:
    """Take on the wanted user, tie our life to the parent's, and become the server.

    Arguments: parent pid, death signal, uid, gid (both -1 to stay who we are), 1 to keep
    CAP_DAC_OVERRIDE, a folder that the new user must be able to enter, then the command line.
    """
    parent, death_signal, uid, gid, keep_dac_override = map(int, arguments[:5])
    folder, command = arguments[5], arguments[6:]
    if uid >= 0:
        try:
            _become(uid, gid, keep_dac_override=bool(keep_dac_override))
        except OSError as exc:
            _end(RIGHT_MISSING, f"cannot become user {uid}: {exc.strerror}")
        if not (os.access(command[0], os.X_OK) and os.access(folder, os.X_OK)):
            _end(UNREACHABLE, f"user {uid} cannot reach {command[0]} or {folder}")
    if sys.platform == "linux":
        # after setresuid, which clears it
        _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        _end(PARENT_GONE, "the supervising process ended meanwhile")
    os.umask(0o077)
    try:
        os.execv(command[0], command)  # noqa: S606 - becoming this program is the whole purpose
    except OSError as exc:
        _end(NOT_RUNNABLE, f"cannot run {command[0]}: {exc.strerror}")


def _become(uid: int, gid: int, *, keep_dac_override: bool) -> None:
    """Change to the user for good; one capability may stay, to reach folders below a 0700 home."""
    os.setgroups([])
    if keep_dac_override:
        # Keeps capabilities across setresuid. Not PR_SET_KEEPCAPS, which does that too: access(2)
        # would still look away from them, and initdb asks it about its own programs.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if keep_dac_override:
        header, sets = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (_CapabilitySets * 2)()
        bit = 1 << _CAP_DAC_OVERRIDE
        sets[0].effective = sets[0].permitted = sets[0].inheritable = bit
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capset(ctypes.byref(header), ctypes.byref(sets)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _prctl(option: int, first: int, second: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # unsigned longs: the kernel refuses PR_CAP_AMBIENT when the unused ones are not zero
    if libc.prctl(option, *map(ctypes.c_ulong, (first, second, 0, 0))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _end(exit_code: int, reason: str) -> None:
    sys.stderr.write(f"{reason}\n")
    sys.exit(exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
