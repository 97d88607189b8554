// SPDX-License-Identifier: Apache-2.0
// What each request carries, as tables. The front-end is an adversary: a payload is copied to
// where all reading of it stays inside, and is only taken for what its request demands if it is long enough for that.
#include "core/trace.h"

#include <string.h>

#include "core/log.h"
#include "core/trace_text.h"

// A number in a payload.
struct field {
	char name[14];
	u8 offset, size;
};

#define FIELD(type, member, spelt) \
	{ \
		.name = " " spelt, .offset = offsetof(struct vhost_user_##type, member), \
		.size = sizeof(((struct vhost_user_##type *)0)->member) \
	}

static u64 load(const void *at, size_t size)
{
	if (size == sizeof(u16))
		return *(const u16 *)at;
	return size == sizeof(u32) ? *(const u32 *)at : *(const u64 *)at;
}

static void add_fields(struct trace *trace, const struct field *fields, const void *of)
{
	for (const struct field *field = fields; field->size; field++) {
		trace_add(trace, "%s%s", field == fields ? "" : ",", field->name);
		trace_add_number(trace, load((const u8 *)of + field->offset, field->size));
	}
}

static void print_bytes(struct trace *trace)
{
	trace_add_bytes(trace, (const u8 *)&trace->payload, trace->size);
}

static void print_ack(struct trace *trace)
{
	trace_add(trace, trace->payload.u64 ? " (failure)" : " (success)");
}

// clang-format off
static const struct field region_fields[] = {
	FIELD(region, guest_addr, "guest"), FIELD(region, size, "size"),
	FIELD(region, frontend_addr, "front-end"), FIELD(region, mmap_offset, "offset"), {.size = 0}};
// clang-format on

static void print_region(struct trace *trace)
{
	add_fields(trace, region_fields, &trace->payload.single_region.region);
}

// A line for each region that is there, with its fd.
static void print_memory(struct trace *trace)
{
	const struct vhost_user_memory *memory = &trace->payload.memory;
	size_t whole = (trace->size - offsetof(struct vhost_user_memory, regions)) /
		       sizeof(struct vhost_user_region);

	trace_add(trace, " %u regions", memory->count);
	for (size_t i = 0; i < memory->count && i < whole; i++) {
		trace_end_line(trace);
		trace_add(trace, ", region %zu:", i);
		add_fields(trace, region_fields, &memory->regions[i]);
		if (trace->fd_count > 0)
			trace_add_fd(trace);
	}
}

static void print_ring_fd(struct trace *trace)
{
	u64 value = trace->payload.u64;

	trace_add(trace, " ring");
	trace_add_number(trace, value & ~(u64)VHOST_USER_VRING_NO_FD);
	if (value & VHOST_USER_VRING_NO_FD)
		trace_add(trace, ", no fd");
}

static void print_config(struct trace *trace)
{
	const struct vhost_user_config *config = &trace->payload.config;
	size_t there = trace->size - offsetof(struct vhost_user_config, data);

	trace_add(trace, ":");
	trace_add_bytes(trace, config->data, min_size(there, config->size));
}

static void print_transfer(struct trace *trace)
{
	u32 direction = trace->payload.transfer.direction;

	if (direction == VHOST_USER_TRANSFER_SAVE || direction == VHOST_USER_TRANSFER_LOAD)
		trace_add(trace, direction == VHOST_USER_TRANSFER_SAVE ? " (save)" : " (load)");
}

// clang-format off
// VIRTIO 1.3, 6 "Reserved Feature Bits"; 26 and 30 are vhost's
static const char feature_names[][TRACE_NAME_LEN] = {
	[24] = "NOTIFY_ON_EMPTY", [26] = "LOG_ALL", [27] = "ANY_LAYOUT", "INDIRECT_DESC", "EVENT_IDX",
	"PROTOCOL_FEATURES", [32] = "VERSION_1", "ACCESS_PLATFORM", "RING_PACKED", "IN_ORDER", "ORDER_PLATFORM", "SR_IOV",
	"NOTIFICATION_DATA", "NOTIF_CONFIG_DATA", "RING_RESET", "ADMIN_VQ",
};

// vhost-user.rst, "Protocol features"
static const char protocol_feature_names[][TRACE_NAME_LEN] = {
	"MQ", "LOG_SHMFD", "RARP", "REPLY_ACK", "MTU", "BACKEND_REQ", "CROSS_ENDIAN", "CRYPTO_SESSION", "PAGEFAULT",
	"CONFIG", "BACKEND_SEND_FD", "HOST_NOTIFIER", "INFLIGHT_SHMFD", "RESET_DEVICE", "INBAND_NOTIFICATIONS",
	"CONFIGURE_MEM_SLOTS", "STATUS", "XEN_MMAP", "SHARED_OBJECT", "DEVICE_STATE", "GET_VRING_BASE_INFLIGHT",
};

// VIRTIO 1.3, 2.1 "Device Status Field"
static const char status_names[][TRACE_NAME_LEN] = {
	"ACKNOWLEDGE", "DRIVER", "DRIVER_OK", "FEATURES_OK", [6] = "DEVICE_NEEDS_RESET", "FAILED",
};

// vhost-user.rst, VHOST_USER_SET_DEVICE_STATE_FD: the answer; below this bit is an error, or 0
static const char transfer_answer_names[][TRACE_NAME_LEN] = {[8] = "NO_FD"};

enum payload {
	BYTES, // also for those that have none
	NUMBER, ACK, FEATURES, PROTOCOL_FEATURES, STATUS, RING_FD, STATE, ADDR, MEMORY, REGION, CONFIG_ASKED, CONFIG,
	LOG, INFLIGHT, TRANSFER, TRANSFER_ANSWER,
};

#define CONFIG_FIELDS {FIELD(config, offset, "offset"), FIELD(config, size, "size"), FIELD(config, flags, "flags")}
#define U64_FIELD {.size = sizeof(u64)}
#define BITS(table) {.size = SIZE_OF(u64), .names = (table), .name_count = ARRAY_SIZE(table)}
#define SIZE_OF(member) sizeof(((union vhost_user_payload *)0)->member)

// Bytes that a payload must have, its fields, what is printed behind them.
static const struct payload_row {
	size_t size;
	struct field fields[7];
	void (*print)(struct trace *trace);
	const char (*names)[TRACE_NAME_LEN]; // of its bits
	u8 name_count;
} payload_table[] = {
	[BYTES] = {.print = print_bytes},
	[NUMBER] = {.size = SIZE_OF(u64), {U64_FIELD}},
	[ACK] = {.size = SIZE_OF(u64), {U64_FIELD}, print_ack},
	[FEATURES] = BITS(feature_names),
	[PROTOCOL_FEATURES] = BITS(protocol_feature_names),
	[STATUS] = BITS(status_names),
	[RING_FD] = {.size = SIZE_OF(u64), .print = print_ring_fd},
	[STATE] = {.size = SIZE_OF(state), {FIELD(vring_state, index, "ring"), FIELD(vring_state, num, "num")}},
	[ADDR] = {.size = SIZE_OF(addr), {FIELD(vring_addr, index, "ring"), FIELD(vring_addr, flags, "flags"),
		FIELD(vring_addr, descriptor, "descriptors"), FIELD(vring_addr, available, "available"),
		FIELD(vring_addr, used, "used"), FIELD(vring_addr, log, "log")}},
	[MEMORY] = {.size = offsetof(struct vhost_user_memory, regions), .print = print_memory},
	[REGION] = {.size = SIZE_OF(single_region), .print = print_region},
	[CONFIG_ASKED] = {.size = offsetof(struct vhost_user_config, data), CONFIG_FIELDS},
	[CONFIG] = {.size = offsetof(struct vhost_user_config, data), CONFIG_FIELDS, print_config},
	[LOG] = {.size = SIZE_OF(log), {FIELD(log, size, "size"), FIELD(log, offset, "offset")}},
	[INFLIGHT] = {.size = offsetof(struct vhost_user_inflight, queue_size) + sizeof(u16), // not all pad it
		{FIELD(inflight, size, "size"), FIELD(inflight, offset, "offset"),
		FIELD(inflight, queue_count, "queues"), FIELD(inflight, queue_size, "of size")}},
	[TRANSFER] = {.size = SIZE_OF(transfer), {FIELD(transfer, phase, "phase"), FIELD(transfer, direction, "direction")},
		print_transfer},
	[TRANSFER_ANSWER] = BITS(transfer_answer_names),
};

struct row {
	char name[TRACE_NAME_LEN];
	u8 request, reply; // enum payload; a reply without one of its own is an ACK, or like its request
};

#define ROW(request, ...) [VHOST_USER_##request] = {.name = #request, __VA_ARGS__}

static const struct row request_table[] = {
	ROW(GET_FEATURES, .reply = FEATURES), ROW(SET_FEATURES, FEATURES), ROW(SET_OWNER), ROW(RESET_OWNER),
	ROW(SET_MEM_TABLE, MEMORY), ROW(SET_LOG_BASE, LOG), ROW(SET_LOG_FD),
	ROW(SET_VRING_NUM, STATE), ROW(SET_VRING_ADDR, ADDR), ROW(SET_VRING_BASE, STATE),
	ROW(GET_VRING_BASE, STATE, STATE), ROW(SET_VRING_KICK, RING_FD), ROW(SET_VRING_CALL, RING_FD),
	ROW(SET_VRING_ERR, RING_FD), ROW(GET_PROTOCOL_FEATURES, .reply = PROTOCOL_FEATURES),
	ROW(SET_PROTOCOL_FEATURES, PROTOCOL_FEATURES), ROW(GET_QUEUE_NUM, .reply = NUMBER),
	ROW(SET_VRING_ENABLE, STATE), ROW(SEND_RARP, NUMBER), ROW(NET_SET_MTU, NUMBER), ROW(SET_BACKEND_REQ_FD),
	ROW(IOTLB_MSG), ROW(SET_VRING_ENDIAN, STATE), ROW(GET_CONFIG, CONFIG_ASKED, CONFIG), ROW(SET_CONFIG, CONFIG),
	ROW(CREATE_CRYPTO_SESSION), ROW(CLOSE_CRYPTO_SESSION, NUMBER), ROW(POSTCOPY_ADVISE), ROW(POSTCOPY_LISTEN),
	ROW(POSTCOPY_END), ROW(GET_INFLIGHT_FD, INFLIGHT), ROW(SET_INFLIGHT_FD, INFLIGHT), ROW(GPU_SET_SOCKET),
	ROW(RESET_DEVICE), ROW(VRING_KICK, STATE), ROW(GET_MAX_MEM_SLOTS, .reply = NUMBER), ROW(ADD_MEM_REG, REGION),
	ROW(REM_MEM_REG, REGION), ROW(SET_STATUS, STATUS), ROW(GET_STATUS, .reply = STATUS), ROW(GET_SHARED_OBJECT),
	ROW(SET_DEVICE_STATE_FD, TRANSFER, TRANSFER_ANSWER), ROW(CHECK_DEVICE_STATE), ROW(GET_SHMEM_CONFIG),
};

static const struct row own_request_table[] = {
	[VHOST_USER_BACKEND_CONFIG_CHANGE_MSG] = {.name = "BACKEND_CONFIG_CHANGE"},
};
// clang-format on

static const struct row *find_row(enum trace_kind kind, u32 request)
{
	static const struct row unknown = {.name = "unknown request"};
	const struct row *table = kind == TRACE_OWN_REQUEST ? own_request_table : request_table;
	size_t count = kind == TRACE_OWN_REQUEST ? ARRAY_SIZE(own_request_table)
						 : ARRAY_SIZE(request_table);

	return request < count && table[request].name[0] ? &table[request] : &unknown;
}

static void print_payload(struct trace *trace, const struct row *row, bool is_reply)
{
	enum payload payload = row->request;
	const struct payload_row *shown;

	if (is_reply && row->reply)
		payload = row->reply;
	else if (is_reply && trace->size == sizeof(u64))
		payload = ACK;
	if (trace->size < payload_table[payload].size)
		payload = BYTES;
	shown = &payload_table[payload];
	trace_add(trace, ", %u bytes:", trace->size);
	add_fields(trace, shown->fields, &trace->payload);
	if (shown->names)
		trace_add_bits(trace, trace->payload.u64, shown->names, shown->name_count);
	if (shown->print)
		shown->print(trace);
}

static void print_message(struct trace *trace, enum trace_kind kind,
			  const struct vhost_user_header *header)
{
	const struct row *row = find_row(kind, header->request);

	trace_add(trace, "%s %s #%u%s", kind == TRACE_REQUEST ? "<-" : "->", row->name,
		  header->request, kind == TRACE_REPLY ? " reply" : "");
	trace->head_len = trace->len;
	if (header->flags & VHOST_USER_NEED_REPLY)
		trace_add(trace, ", need_reply");
	if (trace->size > 0)
		print_payload(trace, row, kind == TRACE_REPLY);
	while (trace->fd_count > 0) {
		if (trace->len + TRACE_FD_LEN > sizeof(trace->text))
			trace_end_line(trace);
		trace_add_fd(trace);
	}
	trace_end_line(trace);
}

void trace_message(enum trace_kind kind, const struct vhost_user_header *header,
		   const void *payload, const int *fds, unsigned fd_count)
{
	struct trace trace;

	if (!log_shows(LOG_LEVEL_TRACE))
		return;
	trace = (struct trace){.fds = fds, .fd_count = fd_count};
	trace.size = (u32)min_size(header->size, sizeof(trace.payload));
	if (trace.size > 0)
		memcpy(&trace.payload, payload, trace.size);
	print_message(&trace, kind, header);
}
