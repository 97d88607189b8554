#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The catalogue of malformed, hostile and merely unusual inputs (docs/conformance.md): each is given to the running
# back-end, which must do what the catalogue says, live, leak nothing and serve the next front-end well.
#
# To look into one: build/tests/hostile --engine sync ID

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	mkdir -p "$disks"
}

# Gives the back-end the input that the test is named after, with each of these engines.
input() { # ENGINE...
	for engine in "$@"; do
		! left_out "${engine/direct/uring --direct}" || continue
		"$root/build/tests/hostile" --engine "$engine" --program "$bin" --folder "$disks" "${BATS_TEST_DESCRIPTION%%:*}"
	done
}

needs_userfaultfd() {
	local capabilities
	capabilities=0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
	((capabilities >> 19 & 1)) || [ -w /dev/userfaultfd ] || [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 1 ] ||
		skip "no userfaultfd for this user: neither CAP_SYS_PTRACE nor the device nor the sysctl"
}

@test "every input of the program has a test" {
	diff <("$root/build/tests/hostile" --list | sort) \
		<(sed -n 's/^@test "\([A-Z][0-9]*: .*\)" {$/\1/p' "$BATS_TEST_FILENAME" | sort)
}

@test "every input of the program is in docs/conformance.md" {
	diff <("$root/build/tests/hostile" --list | sort) \
		<(sed -nE '/^### Where/q; /^\| S22 /d; s/^\| ([A-Z][0-9]+) \| ([^|]*) \| [^|]* \|$/\1: \2/p' "$root/docs/conformance.md" | sort)
}

@test "S1: a header in single bytes, or cut off by the end" {
	input sync
}

@test "S2: a payload in single bytes, with disk requests between them" {
	input sync
}

@test "S3: a payload size that no message has" {
	input sync
}

@test "S4: a payload smaller than the request needs" {
	input sync
}

@test "S5: a payload larger than the request needs; legal padding" {
	input sync
}

@test "S6: a payload left out, after a message that had one" {
	input sync
}

@test "S7: a protocol version other than 1" {
	input sync
}

@test "S8: the reply flag in a request" {
	input sync
}

@test "S9: reserved header flags" {
	input sync
}

@test "S10: unknown request numbers, 0 and negative ones" {
	input sync
}

@test "S11: a request whose protocol feature was not negotiated" {
	input sync
}

@test "S12: need_reply without REPLY_ACK" {
	input sync
}

@test "S13: fds with a message that takes none" {
	input sync
}

@test "S14: more fds than the message takes, up to 253" {
	input sync
}

@test "S15: fewer fds than the message needs" {
	input sync
}

@test "S16: fds in the middle of a message; several control messages" {
	input sync
}

@test "S17: fds beyond the limit of open files" {
	input sync
}

@test "S18: an out-of-band byte; a send of no bytes" {
	input sync
}

@test "S19: a million cheap messages while a ring works" {
	input sync
}

@test "S20: a peer that never reads replies" {
	input sync
}

@test "S21: a silent peer, and a second one behind it" {
	input sync
}

@test "S23: the end in the middle of a message, with requests in flight" {
	input sync direct
}

@test "S24: no address space and no fds left" {
	input sync
}

@test "O1: feature bits that were not offered" {
	input sync
}

@test "O2: other features while rings run" {
	input sync
}

@test "O3: features of a legacy driver, and with RING_PACKED among them" {
	input sync
}

@test "O4: protocol features that were not offered, then what they gate" {
	input sync
}

@test "O5: ring setup in every order of messages" {
	input sync
}

@test "O6: size, base and addresses of a ring that is started" {
	input sync direct
}

@test "O7: a new memory table with requests in flight" {
	input sync direct
}

@test "O8: a memory region removed under a ring with requests in flight" {
	input sync direct
}

@test "O9: RESET_OWNER and RESET_DEVICE with requests in flight" {
	input sync direct
}

@test "O10: GET_VRING_BASE twice, and of a ring never started" {
	input sync
}

@test "O11: a ring index beyond the queues in every message that has one" {
	input sync
}

@test "O12: a u64 with a good ring index and bits above it" {
	input sync
}

@test "O13: an fd with the no-fd bit, and neither" {
	input sync
}

@test "O14: an fd that is no eventfd; one eventfd for two rings" {
	input sync
}

@test "O15: a call fd that is full" {
	input sync
}

@test "O16: the call fd replaced during completions" {
	input sync direct
}

@test "O17: a status of more than a byte, or FEATURES_OK without accepted features" {
	input sync
}

@test "O18: configuration space out of range, read-only, overflowing" {
	input sync
}

@test "O19: a channel for the back-end's requests set again; one that is no socket" {
	input sync
}

@test "O20: queues and memory slots beyond the numbers told" {
	input sync
}

@test "O21: logs that are empty, wrap or end behind their file; no eventfd" {
	input sync
}

@test "O22: memory beyond the log" {
	input sync
}

@test "O23: a transfer of the state with an odd fd, direction or phase, or while a ring runs" {
	input sync
}

@test "O24: a state that is forged, cut off, too long, or never comes to its end" {
	input sync
}

@test "O25: postcopy, IOTLB, RARP and other requests that are not supported" {
	input sync
}

@test "M1: tables of 0, of up to 32, of 33 and of 2^32 - 1 regions" {
	input sync
}

@test "M2: an empty region" {
	input sync
}

@test "M3: regions whose end wraps" {
	input sync
}

@test "M4: regions that overlap in the guest" {
	input sync
}

@test "M5: regions that overlap in the front-end alone" {
	input sync
}

@test "M6: regions beyond the end of their file" {
	input sync
}

@test "M7: memory whose file is truncated while it is used" {
	input sync uring direct
}

@test "M8: memory that the host has no pages for" {
	input sync uring direct
}

@test "M9: regions that begin and end within a page, or a huge page" {
	input sync
}

@test "M10: fds that are no file to be read and written" {
	input sync
}

@test "M11: files sealed against writing" {
	input sync
}

@test "M12: a region of 8 EiB; a thousand regions" {
	input sync
}

@test "M13: a region twice; removal of one that is not there" {
	input sync
}

@test "M14: a table without the memory of running rings" {
	input sync
}

@test "M15: a table with less memory at the same address" {
	input sync
}

@test "M16: the same file in two regions" {
	input sync
}

@test "M17: memory that comes after the guest, with requests in it" {
	needs_userfaultfd
	input sync uring direct
}

@test "M18: a front-end that goes while a page is waited for" {
	needs_userfaultfd
	input sync uring direct
}

@test "M19: a page that never comes, with GET_VRING_BASE behind it; the end then" {
	needs_userfaultfd
	input sync uring
}

@test "M20: the messages of postcopy out of their order, and twice" {
	needs_userfaultfd
	input sync
}

@test "V1: a ring of no entries; a million ring sizes" {
	input sync
}

@test "V2: ring sizes that are no power of two" {
	input sync
}

@test "V3: ring sizes beyond the device's, also after truncation to 16 bits" {
	input sync
}

@test "V4: rings that are not aligned" {
	input sync
}

@test "V5: rings that end behind their region" {
	input sync
}

@test "V6: rings across two regions" {
	input sync
}

@test "V7: rings over themselves and over other rings" {
	input sync
}

@test "V8: a log address that leads nowhere" {
	input sync
}

@test "V9: a base beyond 16 bits, and one that is not the used index" {
	input sync
}

@test "V10: an available index further ahead than the ring is long" {
	input sync
}

@test "V11: an available index that goes back" {
	input sync
}

@test "V12: an available head beyond the ring" {
	input sync
}

@test "V13: a descriptor that changes while it is read" {
	input sync direct
}

@test "V14: descriptors in a loop" {
	input sync
}

@test "V15: a next descriptor beyond its table" {
	input sync
}

@test "V16: a chain longer than its table may be" {
	input sync
}

@test "V17: the same head made available twice" {
	input sync direct
}

@test "V18: buffers that are not in memory" {
	input sync
}

@test "V19: buffers whose end wraps, or is not in memory" {
	input sync
}

@test "V20: a buffer across two regions" {
	input sync
}

@test "V21: empty descriptors, also in a loop" {
	input sync
}

@test "V22: more than 4 GiB in one chain" {
	input sync
}

@test "V23: a readable descriptor behind a writable one" {
	input sync
}

@test "V24: unknown descriptor flags" {
	input sync
}

@test "V25: an indirect descriptor without the feature" {
	input sync
}

@test "V26: an indirect descriptor with a next one" {
	input sync
}

@test "V27: an indirect table inside an indirect table" {
	input sync
}

@test "V28: indirect tables of odd, no or too much length" {
	input sync
}

@test "V29: an indirect table across regions, or not in memory" {
	input sync
}

@test "V30: an indirect table in the used ring, its own data, the ring" {
	input sync
}

@test "V31: direct descriptors, then one indirect; an indirect one to write: legal" {
	input sync
}

@test "V32: more segments than one system call takes, and too many" {
	input sync
}

@test "V33: notification indices at random" {
	input sync
}

@test "V34: the no-interrupt flag set and cleared" {
	input sync
}

@test "V35: kicks without end on an empty ring" {
	input sync
}

@test "V36: a ring that is always full" {
	input sync direct
}

@test "V37: a status byte over the ring" {
	input sync
}

@test "V38: data over the ring" {
	input sync
}

@test "P1: packed: wrap bits that contradict each other" {
	input sync
}

@test "P2: packed: a chain without end" {
	input sync
}

@test "P3: packed: a buffer id beyond the ring" {
	input sync
}

@test "P4: packed: a buffer id twice" {
	input sync uring
}

@test "P5: packed: indirect tables of odd, no or too much length, with a next, with odd flags" {
	input sync
}

@test "P6: packed: ids that count for nothing; write flags mixed" {
	input sync
}

@test "P7: packed: event suppression at random" {
	input sync
}

@test "P8: packed: a base beyond the ring in either half" {
	input sync
}

@test "P9: packed: chains exactly as long as the ring" {
	input sync
}

@test "P10: packed: ring sizes that are no power of two" {
	input sync
}

@test "P11: packed: answers in order" {
	input sync uring
}

@test "I1: regions for no, and too many or too large rings" {
	input sync
}

@test "I2: thousands of regions" {
	input sync
}

@test "I3: a region too small for its rings" {
	input sync
}

@test "I4: a region that is not aligned, wraps, ends behind its file or cannot be written" {
	input sync
}

@test "I5: a region's size that changes" {
	input sync
}

@test "I6: marks other than 0 and 1" {
	input sync
}

@test "I7: a last batch that begins beyond the ring" {
	input sync
}

@test "I8: a last batch that loops or leaves the ring" {
	input sync
}

@test "I9: counters that are equal, wrapped or random" {
	input sync
}

@test "I10: a used index further ahead than the ring is long" {
	input sync
}

@test "I11: a region of an unknown version, or with features" {
	input sync
}

@test "I12: packed: lists that loop, entries and wrap counters out of range" {
	input sync
}

@test "I13: a chain in flight that is none any more" {
	input sync
}

@test "I14: rings larger than the region was asked for" {
	input sync
}

@test "I15: a region of before, for smaller rings" {
	input sync
}

@test "B1: less than a header; nowhere to write the status" {
	input sync uring direct
}

@test "B2: headers in pieces, and together with data" {
	input sync uring direct
}

@test "B3: the status together with data, or longer than it is" {
	input sync uring direct
}

@test "B4: data that is not whole blocks" {
	input sync uring direct
}

@test "B5: sectors beyond the end, also by wrapping" {
	input sync uring direct
}

@test "B6: an image whose last block is not whole" {
	input sync uring direct
}

@test "B7: an image that shrinks and grows" {
	input sync uring direct
}

@test "B8: writes, discards and write-zeroes to a read-only disk" {
	input sync uring direct
}

@test "B9: unknown request types, barriers and SCSI commands" {
	input sync uring direct
}

@test "B10: GET_ID into buffers of any length" {
	input sync uring direct
}

@test "B11: a flush with a sector, and with data" {
	input sync uring direct
}

@test "B12: discards of no, odd and too many ranges" {
	input sync uring direct
}

@test "B18: secure erase, lifetime and zones, which are not offered" {
	input sync uring direct
}

@test "B13: ranges that overflow 32 or 64 bits" {
	input sync uring direct
}

@test "B14: ranges split over two buffers" {
	input sync uring direct
}

@test "B15: range flags that are not allowed" {
	input sync uring direct
}

@test "B16: ranges too long, odd, or of nothing" {
	input sync uring direct
}

@test "B17: ranges that change while they are looked at" {
	input sync uring direct
}

@test "B19: a thousand requests of 1 MiB in one buffer" {
	input sync uring direct
}

@test "B20: data that changes while it is written" {
	input sync uring direct
}

@test "B21: an image that looks like another format" {
	input sync uring direct
}

@test "B22: a thousand segments of one byte, many at once" {
	input sync uring direct
}

@test "B23: the write cache turned on and off with requests in flight" {
	input sync uring direct
}

@test "R1: requests of 0, 1, 0x70000000 bytes and 4 GiB" {
	input sync
}

@test "R2: requests with readable buffers" {
	input sync
}

@test "R3: requests and notifications without end" {
	input sync
}

@test "R4: a source at its end, and one with I/O errors" {
	input sync
}

@test "C1: control messages that are too short, too long, in pieces" {
	input sync
}

@test "C2: control messages of unknown ports, events and values, without end" {
	input sync
}

@test "C3: control messages without MULTIPORT" {
	input sync
}

@test "C4: output of 2 GiB in one chain; output that nobody reads" {
	input sync
}

@test "C5: buffers of 0 and 1 byte; buffers of the wrong direction" {
	input sync
}

@test "C6: terminal escape sequences" {
	input sync
}
