# relay: make, make check, make install PREFIX= DESTDIR=, make uninstall, make clean,
# make lint (without running it), make format (the C lines that differ from BASE=HEAD),
# make dist (a tarball), make deb (a Debian package), make fuzz SECS=60 (each target),
# make coverage (which lines the tests run, and which not), make load (tests/load.bats in
# full), make bench, make bench-quick (two minutes), make bench-plot (of what bench measured)

PREFIX   = /usr/local
BINDIR   = $(PREFIX)/bin
MANDIR   = $(PREFIX)/share/man

# A static musl binary starts three times as fast as a dynamic one: the default
# where musl-gcc is there. `make CC=cc` takes the system's compiler and library.
MUSL    != command -v musl-gcc >/dev/null && echo musl-gcc || true
ifeq ($(origin CC),default)
CC      := $(or $(MUSL),cc)
endif
# One segment for code and constants, none for RELRO, which musl applies to no static
# program: each is a page fault more. README.md has what the flags cost.
ifeq ($(notdir $(CC)),musl-gcc)
LINK     = -static -no-pie -Wl,--gc-sections,-z,noseparate-code,-z,norelro
PIE      = -fno-pie
endif

CFLAGS  ?= -Os
LDFLAGS ?= -s
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
PROTECT  = -fstack-protector-strong
LEAN     = -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables
# On 32 bits: fstat(2) of a log over 2 GiB, or written to after 2038.
WIDE     = -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64
COMPILE  = $(CC) -std=c11 -D_GNU_SOURCE $(WIDE) $(WARNINGS) $(PROTECT) $(LEAN) $(PIE) -pthread $(CPPFLAGS) $(CFLAGS)

all: relay

# Written anew when the compiler or a flag is another one: then all is built anew.
FLAGS    = $(COMPILE) $(LINK) $(LDFLAGS)
ifneq ($(filter all relay,$(or $(MAKECMDGOALS),all)),)
IGNORED != echo '$(FLAGS)' | cmp -s - tests/build/flags || rm -f tests/build/flags
endif
tests/build/flags:
	@mkdir -p $(@D) && echo '$(FLAGS)' >$@

relay: relay.o proxyhdr.o
	$(CC) $(LINK) -pthread $(LDFLAGS) -o $@ relay.o proxyhdr.o
	@echo "relay: built with $(CC), $(if $(LINK),static,the system's C library)"

relay.o: relay.c proxyhdr.h Makefile tests/build/flags
	$(COMPILE) -c -o $@ relay.c

proxyhdr.o: proxyhdr.c proxyhdr.h Makefile tests/build/flags
	$(COMPILE) -c -o $@ proxyhdr.c

# Built otherwise, as VARIANT says. For suites that are links, as promises-piped.bats is:
# every byte through a pipe; POSIX alone; the system's C library; what AddressSanitizer,
# UBSan and gcov add. For tests/sandbox.bats: one that makes the system calls that its
# client asks for, and the same without a sandbox. For tests/elsewhere.bats: without what
# macOS lacks, and some that write their filter down. And for tests/memcheck.bats.
tests/build/piped/relay:    VARIANT = -DBULK=0
tests/build/portable/relay: VARIANT = -DPORTABLE
tests/build/asan/relay:     VARIANT = -O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
	-static-libasan -static-libubsan --coverage -fprofile-update=atomic \
	-DREPORTS='"$(CURDIR)/tests/build/asan/report"' -include tests/watched.h
tests/build/hostile/relay:  VARIANT = -include tests/forbidden.h
tests/build/freed/relay:    VARIANT = -include tests/forbidden.h -DNO_SANDBOX
tests/build/memcheck/relay: VARIANT = -O1 -fno-inline -g -DNO_SANDBOX
tests/build/macos/relay:    VARIANT = -include tests/elsewhere.h
FILTERS  = $(patsubst %,tests/build/filter-%/relay,x86_64 arm64 riscv64)
$(FILTERS):                 VARIANT = -include tests/filter.h
tests/build/asan/relay: tests/watched.h
tests/build/macos/relay: tests/elsewhere.h
$(FILTERS): tests/filter.h
tests/build/hostile/relay tests/build/freed/relay: tests/forbidden.h
GLIBC    = $(patsubst %,tests/build/%/relay,glibc asan memcheck)
$(GLIBC): override CC = gcc
$(GLIBC): override LINK =
$(GLIBC): override PIE =
$(GLIBC): override LDFLAGS =
tests/build/%/relay: relay.c proxyhdr.c proxyhdr.h Makefile
	mkdir -p $(@D)
	rm -f $(@D)/*.gcda $(@D)/report.*
	$(COMPILE) $(VARIANT) $(LINK) $(LDFLAGS) -o $@ relay.c proxyhdr.c

# Targets of libFuzzer's. Address sanitizer's end needs calls that the sandbox forbids.
tests/build/fuzz/%: tests/fuzz/%.c $(wildcard tests/fuzz/*.h) relay.c proxyhdr.c proxyhdr.h Makefile
	mkdir -p $(@D)
	clang -std=c11 -D_GNU_SOURCE $(WARNINGS) -pthread -g -O1 -DNO_SANDBOX \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $< proxyhdr.c

SECS = 60
fuzz:
	sh tests/fuzz/run.sh $(SECS)

check: all
	sh tests/run.sh

lint:
	sh tests/lint.sh

BASE = HEAD
format:
	git clang-format --force --extensions c,h $(BASE)

# The suites for AddressSanitizer, whose build counts lines too; make check has the same
# at its end. With tests/coverage.txt, which has the lines that no test reaches, and why.
coverage: all
	COVERAGE=yes sh tests/run.sh tests/*-asan.bats tests/proxyhdr.bats

bench: all
	sh tests/bench/run.sh

bench-quick: all
	sh tests/bench/run.sh --quick

bench-plot:
	sh tests/bench/plot.sh

load: all
	LOAD_FULL=yes BATS_TEST_TIMEOUT=900 sh tests/run.sh --no-parallelize-across-files tests/load.bats

clean:
	rm -f relay relay.o proxyhdr.o
	rm -rf tests/build build

.PHONY: all check lint format fuzz coverage load bench bench-quick bench-plot clean

# ---- packages ----

DOCDIR   = $(PREFIX)/share/doc/relay
UNITDIR  = $(PREFIX)/lib/systemd/system
VERSION  = $(shell sed -n 's/^.define VERSION "\(.*\)"/\1/p' relay.c)

# The texts that are installed: FILE=PLACE. What they say of /usr/local/bin/relay they
# say of $(BINDIR)/relay then. demo.sh is for those who have the tests.
TEXTS = relay.1=$(MANDIR)/man1/relay.1 README.md=$(DOCDIR)/README.md \
	examples/systemd/relay.socket=$(UNITDIR)/relay.socket \
	examples/systemd/relay@.service=$(UNITDIR)/relay@.service \
	proxyhdr.c=$(DOCDIR)/examples/proxyhdr.c proxyhdr.h=$(DOCDIR)/examples/proxyhdr.h \
	$(foreach file,$(shell find examples ! -type d ! -name demo.sh),$(file)=$(DOCDIR)/$(file))

install: all
	mkdir -p $(DESTDIR)$(BINDIR)
	install -m 755 relay $(DESTDIR)$(BINDIR)/relay
	@echo 'manual page, units, README and examples, below $(DESTDIR)$(PREFIX)'
	@set -e; for text in $(TEXTS); do \
	    from=$${text%%=*} to=$(DESTDIR)$${text#*=} mode=644; \
	    if [ -x "$$from" ]; then mode=755; fi; \
	    mkdir -p "$${to%/*}"; \
	    rm -f "$$to"; \
	    sed 's|/usr/local/bin/relay|$(BINDIR)/relay|g' "$$from" >"$$to"; \
	    chmod "$$mode" "$$to"; \
	done

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/relay
	@echo 'manual page, units, README and examples, below $(DESTDIR)$(PREFIX)'
	@rm -f $(foreach text,$(TEXTS),$(DESTDIR)$(lastword $(subst =, ,$(text))))
	@[ ! -d $(DESTDIR)$(DOCDIR) ] || find $(DESTDIR)$(DOCDIR) -depth -type d -empty -delete

# All that git knows, as it is here, with the date of the last commit. In an unpacked
# tarball its MANIFEST has both, and so that makes the same tarball again.
dist:
	@set -e; rm -rf build; mkdir -p build/dist; \
	if [ -e MANIFEST ]; then cp -p MANIFEST build/dist; date=$$(stat -c %Y MANIFEST); \
	else LC_ALL=C git ls-files >build/dist/MANIFEST; date=$$(git log -1 --format=%ct); fi; \
	tar --format=ustar --mtime="@$${SOURCE_DATE_EPOCH:-$$date}" --mode=u=rwX,go=rX \
	    --owner=root:0 --group=root:0 --transform='flags=r;s|^|relay-$(VERSION)/|' \
	    -I 'gzip -9n' -cf build/relay-$(VERSION).tar.gz \
	    -T build/dist/MANIFEST -C build/dist MANIFEST; \
	rm -r build/dist
	@echo build/relay-$(VERSION).tar.gz

# Of the tarball, with debian/, by the tools of Debian's developers, which take no orders
# from this make.
deb: dist
	umask 022 && tar -C build -xf build/relay-$(VERSION).tar.gz
	cd build/relay-$(VERSION) && \
	    env -u MAKEFLAGS -u MAKEOVERRIDES -u MFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc
	rm -r build/relay-$(VERSION)
	@echo build/relay_$(VERSION)_*.deb

.PHONY: install uninstall dist deb
