# SPDX-License-Identifier: Apache-2.0
# The tests' part of the Makefile. Each step leaves its results as TAP in build/check/STEP.tap.

FRONTEND := $(wildcard tests/frontend/*.c)
UNIT := $(basename $(wildcard tests/unit/test_*.c))
UNIT_SUPPORT := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
# What runs on more than one thread is built and run again under ThreadSanitizer.
TSAN_TESTS := $(filter $(addprefix tests/unit/,test_worker test_queue test_session test_requests_ring test_requests_state test_device_state test_dirty_log test_vring_race test_server test_server_client test_blk_transfer),$(UNIT))
PROGRAM_SOURCES := $(wildcard tests/frontend/bin/*.c tests/bench/*.c tests/sandbox/bin/*.c)
PROGRAMS := $(addprefix $B/tests/,$(basename $(notdir $(PROGRAM_SOURCES)))) $B/tests/hostile $B/tests/sandbox-probe

check: ## everything: build, lint, unit tests, bats, guests
	+$Qscripts/run-checks $B/check all lint unit fuzz-short bats guest

unit: $(UNIT:%=$B/san/%) $(TSAN_TESTS:%=$B/tsan/%) ## unit tests under ASan + UBSan, those with threads also under TSan
	$Qscripts/run-unit $B/check/unit.tap $^

bats: all $(PROGRAMS) $B/crash/vhost-multi ## tests of build/vhost-multi from outside
	$Qscripts/run-bats $B/check/bats.tap $(wildcard tests/*.bats)

guest: all $(PROGRAMS) ## tests with real guests: QEMU, User Mode Linux; and with libblkio
	$Qscripts/run-bats $B/check/guest.tap $(wildcard tests/guest/*.bats)

programs: $(PROGRAMS) ## what the tests of the binary are driven with

# One-line faults are put into MUTATE's files, and the tests have to notice them; MUTATE_FLAGS as tests/mutate/mutate --help has them.
MUTATE ?= $(wildcard core/*.c applets/blk/*.c)
MUTATE_FLAGS ?= --count 200
mutate: $(DEPS)/done ## do the tests notice single-line faults? MUTATE=FILES, MUTATE_FLAGS='--count 200 --seed 1'
	$Qtests/mutate/mutate $(MUTATE_FLAGS) $(MUTATE)

# All that is done with a QEMU, with each QEMU there is and both kinds of rings; guest-trixie-packed is one of them.
GUEST_MATRIX := $(foreach q,host trixie unstable,guest-$q-split guest-$q-packed)

guest-matrix: ## the tests of guests in QEMU with the host's, Debian 13's and Debian unstable's, split and packed rings
	+$Qscripts/run-checks $B/check/guest-matrix $(GUEST_MATRIX)

$(GUEST_MATRIX): guest-%: all $(PROGRAMS)
	$QGUEST_QEMU=$(word 1,$(subst -, ,$*)) GUEST_RINGS=$(word 2,$(subst -, ,$*)) scripts/run-bats $B/check/guest-matrix/$@.tap \
		$(filter-out $(addprefix tests/guest/,blkio.bats qemus.bats root.bats uml.bats),$(wildcard tests/guest/*.bats))

migrate: all ## a guest that moves from QEMU to QEMU while it reads and writes; see tests/migrate/migrate.bats
	$Qscripts/run-bats $B/check/migrate.tap tests/migrate/migrate.bats

bench: all $(PROGRAMS) ## speed, side by side with qemu-storage-daemon
	$Qtests/bench/run

bench-rng: all ## speed of a guest's /dev/hwrng, side by side with QEMU's own devices
	$Qtests/bench/rng

demo: all ## a guest boots, uses a disk, and the host verifies what it wrote
	$Qscripts/demo

define unit_flavour
$B/$(1)/tests/unit/test_%: $B/$(1)/tests/unit/test_%.o $(call objects,$(1),$(LIBRARY) $(FRONTEND) $(UNIT_SUPPORT))
	$$(call say,LD,$$@)
	$$Q$$(CC) $$(CFLAGS_$(1)) $$(CFLAGS) -o $$@ $$^ $$(LDLIBS) -lcmocka
endef
$(foreach f,san tsan,$(eval $(call unit_flavour,$f)))

define program
$B/tests/$(basename $(notdir $(1))): $(call objects,tests,$(1) $(FRONTEND))
	$$(call say,LD,$$@)
	$$Q$$(CC) $$(CFLAGS_tests) $$(CFLAGS) -o $$@ $$^
endef
$(foreach p,$(PROGRAM_SOURCES),$(eval $(call program,$p)))

$B/tests/hostile: $(call objects,tests,$(wildcard tests/hostile/*.c) $(FRONTEND))
	$(call say,LD,$@)
	$Q$(CC) $(CFLAGS_tests) $(CFLAGS) -o $@ $^

# The product's own objects, with a main() that tries out the lockdown.
SANDBOX_PROBE := $(wildcard tests/sandbox/*.c)
$(call objects,product,$(SANDBOX_PROBE)): | $(DEPS)/done
$B/tests/sandbox-probe: $(call objects,product,$(SANDBOX_PROBE) command_line.c $(LIBRARY)) $B/product/flags
	$(call say,LD,$@)
	$Qmkdir -p $(@D)
	$(link_product)

# The product as it is, but for the places where it can be told to die.
$B/crash/vhost-multi: $(call objects,crash,$(SOURCES)) $B/crash/flags
	$(call say,LD,$@)
	$(link_product)

# ---- fuzz: libFuzzer on the core and the applets, on one thread (tests/fuzz/worker.c)

FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIBRARY := $(filter-out core/worker.c core/server.c core/log.c core/crash_point.c applets/common.c seccomp/% jail/%,$(LIBRARY)) \
	$(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c)) tests/unit/echo.c tests/unit/unit.c
FUZZ_WRAP := -Wl,--wrap=mmap,--wrap=munmap,--wrap=clock_gettime,--wrap=getrandom,--wrap=sys_reserve,--wrap=sys_release,--wrap=vring_pop,--wrap=vring_push
FUZZ_WRAP_inflight := -Wl,--wrap=vring_split_take,--wrap=vring_split_answer,--wrap=vring_split_show,--wrap=vring_packed_take,--wrap=vring_packed_answer,--wrap=vring_packed_show

FUZZ_SHORT_SECONDS ?= 15
FUZZ_SHORT_RUNS ?= 20000
FUZZ_COVERED := $(filter-out %.h,$(wildcard core/requests*.c core/chain.c core/vring*.c core/connection.c core/inflight*.c core/device_state.c core/dirty_log.c))

fuzz: $(FUZZ_TARGETS:%=$B/fuzz/fuzz-%) ## libFuzzer, FUZZ_SECONDS=60 or FUZZ_RUNS=N for each target; goes on where it was
	$Qtests/fuzz/run $B/check/fuzz.tap $B/fuzz $^

fuzz-short: $(FUZZ_TARGETS:%=$B/fuzz/fuzz-%) ## libFuzzer for a short while, from the corpus in the tree, always the same way
	$QKEEP=0 FUZZ_SEED=1 FUZZ_RUNS=$(FUZZ_SHORT_RUNS) FUZZ_SECONDS=$(FUZZ_SHORT_SECONDS) tests/fuzz/run $B/check/fuzz-short.tap $B/fuzz $^

fuzz-coverage: $(FUZZ_TARGETS:%=$B/coverage/fuzz-%) ## which lines of the core the corpus reaches; SHOW=1: which not
	$Qtests/fuzz/coverage $B/fuzz "$^" $(FUZZ_COVERED)

fuzz-merge: $(FUZZ_TARGETS:%=$B/fuzz/fuzz-%) ## chooses the corpus in the tree anew out of what make fuzz found
	$Qtests/fuzz/merge $B/fuzz $^

define fuzz_flavour
$B/$(1)/fuzz-%: $B/$(1)/tests/fuzz/fuzz_%.o $(call objects,$(1),$(FUZZ_LIBRARY) $(FRONTEND))
	$$(call say,LD,$$@)
	$$Q$$(CC_$(1)) $$(CFLAGS_$(1)) -fsanitize=fuzzer $$(FUZZ_WRAP) $$(FUZZ_WRAP_$$*) $$(CFLAGS) -o $$@ $$^ $$(LDLIBS) -lcmocka
endef
$(foreach f,fuzz coverage,$(eval $(call fuzz_flavour,$f)))
# What counts as news to libFuzzer is what happens in the product, not in its driver.
$B/fuzz/tests/% $B/coverage/tests/%: EXTRA = -fno-sanitize=fuzzer-no-link

# The whole program under ASan + UBSan, to run by hand.
$B/san/vhost-multi: $(call objects,san,$(SOURCES))
	$(call say,LD,$@)
	$Q$(CC) $(CFLAGS_san) $(CFLAGS) -o $@ $^ $(LDLIBS)

# ---- lint. clang-tidy is slow: it looks only at files that were compiled anew, as they or their headers changed.

lint: $B/config.mk $B/include/generated/version.h ## layers, clang-tidy, cppcheck, shellcheck, format, sizes, words
	+$Qtests/lint/run $B/check/lint.tap

tidy: $(patsubst %.c,$B/tidy/%.ok,$(SOURCES) $(TEST_SOURCES))

$B/tidy/%.ok: $B/san/%.o %.c .clang-tidy
	$(call say,TIDY,$*.c)
	$Qmkdir -p $(@D) && clang-tidy --quiet $*.c -- $(CFLAGS_tests) -include generated/version.h 2> >(grep -v 'warnings\? generated' >&2)
	$Qtouch $@

.PHONY: check unit programs mutate migrate fuzz fuzz-short fuzz-coverage fuzz-merge bats guest guest-matrix $(GUEST_MATRIX) bench bench-rng demo lint tidy
