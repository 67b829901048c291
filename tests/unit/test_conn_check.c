// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/unit.h"

#include "lib/image.h"

/* What the reader cannot hand to the check, since it is refused before, but the dump can. */
static void test_conn_check(void **state)
{
	struct hf_error err = HF_ERROR_INIT;
	struct hf_holder *holders = calloc(HF_MAX_HOLDERS + 1, sizeof(*holders));
	struct hf_holder holder;
	struct hf_conn conn = unit_conn(&holder);

	(void)state;
	assert_non_null(holders);
	assert_int_equal(hf_conn_check(&conn, &err), 0);
	assert_int_equal(err.code, 0);

	conn.local.ip[15] = 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "local: the address is longer than an IPv4 address");

	conn = unit_conn(&holder);
	conn.family = (enum hf_family)10; /* AF_INET6, not ours */
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "family: neither 4 nor 6");

	conn = unit_conn(&holder);
	holder.levels = HF_MAX_PID_LEVELS + 1;
	for (uint32_t i = 0; i < HF_MAX_PID_LEVELS; i++)
		holder.pid[i] = 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "holders: a pid with no level or too many");

	conn = unit_conn(&holder);
	for (uint32_t i = 0; i <= HF_MAX_HOLDERS; i++)
		holders[i] = (struct hf_holder){.levels = 1, .pid = {1}, .fd = i};
	conn.holders = holders;
	conn.n_holders = HF_MAX_HOLDERS;
	assert_int_equal(hf_conn_check(&conn, &err), 0);
	conn.n_holders = HF_MAX_HOLDERS + 1;
	assert_int_equal(hf_conn_check(&conn, &err), -EBADMSG);
	assert_string_equal(err.text, "holders: none or too many");
	free(holders);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conn_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
