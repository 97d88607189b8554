// SPDX-License-Identifier: Apache-2.0
// Memory tables and memory slots (vhost-user.rst, "Memory region description", VHOST_USER_SET_MEM_TABLE,
// VHOST_USER_ADD_MEM_REG, VHOST_USER_REM_MEM_REG). All rings are paused while these run.
#include "core/requests_memory.h"

#include <string.h>

#include "core/log.h"
#include "core/requests_postcopy.h"

static struct guest_addr guest_of(const struct vhost_user_region *region)
{
	return (struct guest_addr){region->guest_addr};
}

static struct frontend_addr frontend_of(const struct vhost_user_region *region)
{
	return (struct frontend_addr){region->frontend_addr};
}

static int add_region(struct guest_memory *memory, const struct vhost_user_region *region, int fd)
{
	return guest_memory_add(memory, guest_of(region), frontend_of(region), region->size,
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

// vhost-user.rst, VHOST_USER_SET_MEM_TABLE: after POSTCOPY_LISTEN the answer is the request, with our addresses in it, and no memory
// is touched before the front-end has answered that.
static int share_later(struct session *session, const struct guest_memory *memory,
		       const struct message *message, struct reply *reply,
		       struct vhost_user_region *regions, u32 count)
{
	if (!session->postcopy.listening)
		return 0;
	memcpy(&reply->payload, &message->payload, message->header.size);
	for (u32 i = 0; i < count; i++) {
		int error = postcopy_share(session, memory, &regions[i]);

		if (error)
			return error;
	}
	reply->wanted = true;
	reply->len = message->header.size;
	session->postcopy.awaited = true;
	return 0;
}

// Some front-ends pad the table, so a payload that is longer than its regions is legal.
int request_set_mem_table(struct session *session, struct message *message, struct reply *reply)
{
	u32 count = message->payload.memory.count;
	size_t needed = offsetof(struct vhost_user_memory, regions) +
			(size_t)count * sizeof(struct vhost_user_region);
	int error;

	if (postcopy_is_word(session, message))
		return postcopy_take_word(session, message);
	if (count == 0 || count > VHOST_USER_MAX_REGIONS || count != message->fd_count ||
	    message->header.size < needed)
		return log_errno(-EINVAL,
				 "SET_MEM_TABLE: %u regions in %u bytes with %u file descriptors",
				 count, message->header.size, message->fd_count);
	error = build_table(&session->next_memory, message);
	if (!error)
		error = share_later(session, &session->next_memory, message, reply,
				    reply->payload.memory.regions, count);
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

// A request about one region carries it, whole.
static int check_region(const struct message *message, const char *name, unsigned fds_min)
{
	u32 size = message->header.size;

	if (size != sizeof(struct vhost_user_single_region) || message->fd_count < fds_min)
		return log_errno(-EINVAL, "%s: %u bytes of payload with %u file descriptors", name,
				 size, message->fd_count);
	return 0;
}

int request_add_mem_reg(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_region *region = &message->payload.single_region.region;
	struct guest_memory *memory = &session->memory;
	int error;

	if (postcopy_is_word(session, message))
		return postcopy_take_word(session, message);
	error = check_region(message, "ADD_MEM_REG", 1);
	if (!error)
		error = add_region(memory, region, message->fds[0]);
	if (error)
		return error;
	error = share_later(session, memory, message, reply, &reply->payload.single_region.region,
			    1);
	if (error) {
		int removed = guest_memory_remove(memory, guest_of(region), frontend_of(region),
						  region->size);

		assert(removed == 0);
	}
	return error;
}

// The region is named by its addresses and size alone; an fd may come along and is closed. QEMU gives its word by the last request
// that it has sent, which may be this.
int request_rem_mem_reg(struct session *session, struct message *message, struct reply *reply)
{
	const struct vhost_user_region *region = &message->payload.single_region.region;
	int error;

	(void)reply;
	if (postcopy_is_word(session, message))
		return postcopy_take_word(session, message);
	error = check_region(message, "REM_MEM_REG", 0);
	return error ? error
		     : guest_memory_remove(&session->memory, guest_of(region), frontend_of(region),
					   region->size);
}
