// SPDX-License-Identifier: Apache-2.0
// A circular doubly linked list threaded through its members; a member outside any list points to itself.
#pragma once

#include "core/base.h"

struct list {
	struct list *next;
	struct list *previous;
};

static inline void list_init(struct list *node)
{
	node->next = node;
	node->previous = node;
}

static inline bool list_empty(const struct list *node)
{
	return node->next == node;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->next = head;
	node->previous = head->previous;
	head->previous->next = node;
	head->previous = node;
}

// Takes a node out of the list it is in; harmless if it is in none.
static inline void list_remove(struct list *node)
{
	node->previous->next = node->next;
	node->next->previous = node->previous;
	list_init(node);
}

// Moves all nodes of `from` to the empty list `to`.
static inline void list_move(struct list *from, struct list *to)
{
	list_append(from, to);
	list_remove(from);
}
