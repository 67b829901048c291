// SPDX-License-Identifier: GPL-2.0-or-later
/* The ICMP errors, byte by byte; that a peer's kernel obeys them is for the integration tests. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include "lib/kick.h"
#include "lib/packet.h"

static struct hf_conn established(
	enum hf_family family, struct hf_endpoint local, struct hf_endpoint peer)
{
	return (struct hf_conn){.family = family,
		.state = HF_TCP_ESTABLISHED,
		.local = local,
		.peer = peer,
		.recv = {.seq = 0xfffffffe, .len = 10}};
}

static void check_ipv4(const struct hf_conn *conn)
{
	uint8_t packet[HF_KICK_SIZE] __attribute__((aligned(8)));
	size_t len = hf_kick_build(packet, conn);
	const struct iphdr *ip = (const struct iphdr *)packet, *quote;
	const struct icmphdr *icmp = (const struct icmphdr *)(ip + 1);
	const struct tcphdr *tcp;

	assert_int_equal(len, 20 + 8 + 20 + 20);
	assert_int_equal(ntohs(ip->tot_len), len);
	assert_int_equal(ip->protocol, IPPROTO_ICMP);
	assert_int_equal(ntohl(ip->saddr), 0xc0000201); /* unit_v4(1): 192.0.2.1 */
	assert_int_equal(ntohl(ip->daddr), 0xc0000202);
	assert_int_equal(icmp->type, ICMP_DEST_UNREACH);
	assert_int_equal(icmp->code, ICMP_HOST_UNREACH);
	assert_int_equal(hf_checksum_fold(hf_checksum_add(0, (const uint8_t *)icmp, len - 20)), 0);
	quote = (const struct iphdr *)(icmp + 1);
	assert_int_equal(quote->protocol, IPPROTO_TCP);
	assert_int_equal(quote->saddr, ip->daddr);
	assert_int_equal(quote->daddr, ip->saddr);
	tcp = (const struct tcphdr *)(quote + 1);
	assert_int_equal(ntohs(tcp->source), 81);
	assert_int_equal(ntohs(tcp->dest), 80);
	assert_int_equal(ntohl(tcp->seq), 0xfffffffe);
}

static void test_ipv4(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	check_ipv4(&conn);
	conn = established(HF_FAMILY_IPV6, unit_mapped(1, 80), unit_mapped(2, 81));
	check_ipv4(&conn);
}

static void test_ipv6(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV6, unit_v6(1, 80), unit_v6(2, 81));
	uint8_t packet[HF_KICK_SIZE] __attribute__((aligned(8)));
	size_t len = hf_kick_build(packet, &conn);
	const struct ip6_hdr *ip = (const struct ip6_hdr *)packet, *quote;
	const struct icmp6hdr *icmp = (const struct icmp6hdr *)(ip + 1);
	uint32_t pseudo = hf_checksum_pseudo(packet, HF_FAMILY_IPV6, IPPROTO_ICMPV6, len - 40);

	(void)state;
	assert_int_equal(len, 40 + 8 + 40 + 20);
	assert_int_equal(ntohs(ip->ip6_plen), len - 40);
	assert_int_equal(ip->ip6_nxt, IPPROTO_ICMPV6);
	assert_memory_equal(&ip->ip6_src, conn.local.ip, 16);
	assert_memory_equal(&ip->ip6_dst, conn.peer.ip, 16);
	assert_int_equal(icmp->icmp6_type, ICMPV6_DEST_UNREACH);
	assert_int_equal(icmp->icmp6_code, ICMPV6_NOROUTE);
	assert_int_equal(
		hf_checksum_fold(hf_checksum_add(pseudo, (const uint8_t *)icmp, len - 40)), 0);
	quote = (const struct ip6_hdr *)(icmp + 1);
	assert_int_equal(quote->ip6_nxt, IPPROTO_TCP);
	assert_memory_equal(&quote->ip6_src, conn.peer.ip, 16);
	assert_memory_equal(&quote->ip6_dst, conn.local.ip, 16);
	assert_int_equal(ntohl(((const struct tcphdr *)(quote + 1))->seq), 0xfffffffe);
}

static void test_ack(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));
	struct hf_segment ack;

	(void)state;
	conn.send = (struct hf_queue){1000, 300};
	conn.unsent = 100;
	conn.window.rcv_wup = conn.recv.seq - 1000;
	conn.window.rcv_wnd = 5000;
	ack = hf_kick_ack(&conn);
	assert_int_equal(ack.seq, 900);
	assert_int_equal(ack.ack, 0xfffffffe);
	assert_int_equal(ack.flags, HF_SEGMENT_ACK);
	assert_int_equal(ack.window, 4000);
	conn.has_wscale = true;
	conn.rcv_wscale = 3;
	assert_int_equal(hf_kick_ack(&conn).window, 500);
	conn.rcv_wscale = 0;
	conn.window.rcv_wnd = 1 << 20;
	assert_int_equal(hf_kick_ack(&conn).window, UINT16_MAX);
	/* Filled to the brim. */
	conn.window.rcv_wnd = 1000;
	assert_int_equal(hf_kick_ack(&conn).window, 0);
	conn.state = HF_TCP_FIN_WAIT1;
	assert_int_equal(hf_kick_ack(&conn).seq, 901);
	conn.fin_unsent = true;
	assert_int_equal(hf_kick_ack(&conn).seq, 900);
}

/* Of those that have paused, a share. */
static void test_first_word(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));
	struct hf_segment word;

	(void)state;
	conn.has_timestamps = true;
	conn.mss_clamp = 1460;
	conn.window.rcv_wup = conn.recv.seq;
	conn.window.rcv_wnd = 60000;
	word = hf_kick_first_word(&conn, 100000);
	assert_int_equal(word.window, 60000);
	assert_false(word.has_timestamps);
	assert_int_equal(word.ack, conn.recv.seq);
	conn.peer_paused = true;
	assert_int_equal(hf_kick_first_word(&conn, 1).window, 60000);
	assert_int_equal(hf_kick_first_word(&conn, 128).window, 16384);
	assert_int_equal(hf_kick_first_word(&conn, 100000).window, 4096);
	/* Two segments fit. */
	conn.mss_clamp = 8960;
	assert_int_equal(hf_kick_first_word(&conn, 100000).window, 17920);
	conn.has_wscale = true;
	conn.rcv_wscale = 14;
	conn.window.rcv_wnd = 1 << 24;
	assert_int_equal(hf_kick_first_word(&conn, 100000).window, 2);
	/* What is full stays so. */
	conn.window.rcv_wnd = 0;
	assert_int_equal(hf_kick_first_word(&conn, 100000).window, 0);
}

/* Who comes first, and when the others are asked about. */
static void test_order(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	assert_true(hf_kick_at_once(&conn));
	conn.peer_silent = true;
	assert_false(hf_kick_at_once(&conn));
	conn.peer_paused = true;
	assert_false(hf_kick_at_once(&conn));
	conn.peer_silent = false;
	assert_false(hf_kick_at_once(&conn));
	assert_int_equal(hf_kick_due_us(&conn), 20000);
	conn.rtt_us = 100000;
	assert_int_equal(hf_kick_due_us(&conn), 135000);
	conn.rtt_us = UINT32_MAX;
	assert_int_equal(hf_kick_due_us(&conn), 1260000);
}

/* Only of a peer that may be sending. */
static void test_wanted(void **state)
{
	struct hf_conn conn = established(HF_FAMILY_IPV4, unit_v4(1, 80), unit_v4(2, 81));

	(void)state;
	for (unsigned int i = 0; i < HF_TCP_STATES; i++) {
		conn.state = (enum hf_tcp_state)i;
		assert_int_equal(hf_kick_wanted(&conn),
			i == HF_TCP_ESTABLISHED || i == HF_TCP_FIN_WAIT1 || i == HF_TCP_FIN_WAIT2);
	}
}

static void test_count(void **state)
{
	(void)state;
	assert_int_equal(hf_kick_count(0), 2);
	assert_int_equal(hf_kick_count(1), 4); /* 200 and 400 ms have passed */
	assert_int_equal(hf_kick_count(3), 5);
	assert_int_equal(hf_kick_count(13), 8);
	assert_int_equal(hf_kick_count(UINT32_MAX), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_ack),
		cmocka_unit_test(test_first_word),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
