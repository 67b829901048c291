// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source itself, not its header: which of the two ways of computing is taken depends on the
 * processor, and both must be tested on one machine.
 */
#include "lib/crc32c.c"

#include "tests/unit/unit.h"

typedef uint32_t (*crc_function)(uint32_t crc, const void *data, size_t len);

static uint32_t with_table(uint32_t crc, const void *data, size_t len)
{
	return ~by_table(~crc, data, len);
}

#if defined(__x86_64__)
static uint32_t with_instruction(uint32_t crc, const void *data, size_t len)
{
	return ~by_instruction(~crc, data, len);
}
#endif

static unsigned int functions(crc_function list[3])
{
	unsigned int n = 0;

	list[n++] = hf_crc32c;
	list[n++] = with_table;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		list[n++] = with_instruction;
#endif
	return n;
}

/* RFC 3720 appendix B.4, and the check value of the CRC catalogues. */
static void test_known_vectors(void **state)
{
	static const uint8_t read10[48] = {0x01,
		0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
	crc_function list[3];
	unsigned int n = functions(list);
	uint8_t bytes[32];

	(void)state;
	for (unsigned int f = 0; f < n; f++) {
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(list[f](0, bytes, sizeof(bytes)), 0x8a9136aa);
		memset(bytes, 0xff, sizeof(bytes));
		assert_int_equal(list[f](0, bytes, sizeof(bytes)), 0x62a8ab43);
		for (unsigned int i = 0; i < 32; i++)
			bytes[i] = (uint8_t)i;
		assert_int_equal(list[f](0, bytes, sizeof(bytes)), 0x46dd794e);
		for (unsigned int i = 0; i < 32; i++)
			bytes[i] = (uint8_t)(31 - i);
		assert_int_equal(list[f](0, bytes, sizeof(bytes)), 0x113fdb5c);
		assert_int_equal(list[f](0, read10, sizeof(read10)), 0xd9963a56);
		assert_int_equal(list[f](0, "123456789", 9), 0xe3069283);
	}
}

static void test_nothing(void **state)
{
	crc_function list[3];
	unsigned int n = functions(list);

	(void)state;
	for (unsigned int f = 0; f < n; f++) {
		assert_int_equal(list[f](0, "", 0), 0);
		assert_int_equal(list[f](0x12345678, "", 0), 0x12345678);
	}
}

/* Split in two at every place, from every alignment, it is the same. */
static void test_split(void **state)
{
	uint8_t bytes[108];
	crc_function list[3];
	unsigned int n = functions(list);

	(void)state;
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 151 + 17);
	for (unsigned int from = 0; from < 8; from++) {
		size_t len = sizeof(bytes) - 8;
		uint32_t whole = hf_crc32c(0, bytes + from, len);

		for (unsigned int f = 0; f < n; f++) {
			assert_int_equal(list[f](0, bytes + from, len), whole);
			for (size_t cut = 0; cut <= len; cut++) {
				uint32_t crc = list[f](0, bytes + from, cut);

				crc = list[f](crc, bytes + from + cut, len - cut);
				assert_int_equal(crc, whole);
			}
		}
	}
}

/* What is long goes through lanes: it is the same as by the table, up to the last byte. */
static void test_long(void **state)
{
	static uint8_t bytes[40000];
	crc_function list[3];
	unsigned int n = functions(list);

	(void)state;
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 151 + (i >> 8) * 29 + 17);
	for (size_t len = sizeof(bytes) - 3; len > 200; len -= 97)
		for (unsigned int f = 0; f < n; f++)
			assert_int_equal(list[f](0xabcdef01, bytes + len % 4, len),
				with_table(0xabcdef01, bytes + len % 4, len));
#if defined(__x86_64__)
	for (size_t lanes = 0; lanes <= 6; lanes++)
		for (size_t len = lanes * LANE; len <= lanes * LANE + 17; len++)
			for (unsigned int f = 0; f < n; f++)
				assert_int_equal(list[f](0, bytes, len), with_table(0, bytes, len));
#endif
}

/* A CRC finds every change of one bit. */
static void test_one_bit(void **state)
{
	uint8_t bytes[40] = {0};
	uint32_t good = hf_crc32c(0, bytes, sizeof(bytes));

	(void)state;
	for (unsigned int bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(hf_crc32c(0, bytes, sizeof(bytes)), good);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_vectors),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_one_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
