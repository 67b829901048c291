/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_SYS_SOCK_DIAG_H
#define HF_SYS_SOCK_DIAG_H

/* The TCP sockets of a network namespace, sock_diag(7). */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"

struct hf_diag_socket {
	uint64_t inode; /* 0: no file refers to it */
	enum hf_family family;
	enum hf_tcp_state state;
	bool v6only;
	uint8_t shutdown; /* HF_SHUTDOWN_* */
	bool md5;         /* has keys of TCP-MD5, RFC 2385; told to CAP_NET_ADMIN only */
	bool ulp;         /* has an upper layer protocol: kernel TLS, MPTCP; told likewise */
	uint32_t unacked; /* bytes in the send queue, a FIN included */
	struct hf_endpoint local;
	struct hf_endpoint peer;
};

struct hf_diag {
	struct hf_diag_socket *sockets; /* owned, sorted by inode */
	size_t n;
	size_t room;
};

/* Lists IPv4 and IPv6 sockets in every state into *diag, zeroed before. Nothing is kept on failure.
 */
int hf_sock_diag(int netns, struct hf_diag *diag, struct hf_error *err);

/* The socket with this inode, or NULL. */
const struct hf_diag_socket *hf_diag_find(const struct hf_diag *diag, uint64_t inode);

/*
 * Puts a request about one connection, zeroed before, which is NLM_F_REQUEST and has neither type
 * nor number yet; its payload is a struct inet_diag_req_v2 without extensions.
 */
#define HF_DIAG_REQUEST_SIZE NLMSG_SPACE(sizeof(struct inet_diag_req_v2))
struct nlmsghdr *hf_diag_put_request(uint8_t at[HF_DIAG_REQUEST_SIZE], enum hf_family family,
	const struct hf_endpoint *local, const struct hf_endpoint *peer);

/*
 * SOCK_DESTROY: ends the connection, with an RST, which only a lock keeps from the peer. For what
 * no file refers to. -ENOENT if it is gone, -EOPNOTSUPP where the kernel lacks
 * CONFIG_INET_DIAG_DESTROY. No text.
 */
int hf_sock_destroy(int netns, const struct hf_diag_socket *sock);

void hf_diag_clear(struct hf_diag *diag);

#endif
