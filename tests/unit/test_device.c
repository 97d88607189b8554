// SPDX-License-Identifier: Apache-2.0
// Tests of core/device.c: each operation runs on the worker that it belongs to, and only if the device has it.
#include "tests/unit/echo.h"

#include <string.h>
#include <sys/eventfd.h>

#include "core/device_setup.h"

static struct echo echo;
static struct worker worker;

static int setup(void **state)
{
	(void)state;
	echo_init(&echo, 4, ECHO_AT_ONCE);
	assert_int_equal(worker_start(&worker, 0, -1), 0);
	return device_worker_start(&echo.device, &worker);
}

static int teardown(void **state)
{
	(void)state;
	device_worker_stop(&echo.device, &worker);
	worker_stop(&worker);
	return echo.wrong_thread ? -1 : 0;
}

static void forget_all_optional_operations(void)
{
	echo.ops.negotiated = NULL;
	echo.ops.config = NULL;
	echo.ops.config_write = NULL;
	echo.ops.reset = NULL;
	echo.ops.refresh = NULL;
	echo.ops.activate = NULL;
	echo.ops.deactivate = NULL;
}

TEST(workers_are_as_many_as_wanted_but_no_more_than_queues)
{
	assert_int_equal(device_worker_count(&echo.device, 1), 1);
	assert_int_equal(device_worker_count(&echo.device, 3), 3);
	assert_int_equal(device_worker_count(&echo.device, 64), 4);
	echo.ops.one_worker = true;
	assert_int_equal(device_worker_count(&echo.device, 64), 1);
}

TEST(operations_run_on_the_worker_and_have_run_when_the_call_returns)
{
	device_negotiated(&echo.device, &worker, 42);
	assert_int_equal(echo.features, 42);
	device_reset(&echo.device, &worker);
	assert_int_equal(echo.resets, 1);
	device_refresh(&echo.device, &worker);
	assert_int_equal(echo.refreshes, 1);
	assert_int_equal(
		device_config_write(&echo.device, &worker, ECHO_WRITABLE, (const u8[]){7}, 1), 0);
	assert_int_equal(echo.config[ECHO_WRITABLE], 7);
	assert_int_equal(echo.wrong_thread, 0);
}

TEST(error_of_an_operation_is_answered)
{
	assert_int_equal(device_config_write(&echo.device, &worker, 0, (const u8[]){7}, 1),
			 -EINVAL);
	echo.busy = -EAGAIN;
	assert_int_equal(device_activate(&echo.device), -EAGAIN);
}

TEST(configuration_is_zero_behind_its_end)
{
	u8 config[DEVICE_MAX_CONFIG];

	for (unsigned i = 0; i < 2; i++) { // on the control thread, and on the worker
		echo.ops.one_worker = i;
		memset(config, 0xff, sizeof(config));
		assert_int_equal(device_config(&echo.device, &worker, config), ECHO_CONFIG_LEN);
		assert_int_equal(config[ECHO_CONFIG_LEN - 1], ECHO_CONFIG_LEN);
		for (size_t j = ECHO_CONFIG_LEN; j < sizeof(config); j++)
			assert_int_equal(config[j], 0);
	}
}

static pthread_t asked;

static size_t note_thread(const struct device *device, u8 *config)
{
	(void)device;
	(void)config;
	asked = pthread_self();
	return 0;
}

// A device with one worker may change it at any time there, the others only while no ring runs.
TEST(configuration_is_read_on_the_worker_only_if_there_is_one)
{
	u8 config[DEVICE_MAX_CONFIG];

	echo.ops.config = note_thread;
	device_config(&echo.device, &worker, config);
	assert_true(pthread_equal(asked, pthread_self()));
	echo.ops.one_worker = true;
	device_config(&echo.device, &worker, config);
	assert_true(pthread_equal(asked, worker.thread));
	echo.ops.config = NULL;
	assert_int_equal(device_config(&echo.device, &worker, config), 0);
}

TEST(operations_that_a_device_lacks_do_nothing)
{
	u8 config[DEVICE_MAX_CONFIG];

	forget_all_optional_operations();
	device_negotiated(&echo.device, &worker, 42);
	device_reset(&echo.device, &worker);
	device_refresh(&echo.device, &worker);
	assert_int_equal(device_activate(&echo.device), 0);
	device_deactivate(&echo.device);
	assert_int_equal(device_config(&echo.device, &worker, config), 0);
	assert_int_equal(config[0], 0);
	assert_int_equal(
		device_config_write(&echo.device, &worker, ECHO_WRITABLE, (const u8[]){7}, 1),
		-EINVAL);
	assert_int_equal(echo.negotiations + echo.resets + echo.config_writes + echo.refreshes +
				 echo.activations + echo.deactivations,
			 0);
}

TEST(change_of_the_configuration_is_signalled_to_whoever_listens)
{
	echo.device.config_event_fd = -1;
	device_config_changed(&echo.device); // nobody does
	echo.device.config_event_fd = eventfd(0, EFD_CLOEXEC);
	device_config_changed(&echo.device);
	assert_true(unit_is_readable(echo.device.config_event_fd));
	close_fd(&echo.device.config_event_fd);
}

#define DEVICE_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEVICE_TEST(workers_are_as_many_as_wanted_but_no_more_than_queues),
		DEVICE_TEST(operations_run_on_the_worker_and_have_run_when_the_call_returns),
		DEVICE_TEST(error_of_an_operation_is_answered),
		DEVICE_TEST(configuration_is_zero_behind_its_end),
		DEVICE_TEST(configuration_is_read_on_the_worker_only_if_there_is_one),
		DEVICE_TEST(operations_that_a_device_lacks_do_nothing),
		DEVICE_TEST(change_of_the_configuration_is_signalled_to_whoever_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
