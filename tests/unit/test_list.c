// SPDX-License-Identifier: Apache-2.0
// Tests of core/list.h.
#include "tests/unit/unit.h"

#include "core/list.h"

static struct list head, other, nodes[3];

static int setup(void **state)
{
	(void)state;
	list_init(&head);
	list_init(&other);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		list_init(&nodes[i]);
	return 0;
}

static void append_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		list_append(&head, &nodes[i]);
}

TEST(new_list_is_empty)
{
	assert_true(list_empty(&head));
}

TEST(nodes_stand_in_the_order_of_appending_in_both_directions)
{
	append_all();
	assert_false(list_empty(&head));
	assert_ptr_equal(head.next, &nodes[0]);
	assert_ptr_equal(nodes[0].next, &nodes[1]);
	assert_ptr_equal(nodes[2].next, &head);
	assert_ptr_equal(head.previous, &nodes[2]);
	assert_ptr_equal(nodes[1].previous, &nodes[0]);
}

TEST(removed_node_is_in_no_list_and_its_neighbours_meet)
{
	append_all();
	list_remove(&nodes[1]);
	assert_true(list_empty(&nodes[1]));
	assert_ptr_equal(nodes[0].next, &nodes[2]);
	assert_ptr_equal(nodes[2].previous, &nodes[0]);
}

TEST(removing_a_node_of_no_list_changes_nothing)
{
	append_all();
	list_remove(&nodes[0]);
	list_remove(&nodes[0]);
	assert_ptr_equal(head.next, &nodes[1]);
	assert_true(list_empty(&nodes[0]));
}

TEST(moving_takes_all_nodes_in_order)
{
	append_all();
	list_move(&head, &other);
	assert_true(list_empty(&head));
	assert_ptr_equal(other.next, &nodes[0]);
	assert_ptr_equal(other.previous, &nodes[2]);
	assert_ptr_equal(nodes[2].next, &other);
}

TEST(moving_an_empty_list_leaves_both_empty)
{
	list_move(&head, &other);
	assert_true(list_empty(&head));
	assert_true(list_empty(&other));
}

#define LIST_TEST(name) RUN_WITH(setup, name, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIST_TEST(new_list_is_empty),
		LIST_TEST(nodes_stand_in_the_order_of_appending_in_both_directions),
		LIST_TEST(removed_node_is_in_no_list_and_its_neighbours_meet),
		LIST_TEST(removing_a_node_of_no_list_changes_nothing),
		LIST_TEST(moving_takes_all_nodes_in_order),
		LIST_TEST(moving_an_empty_list_leaves_both_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
