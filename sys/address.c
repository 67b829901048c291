// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

socklen_t hf_address_make(
	struct sockaddr_storage *to, enum hf_family family, const struct hf_endpoint *from)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (family == HF_FAMILY_IPV4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(from->port);
		memcpy(&in->sin_addr, from->ip, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(from->port);
	in6->sin6_scope_id = from->scope_id;
	memcpy(&in6->sin6_addr, from->ip, 16);
	return sizeof(*in6);
}

enum hf_family hf_address_read(struct hf_endpoint *to, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

	memset(to, 0, sizeof(*to));
	if (from->ss_family == AF_INET) {
		memcpy(to->ip, &in->sin_addr, 4);
		to->port = ntohs(in->sin_port);
		return HF_FAMILY_IPV4;
	}
	memcpy(to->ip, &in6->sin6_addr, 16);
	to->port = ntohs(in6->sin6_port);
	to->scope_id = in6->sin6_scope_id;
	return HF_FAMILY_IPV6;
}
