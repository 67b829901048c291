// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include "lib/segment.h"

static struct hf_endpoint endpoint(int family, const char *ip, uint16_t port)
{
	struct hf_endpoint made = {.port = port};

	assert_int_equal(inet_pton(family, ip, made.ip), 1);
	return made;
}

/* RFC 1071 the slow way: the sum over the pseudo header and the segment is all ones. */
static void assert_checksum(
	const uint8_t *addresses, size_t addresses_len, const uint8_t *tcp, size_t tcp_len)
{
	uint8_t all[128] = {0};
	uint32_t sum = 6 + (uint32_t)tcp_len;

	memcpy(all, addresses, addresses_len);
	memcpy(all + addresses_len, tcp, tcp_len);
	for (size_t i = 0; i < addresses_len + tcp_len; i++)
		sum += i % 2 ? all[i] : (uint32_t)all[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
}

static void test_ipv4(void **state)
{
	const struct hf_segment segment = {.family = HF_FAMILY_IPV4,
		.from = endpoint(AF_INET, "192.0.2.1", 80),
		.to = endpoint(AF_INET, "198.51.100.7", 40000),
		.seq = 0x01020304,
		.ack = 0x05060708,
		.flags = HF_SEGMENT_FIN | HF_SEGMENT_ACK,
		.window = 0x1234};
	static const uint8_t want[38] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198,
		51, 100, 7, 0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x11, 0x12, 0x34};
	uint8_t buf[HF_SEGMENT_SIZE];

	(void)state;
	assert_int_equal(hf_segment_build(buf, &segment), 40);
	assert_memory_equal(buf, want, 36);
	assert_checksum(buf + 12, 8, buf + 20, 20);
}

/* The addresses of an IPv6 socket, the packets of IPv4. */
static void test_mapped(void **state)
{
	struct hf_segment segment = {.family = HF_FAMILY_IPV6,
		.from = endpoint(AF_INET6, "::ffff:192.0.2.1", 80),
		.to = endpoint(AF_INET6, "::ffff:198.51.100.7", 40000),
		.flags = HF_SEGMENT_RST};
	uint8_t mapped[HF_SEGMENT_SIZE], plain[HF_SEGMENT_SIZE];

	(void)state;
	assert_int_equal(hf_segment_build(mapped, &segment), 40);
	segment.family = HF_FAMILY_IPV4;
	segment.from = endpoint(AF_INET, "192.0.2.1", 80);
	segment.to = endpoint(AF_INET, "198.51.100.7", 40000);
	assert_int_equal(hf_segment_build(plain, &segment), 40);
	assert_memory_equal(mapped, plain, 40);
}

static void test_ipv6_urgent(void **state)
{
	const struct hf_segment segment = {.family = HF_FAMILY_IPV6,
		.from = endpoint(AF_INET6, "2001:db8::1", 80),
		.to = endpoint(AF_INET6, "2001:db8::2", 40000),
		.seq = 0xfffffffe,
		.flags = HF_SEGMENT_URG | HF_SEGMENT_ACK,
		.urgent = 1,
		.data = 'X',
		.len = 1};
	uint8_t buf[HF_SEGMENT_SIZE];

	(void)state;
	assert_int_equal(hf_segment_build(buf, &segment), 61);
	assert_int_equal(buf[0], 0x60);
	assert_int_equal(buf[5], 21);
	assert_int_equal(buf[6], 6);
	assert_memory_equal(buf + 8, segment.from.ip, 16);
	assert_memory_equal(buf + 24, segment.to.ip, 16);
	assert_int_equal(buf[40 + 13], 0x30);
	assert_int_equal(buf[40 + 19], 1);
	assert_int_equal(buf[60], 'X');
	assert_checksum(buf + 8, 32, buf + 40, 21);
}

/* RFC 7323 section 3.2, appendix A: two NOP, kind 8, length 10. */
static void test_timestamps(void **state)
{
	struct hf_segment segment = {.family = HF_FAMILY_IPV6,
		.from = endpoint(AF_INET6, "2001:db8::1", 80),
		.to = endpoint(AF_INET6, "2001:db8::2", 40000),
		.flags = HF_SEGMENT_ACK,
		.data = 'X',
		.len = 1,
		.has_timestamps = true,
		.tsval = 0x01020304,
		.tsecr = 0x05060708};
	static const uint8_t want[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 'X'};
	uint8_t buf[HF_SEGMENT_SIZE];

	(void)state;
	assert_int_equal(hf_segment_build(buf, &segment), 73);
	assert_int_equal(buf[40 + 12], 8 << 4);
	assert_memory_equal(buf + 60, want, sizeof(want));
	assert_checksum(buf + 8, 32, buf + 40, 33);
	segment.family = HF_FAMILY_IPV4;
	segment.from = endpoint(AF_INET, "192.0.2.1", 80);
	segment.to = endpoint(AF_INET, "198.51.100.7", 40000);
	segment.len = 0;
	assert_int_equal(hf_segment_build(buf, &segment), 52);
	assert_memory_equal(buf + 40, want, sizeof(want) - 1);
	assert_checksum(buf + 12, 8, buf + 20, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_ipv6_urgent),
		cmocka_unit_test(test_timestamps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
