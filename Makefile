# SPDX-License-Identifier: Apache-2.0
# Builds vhost-multi. `make help` lists the targets; everything derived goes to build/.

V ?= 0
B ?= build
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
KCONFIG_CONFIG ?= .config
ifeq ($(origin CC),default)
CC := gcc
endif
# Only check, demo and bench install packages by themselves; the other targets name what is missing.
NO_DEPS ?= $(if $(filter check demo bench bench-rng packages,$(MAKECMDGOALS)),0,1)
export B CC KCONFIG_CONFIG NO_DEPS PYTHON

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc) --no-print-directory --no-builtin-rules
endif
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SECONDARY:
Q := $(if $(filter 1,$V),,@)
say = $(if $Q,@printf '  %-7s %s\n' '$(1)' '$(2)',@:)
# $(call once,NAME,TEXT): TEXT is expanded at the first use, when the packages that it asks are there, and then kept.
once = $(eval $(1) := $(2))$($(1))
# $(call keep,TEXT): the target holds TEXT; it is only touched if it did not.
keep = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@
cc_option = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>/dev/null && echo '$(1)')

all: $B/vhost-multi ## build/vhost-multi, the static binary (the default)

# ---- Kconfig: .config gives autoconf.h to the sources, applet_list.h to main.c and the list of applets to this Makefile

ifneq ($(filter-out help clean packages,$(or $(MAKECMDGOALS),all)),)
include $B/config.mk
endif

$B/config.mk: $(KCONFIG_CONFIG) Kconfig $(wildcard applets/*/Kconfig) scripts/configure | packages
	$(call say,CONFIG,$<)
	$Qscripts/configure $B

$(KCONFIG_CONFIG): | packages
	$Q$(PYTHON) -m alldefconfig >/dev/null

defconfig: | packages ## .config with every applet in it
	$Q$(PYTHON) -m alldefconfig

menuconfig: | packages ## choose applets
	$Q$(PYTHON) -m menuconfig

packages: ## install the Debian packages that the other targets on the command line need
	$Qscripts/install-packages $(MAKECMDGOALS)

# ---- flavours: the same sources as the product (musl) and, with glibc, for tests (san: ASan + UBSan, tsan, tests: plain, fuzz, coverage; crash: the product with crash points)

LIBRARY := $(wildcard core/*.c seccomp/*.c jail/*.c applets/*.c) $(foreach a,$(APPLETS),$(wildcard applets/$a/*.c))
SOURCES := main.c command_line.c $(LIBRARY)
TEST_SOURCES := $(wildcard tests/unit/*.c tests/frontend/*.c tests/frontend/bin/*.c tests/bench/*.c tests/hostile/*.c tests/fuzz/*.c tests/sandbox/*.c tests/sandbox/bin/*.c)
DEPS := build/deps
# The static liburing: the shared one of Debian 12 does not have all functions of its header.
LDLIBS := -lseccomp -lcap-ng -l:liburing.a
objects = $(patsubst %.c,$B/$(1)/%.o,$(2))

MACHINE = $(call once,MACHINE,$(shell $(CC) -dumpmachine))
MUSL = $(subst -pc-,-,$(subst -gnu,-musl,$(MACHINE)))
CRT = $(foreach f,$(1),$(or $(wildcard /usr/lib/$(MUSL)/$f),$(shell $(CC) -print-file-name=$f)))
HARDEN = $(call once,HARDEN,-fstack-protector-strong -fPIE $(call cc_option,-fstack-clash-protection) $(or \
	$(call cc_option,-ftrivial-auto-var-init=zero),$(call cc_option,-ftrivial-auto-var-init=zero \
	-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)) $(or \
	$(call cc_option,-fcf-protection=full),$(call cc_option,-mbranch-protection=standard)))

FLAGS := -std=gnu17 -Wall -Wextra -Wconversion -Wshadow -Wdate-time -Werror -g -fno-common -D_GNU_SOURCE -I. -I$B/include \
	-include generated/autoconf.h -ffile-prefix-map=$(CURDIR)=. -pthread
CFLAGS_product = $(FLAGS) -O2 -flto $(HARDEN) -ffunction-sections -fdata-sections -fvisibility=hidden \
	-fno-asynchronous-unwind-tables -nostdinc -isystem /usr/include/$(MUSL) -isystem $(call CRT,include) \
	-isystem $(DEPS)/include -isystem $(DEPS)/uapi
CFLAGS_san := $(FLAGS) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# gcc warns that TSan does not see fences; the ring indices that they order are atomics as well, which it does see.
CFLAGS_tsan = $(FLAGS) -O1 -fsanitize=thread $(call cc_option,-Wno-tsan)
CFLAGS_tests := $(FLAGS) -O2
# The inputs are programs for our drivers, so it is no use to libFuzzer to know what is compared, which takes half of the time.
CFLAGS_fuzz := $(FLAGS) -DCRASH_POINTS -O2 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-coverage=stack-depth,trace-cmp \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_coverage := $(FLAGS) -DCRASH_POINTS -O1 -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping
# libFuzzer is clang's.
CC_fuzz := clang
CC_coverage := clang
CFLAGS_crash = $(CFLAGS_product) -DCRASH_POINTS
LDFLAGS_product = -Wno-unused-command-line-argument -static-pie -nostdlib \
	-Wl,-z,relro,-z,now,-z,noexecstack,-z,text,--gc-sections,--build-id=sha1

define flavour
$B/$(1)/%.o: %.c $B/$(1)/flags | $B/config.mk
	$$(call say,CC,$$@)
	$$Qmkdir -p $$(@D) && $$(or $$(CC_$(1)),$$(CC)) $$(CFLAGS_$(1)) $$(EXTRA) $$(CFLAGS) -MMD -MP -c -o $$@ $$<
$B/$(1)/applets/common.o: EXTRA = -include generated/version.h
$B/$(1)/applets/common.o: | $B/include/generated/version.h
$B/$(1)/flags: FORCE
	$$(call keep,$$(or $$(CC_$(1)),$$(CC)) $$(CFLAGS_$(1)) $$(CFLAGS))
-include $$(patsubst %.c,$B/$(1)/%.d,$$(SOURCES) $$(TEST_SOURCES))
endef
$(foreach f,product san tsan tests crash fuzz coverage,$(eval $(call flavour,$f)))
$(call objects,product,$(SOURCES)) $(call objects,crash,$(SOURCES)): | $(DEPS)/done

VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),$(shell cat VERSION 2>/dev/null),unknown)
$B/include/generated/version.h: FORCE
	$(call keep,#define VHOST_MULTI_VERSION "$(VERSION)")

# ---- the product. Its crt files are spelt out since neither musl-gcc nor clang knows of musl's static-pie start file.

$(DEPS)/done: scripts/build-deps scripts/sources | packages
	+$Qscripts/build-deps $(DEPS) build/downloads && touch $@

link_product = $Q$(CC) $(CFLAGS_product) $(CFLAGS) $(LDFLAGS_product) -o $@ $(call CRT,rcrt1.o crti.o crtbeginS.o) \
	$(filter %.o,$^) -L$(DEPS)/lib $(LDLIBS) -L/usr/lib/$(MUSL) -Wl,--start-group -lc -lgcc -Wl,--end-group \
	$(call CRT,crtendS.o crtn.o)

$B/vhost-multi.debug: $(call objects,product,$(SOURCES)) $B/product/flags
	$(call say,LD,$@)
	$(link_product)

$B/vhost-multi: $B/vhost-multi.debug
	$(call say,STRIP,$@)
	$Q$(shell $(CC) -print-prog-name=strip) -o $@ $<

install: all ## the binary and its symlinks, to DESTDIR and PREFIX
	$Qinstall -D -m 755 $B/vhost-multi $(DESTDIR)$(PREFIX)/bin/vhost-multi
	$Qfor a in $(APPLETS); do ln -sf vhost-multi $(DESTDIR)$(PREFIX)/bin/vhost-$$a; done

size: all ## what each applet adds to the binary
	+$Qscripts/size $B $(APPLETS)

include tests/tests.mk

# ---- for developers

compile_commands.json: $B/config.mk $B/include/generated/version.h FORCE ## for editors and clang tools
	$Q{ sep=[; for f in $(SOURCES) $(TEST_SOURCES); do printf '%s\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' \
		"$$sep" "$(CURDIR)" $$f '$(CC) $(CFLAGS_tests) -include generated/version.h' $$f; sep=,; done; echo ']'; } >$@

format: ## lay out all C files with clang-format
	$Qfind . -path ./build -prune -o -name '*.[ch]' -exec clang-format -i {} +

help: ## this list
	@sed -nE 's/^([a-z_.-]+):.*## (.*)/  make \1\t\2/p' Makefile tests/tests.mk | expand -t 30
	@echo; echo "  V=1 shows commands, NO_DEPS=1 installs no packages, CC=clang, DEPS_DIR=FOLDER takes the libraries' tarballs from there."

clean: ## remove everything derived
	$Qrm -rf build

FORCE:
.PHONY: all defconfig menuconfig packages install size format help clean FORCE
