#!/usr/bin/env python3
# Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
"""relay's seccomp filter, run as the kernel would, for machines that are not here.

filter.py check ARCHITECTURE FILE
    FILE is what a relay built with tests/filter.h has written. Each system call that
    relay needs is allowed, every other number is trapped, another architecture's kill.

filter.py made ARCHITECTURE FILE...
    Each FILE is what qemu-ARCHITECTURE -strace has written of a connection. Where relay
    got as far as to ask for its sandbox there was none to be had, and after that it
    made calls from the table below alone.

ARCHITECTURE: x86_64, aarch64, riscv64.
"""
import re
import sys

# By hand from the kernel's tables, arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h, not from the headers that relay is compiled with.
X86_64 = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "munmap": 11, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigreturn": 15, "madvise": 28, "dup2": 33, "getpid": 39, "recvfrom": 45, "shutdown": 48,
    "setsockopt": 54, "getsockopt": 55, "exit": 60, "rt_sigpending": 127, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231, "ppoll": 271, "set_robust_list": 273,
    "splice": 275, "dup3": 292, "pipe2": 293}
GENERIC = {
    "dup3": 24, "close": 57, "pipe2": 59, "read": 63, "write": 64, "ppoll": 73, "splice": 76,
    "exit": 93, "exit_group": 94, "futex": 98, "set_robust_list": 99, "clock_gettime": 113,
    "restart_syscall": 128, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigpending": 136,
    "rt_sigreturn": 139, "getpid": 172, "recvfrom": 207, "setsockopt": 208, "getsockopt": 209,
    "shutdown": 210, "munmap": 215, "madvise": 233}
# rseq: with glibc.
AND_THESE = {"ioctl": 29, "kill": 129, "sendto": 206, "fcntl": 25, "rseq": 293}
# linux/audit.h's name for it, seccomp's own number, and those that depend on their arguments.
ARCHITECTURES = {
    "x86_64": (0xC000003E, 317, X86_64, {"ioctl": 16, "kill": 62, "sendto": 44, "fcntl": 72, "rseq": 334}),
    "aarch64": (0xC00000B7, 277, GENERIC, AND_THESE),
    "riscv64": (0xC00000F3, 277, GENERIC, AND_THESE),
}
OTHERS = (0, 0x40000003, 0x40000028, 0x80000016, 0xFFFFFFFF)     # i386, arm, s390x
ALLOW, TRAP, KILL_PROCESS = 0x7FFF0000, 0x00030000, 0x80000000
FIONREAD, TIOCSTI = 0x541B, 0x5412


def run(program, number, arch, arguments=()):
    """What linux/bpf_common.h's instructions make of a struct seccomp_data."""
    data = [number, arch, 0, 0]
    for argument in (*arguments, *[0] * 6)[:6]:
        data += [argument & 0xFFFFFFFF, argument >> 32]
    a = at = 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == 0x20:                        # LD W ABS
            assert k % 4 == 0, "unaligned"
            a = data[k // 4]
        elif code == 0x07:                      # TAX, and nothing uses X
            pass
        elif code == 0x15:                      # JEQ K
            at += jt if a == k else jf
        elif code == 0x45:                      # JSET K
            at += jt if a & k else jf
        elif code == 0x06:                      # RET K
            return k
        else:
            raise AssertionError(f"instruction {at - 1} is {code:#x}")


def check_form(program):
    """What the kernel asks of one, bpf(4): it ends, whatever happens."""
    assert program[-1][0] == 0x06, "the last instruction is no RET"
    assert program[0][0] == 0x07, "the kernel would run it for each number, to learn which are always allowed"
    for at, (code, jt, jf, _) in enumerate(program):
        steps = (jt, jf) if code & 7 == 5 else ()
        assert all(at + 1 + step < len(program) for step in steps), f"instruction {at} jumps out"


def check(architecture, file):
    own, seccomp, calls, special = ARCHITECTURES[architecture]
    with open(file, encoding="ascii") as lines:
        head, *program = [tuple(map(int, line.split())) for line in lines]
    pid = head[3]
    assert head[:3] == (seccomp, 1, 5), head    # SECCOMP_SET_MODE_FILTER; TSYNC, SPEC_ALLOW
    check_form(program)

    wrong = []

    def expect(verdict, number, arguments=(), arch=own):
        if (got := run(program, number, arch, arguments)) != verdict:
            wrong.append(f"{number:#x} {arguments} of {arch:#x}: {got:#x}, not {verdict:#x}")

    known = {number: name for name, number in calls.items()}
    for number in range(1024):
        if number not in special.values():
            expect(ALLOW if number in known else TRAP, number)
            expect(ALLOW if number in known else TRAP, number, [0xFFFFFFFFFFFFFFFF] * 6)
    # Beyond the table, x32's, and what looks like a needed one in its lower bits.
    for number in known:
        for bit in range(10, 32):
            expect(TRAP, number | 1 << bit)
    expect(ALLOW, 0xFFFFFFFF)                   # a debugger's "no call"
    for arguments, verdict in {(0, FIONREAD): ALLOW, (1, FIONREAD): ALLOW, (0, TIOCSTI): TRAP,
                               (FIONREAD, 0): TRAP, (0, 0): TRAP}.items():
        expect(verdict, special["ioctl"], arguments)
    for flags, verdict in {0: ALLOW, 0x4040: ALLOW, 0x20000000: TRAP, 0x20004040: TRAP, 1 << 32 | 0x20000000: TRAP}.items():
        expect(verdict, special["sendto"], (3, 4096, 10, flags, 4096, 16))      # 0x20000000: MSG_FASTOPEN
    for command in range(2048):
        expect(ALLOW if command in (4, 1031) else TRAP, special["fcntl"], (3, command, 1))  # F_SETFL, F_SETPIPE_SZ
    for arguments, verdict in {(pid, 15): ALLOW, (pid, 0): ALLOW, (1, 15): TRAP, (0, pid): TRAP,
                               (0xFFFFFFFF, 9): TRAP, (pid ^ 1, 9): TRAP}.items():
        expect(verdict, special["kill"], arguments)
    for arch in (*OTHERS, *(a[0] for a in ARCHITECTURES.values() if a[0] != own)):
        for number in (*range(1024), 0xFFFFFFFF):
            expect(KILL_PROCESS, number, (), arch)
    print(f"{len(program)} instructions allow {len(known)} calls")
    return wrong


def made(architecture, files):
    _, _, calls, special = ARCHITECTURES[architecture]
    wrong, seen, count = [], set(), 0
    for file in files:
        with open(file, encoding="utf-8", errors="replace") as lines:
            names = [(m[1], line) for line in lines if (m := re.match(r"\d+ (\w+)", line))]
        asked = [at for at, (name, _) in enumerate(names) if name == "seccomp"]
        if not asked or any(name.startswith("clone") for name, _ in names):
            continue        # two threads write into each other's lines
        count += 1
        if not re.search(r"= -1 errno=(22|38) ", names[asked[0]][1]):   # EINVAL, ENOSYS
            wrong.append(f"{file}: {names[asked[0]][1]}")
        after = {name for name, _ in names[asked[-1] + 1:]}         # asked again without SPEC_ALLOW
        wrong += [f"{file}: {name}" for name in after - set(calls) - set(special)]
        seen |= after
    print(f"of {len(files)} connections {count} asked, and then made: {' '.join(sorted(seen))}")
    return wrong if count else ["no connection asked"]


def main():
    verb, architecture, *files = sys.argv[1:]
    wrong = check(architecture, files[0]) if verb == "check" else made(architecture, files)
    print(*wrong[:20], sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
