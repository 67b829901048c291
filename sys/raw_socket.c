// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/raw_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/lock_rules.h"
#include "sys/address.h"
#include "sys/netns.h"

#define SEND_LIMIT_US 100000

static int open_one(const struct hf_raw *raw, int domain, struct hf_error *err)
{
	hf_autoclose int sock = hf_netns_socket(raw->netns, domain, SOCK_RAW, IPPROTO_RAW, err);
	const unsigned int mark = HF_MARK;
	const struct timeval limit = {0, SEND_LIMIT_US};

	if (sock < 0)
		return hf_error_context(err, sock, "cannot open a raw socket");
	if (!raw->unmarked && setsockopt(sock, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return hf_error_sys(err, -errno, "cannot mark a raw socket's packets");
	/* Should a device take nothing any more, everybody would wait. */
	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return hf_error_sys(err, -errno, "cannot limit the time of a raw socket");
	return hf_steal_fd(&sock);
}

void hf_raw_open(struct hf_raw *raw)
{
	if (raw->v4 < 0)
		raw->v4 = open_one(raw, AF_INET, NULL);
	if (raw->v6 < 0)
		raw->v6 = open_one(raw, AF_INET6, NULL);
}

int hf_raw_send_packet(struct hf_raw *raw, enum hf_family family, const struct hf_endpoint *to,
	const uint8_t *packet, size_t len, struct hf_error *err)
{
	const uint8_t *v4 = hf_endpoint_ipv4(family, to);
	int *sock = v4 ? &raw->v4 : &raw->v6;
	struct hf_endpoint target = *to;
	struct sockaddr_storage address;
	socklen_t address_len;
	ssize_t n;

	if (*sock < 0)
		*sock = open_one(raw, v4 ? AF_INET : AF_INET6, err);
	if (*sock < 0)
		return *sock;
	target.port = 0; /* raw(7): a protocol number for IPv6, not used for IPv4 */
	if (v4)
		memmove(target.ip, v4, 4);
	address_len = hf_address_make(&address, v4 ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6, &target);
	do {
		n = sendto(
			*sock, packet, len, MSG_NOSIGNAL, (struct sockaddr *)&address, address_len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? hf_error_sys(err, -errno, "cannot send a packet") : 0;
}

int hf_raw_send(struct hf_raw *raw, const struct hf_segment *segment, struct hf_error *err)
{
	uint8_t packet[HF_SEGMENT_SIZE];
	size_t len = hf_segment_build(packet, segment);

	return hf_raw_send_packet(raw, segment->family, &segment->to, packet, len, err);
}

void hf_raw_close(struct hf_raw *raw)
{
	hf_close_fd(&raw->v4);
	hf_close_fd(&raw->v6);
}
