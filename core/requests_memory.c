// SPDX-License-Identifier: Apache-2.0
// Memory tables and memory slots (vhost-user.rst, "Memory region description", VHOST_USER_SET_MEM_TABLE,
// VHOST_USER_ADD_MEM_REG, VHOST_USER_REM_MEM_REG). All rings are paused while these run.
#include "core/requests_memory.h"

#include "core/log.h"

static int add_region(struct guest_memory *memory, const struct vhost_user_region *region, int fd)
{
	return guest_memory_add(memory, (struct guest_addr){region->guest_addr},
				(struct frontend_addr){region->frontend_addr}, region->size,
				region->mmap_offset, fd);
}

static int build_table(struct guest_memory *memory, const struct message *message)
{
	const struct vhost_user_memory *table = &message->payload.memory;

	memory->count = 0;
	for (u32 i = 0; i < table->count; i++) {
		int error = add_region(memory, &table->regions[i], message->fds[i]);

		if (error)
			return error;
	}
	return 0;
}

// Some front-ends pad the table, so a payload that is longer than its regions is legal.
int request_set_mem_table(struct session *session, struct message *message, struct reply *reply)
{
	u32 count = message->payload.memory.count;
	size_t needed = offsetof(struct vhost_user_memory, regions) +
			(size_t)count * sizeof(struct vhost_user_region);
	int error;

	(void)reply;
	if (count == 0 || count > VHOST_USER_MAX_REGIONS || count != message->fd_count ||
	    message->header.size < needed)
		return log_errno(-EINVAL,
				 "SET_MEM_TABLE: %u regions in %u bytes with %u file descriptors",
				 count, message->header.size, message->fd_count);
	error = build_table(&session->next_memory, message);
	if (error) {
		guest_memory_clear(&session->next_memory);
		return error;
	}
	guest_memory_clear(&session->memory);
	session->memory = session->next_memory;
	return 0;
}

int request_get_max_mem_slots(struct session *session, struct message *message, struct reply *reply)
{
	(void)session;
	(void)message;
	return reply_u64(reply, GUEST_MEMORY_SLOTS);
}

int request_add_mem_reg(struct session *session, struct message *message, struct reply *reply)
{
	(void)reply;
	return add_region(&session->memory, &message->payload.single_region.region,
			  message->fds[0]);
}

// The region is named by its addresses and size alone; an fd may come along and is closed.
int request_rem_mem_reg(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_region *region = &message->payload.single_region.region;

	(void)reply;
	return guest_memory_remove(&session->memory, (struct guest_addr){region->guest_addr},
				   (struct frontend_addr){region->frontend_addr}, region->size);
}
