/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket options of a TCP socket, all that Linux 6.18 knows at the levels TCP, SOL_SOCKET, IP
 * and IPv6: the single source for dump, restore, `holdfast show` and holdfast-options(7).
 *
 * No include guard: lib/sockopt.c includes it, with these macros defined, once for every table
 * that it makes of it.
 *
 *   CARRIED(level, name, type, base, on, phase, flags, note)
 *       holdfast reads it at dump and sets it at restore. The columns are those of struct
 *       hf_sockopt in lib/sockopt.h. `base` is a contract with every image ever written: do not
 *       change one, even if a later kernel changes its default.
 *   BY_CRIU(level, name, note)   CRIU 4.2 reads and sets it also with tcp-close
 *       (criu/sockets.c dump_socket_opts(), criu/sk-inet.c dump_ip_opts(), criu/sk-tcp.c
 *       dump_tcp_opts()), before holdfast gets the socket back.
 *   IN_STATE(level, name, note)  carried, but in a field of its own of the image
 *   LEFT_OUT(level, name, note)  not carried; the note says why
 *
 * The order within a level is the order in which options are set. Kernel functions named below are
 * those of Linux 6.18: do_tcp_setsockopt(), sk_setsockopt(), do_ip_setsockopt(),
 * do_ipv6_setsockopt() and their get counterparts.
 */

/* ---- TCP ---- */
BY_CRIU(IPPROTO_TCP, TCP_NODELAY, "")
BY_CRIU(IPPROTO_TCP, TCP_CORK, "")
BY_CRIU(IPPROTO_TCP, TCP_KEEPIDLE, "the value in effect, also where it is the sysctl's")
BY_CRIU(IPPROTO_TCP, TCP_KEEPINTVL, "the value in effect, also where it is the sysctl's")
BY_CRIU(IPPROTO_TCP, TCP_KEEPCNT, "the value in effect, also where it is the sysctl's")
CARRIED(IPPROTO_TCP, TCP_SYNCNT, INT, 6, ANY, BEFORE, 0,
	"reads as the sysctl while it is not set, and is then pinned unless that is 6")
CARRIED(IPPROTO_TCP, TCP_LINGER2, INT, 60, ANY, BEFORE, 0,
	"reads as the sysctl while it is not set, and is then pinned unless that is 60 s")
CARRIED(IPPROTO_TCP, TCP_DEFER_ACCEPT, INT, 0, ANY, BEFORE, 0,
	"seconds, which the kernel rounds up to a number of retransmissions")
CARRIED(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_TCP, TCP_USER_TIMEOUT, INT, 0, ANY, BEFORE, 0, "")
/* hf_steps_fill_unsent() leaves it at its base. */
CARRIED(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UINT, 0, ANY, LAST, 0, "")
CARRIED(IPPROTO_TCP, TCP_SAVE_SYN, INT, 0, ANY, BEFORE, 0,
	"the SYN that was saved itself, TCP_SAVED_SYN, is lost")
CARRIED(IPPROTO_TCP, TCP_INQ, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_TCP, TCP_TX_DELAY, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_TCP, TCP_RTO_MAX_MS, INT, 120000, ANY, BEFORE, 0, "")
/* tcp_disconnect(), with which restore begins, sets these two to their base whatever the sysctl. */
CARRIED(IPPROTO_TCP, TCP_RTO_MIN_US, INT, 200000, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_TCP, TCP_DELACK_MAX_US, INT, 200000, ANY, BEFORE, 0, "")
/*
 * After the connect, where a route with a congestion control of its own replaces what was set
 * before (tcp_ca_dst_init()). "cubic" is the base, see lib/sockopt.c.
 */
CARRIED(IPPROTO_TCP, TCP_CONGESTION, NAME, 0, ANY, AFTER, 0,
	"where the kernel has none of that name the default stays, and the log says so")
/*
 * Of a connection the kernel changes it together with the receive buffer (tcp_rcvbuf_grow()), and
 * never tells whether the program had set it. It goes back as it was, and last, since connect()
 * computes a new one, of half the buffer, and the window must be there first:
 * tcp_set_window_clamp() then raises rcv_ssthresh up to rcv_wnd. Autotuning goes on from there: it
 * stops only where SO_RCVBUF was set, which CRIU carries as SO_BUF_LOCK.
 */
CARRIED(IPPROTO_TCP, TCP_WINDOW_CLAMP, INT, 0, ANY, LAST, 0,
	"of a connection always, as the kernel's autotuning left it, and set last")
/*
 * Of a connection it reads as the current segment size, and in repair mode as mss_clamp. Of others
 * it reads as mss_cache while it is not set.
 */
CARRIED(IPPROTO_TCP, TCP_MAXSEG, INT, 536, UNCONNECTED, BEFORE, 0,
	"a connection's is in its state, as the MSS that was negotiated")
CARRIED(IPPROTO_TCP, TCP_FASTOPEN, INT, 0, UNCONNECTED, BEFORE, 0,
	"cannot be set on a connection, which has no use for it")
CARRIED(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, INT, 0, UNCONNECTED, BEFORE, 0,
	"cannot be set on a connection, which has no use for it")
CARRIED(IPPROTO_TCP, TCP_FASTOPEN_KEY, KEY, 0, UNCONNECTED, BEFORE, SECRET, "never printed")
/* On a connection it would put the repair connect() off (tcp_fastopen_defer_connect()). */
CARRIED(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, INT, 0, CLOSED, BEFORE, 0, "")
IN_STATE(IPPROTO_TCP, TCP_TIMESTAMP, "")
IN_STATE(IPPROTO_TCP, TCP_QUEUE_SEQ, "")
IN_STATE(IPPROTO_TCP, TCP_REPAIR_WINDOW, "")
IN_STATE(IPPROTO_TCP, TCP_REPAIR_OPTIONS, "")
LEFT_OUT(IPPROTO_TCP, TCP_QUICKACK, "the kernel changes it by itself with every exchange")
LEFT_OUT(IPPROTO_TCP, TCP_THIN_DUPACK, "has had no effect since Linux 4.11, and reads 0")
LEFT_OUT(IPPROTO_TCP, TCP_ULP, "kernel TLS cannot be read back: such a connection is refused")
LEFT_OUT(IPPROTO_TCP, TCP_MD5SIG, "keys cannot be read")
LEFT_OUT(IPPROTO_TCP, TCP_MD5SIG_EXT, "keys cannot be read")
LEFT_OUT(IPPROTO_TCP, TCP_AO_ADD_KEY, "TCP-AO is not supported")
LEFT_OUT(IPPROTO_TCP, TCP_AO_DEL_KEY, "TCP-AO is not supported")
LEFT_OUT(IPPROTO_TCP, TCP_AO_INFO, "TCP-AO is not supported")
LEFT_OUT(IPPROTO_TCP, TCP_AO_GET_KEYS, "TCP-AO is not supported")
LEFT_OUT(IPPROTO_TCP, TCP_AO_REPAIR, "TCP-AO is not supported")
LEFT_OUT(IPPROTO_TCP, TCP_REPAIR, "is the means of dump and restore")
LEFT_OUT(IPPROTO_TCP, TCP_REPAIR_QUEUE, "is the means of dump and restore")
LEFT_OUT(IPPROTO_TCP, TCP_INFO, "read only")
LEFT_OUT(IPPROTO_TCP, TCP_CC_INFO, "read only")
LEFT_OUT(IPPROTO_TCP, TCP_IS_MPTCP, "read only")
LEFT_OUT(IPPROTO_TCP, TCP_SAVED_SYN, "cannot be set, and reading it frees it")
LEFT_OUT(IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, "an operation, not a setting")

/* ---- SOL_SOCKET ---- */
BY_CRIU(SOL_SOCKET, SO_SNDBUF, "the kernel doubles what is set; CRIU halves what it read")
BY_CRIU(SOL_SOCKET, SO_RCVBUF, "the kernel doubles what is set; CRIU halves what it read")
BY_CRIU(SOL_SOCKET, SO_BUF_LOCK, "whether the program had set the two: if not, autotuning goes on")
BY_CRIU(SOL_SOCKET, SO_PRIORITY, "")
BY_CRIU(SOL_SOCKET, SO_RCVLOWAT, "")
BY_CRIU(SOL_SOCKET, SO_MARK, "")
BY_CRIU(SOL_SOCKET, SO_SNDTIMEO_OLD, "")
BY_CRIU(SOL_SOCKET, SO_RCVTIMEO_OLD, "")
BY_CRIU(SOL_SOCKET, SO_DONTROUTE, "")
BY_CRIU(SOL_SOCKET, SO_NO_CHECK, "")
BY_CRIU(SOL_SOCKET, SO_BROADCAST, "")
BY_CRIU(SOL_SOCKET, SO_KEEPALIVE, "")
BY_CRIU(SOL_SOCKET, SO_OOBINLINE, "")
BY_CRIU(SOL_SOCKET, SO_LINGER, "")
BY_CRIU(SOL_SOCKET, SO_BINDTODEVICE, "")
BY_CRIU(SOL_SOCKET, SO_BINDTOIFINDEX, "as SO_BINDTODEVICE, by name")
BY_CRIU(SOL_SOCKET, SO_ATTACH_FILTER, "classic filters; an eBPF program cannot be read")
IN_STATE(SOL_SOCKET, SO_REUSEADDR, "")
/*
 * CRIU sets it on every inet socket that it makes (open_inet_sk()) and back on listeners, but not
 * on connections (post_open_inet_sk() returns early for them).
 */
CARRIED(SOL_SOCKET, SO_REUSEPORT, INT, 0, CONNECTION, LAST, LEFT_ON,
	"CRIU leaves it on there; of other sockets CRIU carries it")
CARRIED(SOL_SOCKET, SO_DEBUG, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_SELECT_ERR_QUEUE, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_RXQ_OVFL, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(SOL_SOCKET, SO_WIFI_STATUS, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(SOL_SOCKET, SO_NOFCS, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(SOL_SOCKET, SO_RCVMARK, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(SOL_SOCKET, SO_RCVPRIORITY, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(SOL_SOCKET, SO_BUSY_POLL, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_PREFER_BUSY_POLL, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_MAX_PACING_RATE, LONG, -1, ANY, BEFORE, 0,
	"bytes a second, 64 bits; 18446744073709551615 is none")
CARRIED(SOL_SOCKET, SO_ZEROCOPY, INT, 0, ANY, BEFORE, 0,
	"completions that were on their way do not come any more")
CARRIED(SOL_SOCKET, SO_TXTIME, WORDS, 0, ANY, BEFORE, 0,
	"clock and flags; CLOCK_REALTIME without flags reads as if it were not set")
CARRIED(SOL_SOCKET, SO_TXREHASH, INT, 1, ANY, BEFORE, 0, "")
/*
 * SOCK_TSTAMP_NEW is one flag for all of them, so they read each through its own name only, but
 * for SO_TIMESTAMPING_OLD, which reads both. In this order the last one set leaves it right.
 */
CARRIED(SOL_SOCKET, SO_TIMESTAMP_OLD, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_TIMESTAMPNS_OLD, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_TIMESTAMP_NEW, INT, 0, ANY, BEFORE, 0, "")
CARRIED(SOL_SOCKET, SO_TIMESTAMPNS_NEW, INT, 0, ANY, BEFORE, FOLLOWS, "")
/* SOF_TIMESTAMPING_OPT_ID is refused before there is a connection (sock_set_timestamping()). */
CARRIED(SOL_SOCKET, SO_TIMESTAMPING_OLD, WORDS, 0, ANY, AFTER, 0,
	"the numbers of SOF_TIMESTAMPING_OPT_ID count from the restore")
CARRIED(SOL_SOCKET, SO_TIMESTAMPING_NEW, WORDS, 0, ANY, AFTER, FOLLOWS,
	"the numbers of SOF_TIMESTAMPING_OPT_ID count from the restore")
CARRIED(SOL_SOCKET, SO_LOCK_FILTER, INT, 0, ANY, AFTER, 0, "")
/* Of a connection it is the CPU of the last packet (sk_incoming_cpu_update()). */
CARRIED(SOL_SOCKET, SO_INCOMING_CPU, INT, -1, UNCONNECTED, BEFORE, 0,
	"of a connection the kernel sets it with every packet")
/* tcp_disconnect() sets it to -1; last, so that no peek of the restore moves it. */
CARRIED(SOL_SOCKET, SO_PEEK_OFF, INT, -1, ANY, LAST, 0, "")
CARRIED(SOL_SOCKET, SO_RESERVE_MEM, INT, 0, ANY, LAST, 0, "")
LEFT_OUT(SOL_SOCKET, SO_SNDTIMEO_NEW, "is SO_SNDTIMEO_OLD, which CRIU carries")
LEFT_OUT(SOL_SOCKET, SO_RCVTIMEO_NEW, "is SO_RCVTIMEO_OLD, which CRIU carries")
LEFT_OUT(SOL_SOCKET, SO_BUSY_POLL_BUDGET, "cannot be read")
LEFT_OUT(SOL_SOCKET, SO_ATTACH_BPF, "cannot be read")
LEFT_OUT(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, "cannot be read")
LEFT_OUT(SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, "cannot be read")
LEFT_OUT(SOL_SOCKET, SO_CNX_ADVICE, "an operation, not a setting")
LEFT_OUT(SOL_SOCKET, SO_PASSCRED, "not for TCP sockets")
LEFT_OUT(SOL_SOCKET, SO_PASSSEC, "not for TCP sockets")
LEFT_OUT(SOL_SOCKET, SO_PASSPIDFD, "not for TCP sockets")
LEFT_OUT(SOL_SOCKET, SO_PASSRIGHTS, "not for TCP sockets")
LEFT_OUT(SOL_SOCKET, SO_INQ, "not for TCP sockets")
LEFT_OUT(SOL_SOCKET, SO_BSDCOMPAT, "has no effect")
LEFT_OUT(SOL_SOCKET, SO_SNDLOWAT, "cannot be set")
LEFT_OUT(SOL_SOCKET, SO_PEERCRED, "read only")
LEFT_OUT(SOL_SOCKET, SO_PEERGROUPS, "read only")
LEFT_OUT(SOL_SOCKET, SO_PEERNAME, "read only")
LEFT_OUT(SOL_SOCKET, SO_PEERPIDFD, "read only")
LEFT_OUT(SOL_SOCKET, SO_PEERSEC, "read only")
LEFT_OUT(SOL_SOCKET, SO_BPF_EXTENSIONS, "read only")
LEFT_OUT(SOL_SOCKET, SO_TYPE, "read only")
LEFT_OUT(SOL_SOCKET, SO_DOMAIN, "read only")
LEFT_OUT(SOL_SOCKET, SO_PROTOCOL, "read only")
LEFT_OUT(SOL_SOCKET, SO_ERROR, "read only, and reading it clears it")
LEFT_OUT(SOL_SOCKET, SO_ACCEPTCONN, "read only")
LEFT_OUT(SOL_SOCKET, SO_INCOMING_NAPI_ID, "read only")
LEFT_OUT(SOL_SOCKET, SO_COOKIE, "read only")
LEFT_OUT(SOL_SOCKET, SO_NETNS_COOKIE, "read only")
LEFT_OUT(SOL_SOCKET, SO_MEMINFO, "read only")

/* ---- IP: of IPv4 sockets, and of IPv6 ones, which have them for IPv4-mapped addresses ---- */
/*
 * On an IPv6 socket it counts for IPv4-mapped addresses, and CRIU leaves it out there. Setting it
 * sets SO_PRIORITY as well (ip_sock_set_tos()), which is therefore put back.
 */
CARRIED(IPPROTO_IP, IP_TOS, INT, 0, ANY, BEFORE, CRIU_IPV4 | ECN | PRIORITY,
	"without its two ECN bits, which are the connection's own")
CARRIED(IPPROTO_IP, IP_TTL, INT, 64, ANY, BEFORE, CRIU_IPV4,
	"the value in effect, also where it is the sysctl's")
CARRIED(IPPROTO_IP, IP_PKTINFO, INT, 0, ANY, BEFORE, CRIU_IPV4, "")
BY_CRIU(IPPROTO_IP, IP_FREEBIND, "")
CARRIED(IPPROTO_IP, IP_OPTIONS, IPOPTS, 0, ANY, BEFORE, PEER,
	"goes out with every packet: a restore that cannot set it is refused")
/* Before bind(), whose address need not be one of this host with it. */
CARRIED(IPPROTO_IP, IP_TRANSPARENT, INT, 0, ANY, BEFORE, 0, "IPV6_TRANSPARENT is the same setting")
CARRIED(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_LOCAL_PORT_RANGE, UINT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_MTU_DISCOVER, INT, 1, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_MINTTL, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RECVERR, INT, 0, ANY, BEFORE, 0, "what is in the error queue is lost")
CARRIED(IPPROTO_IP, IP_RECVERR_RFC4884, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RECVTTL, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RECVTOS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RECVOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RETOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_PASSSEC, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_RECVORIGDSTADDR, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IP, IP_CHECKSUM, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IP, IP_MULTICAST_LOOP, INT, 1, ANY, BEFORE, 0, "without effect on TCP")
/* inet6_create() does not set it, unlike inet_create(). */
CARRIED(IPPROTO_IP, IP_MULTICAST_ALL, INT, 1, ANY, BEFORE, ZERO_IPV6, "without effect on TCP")
CARRIED(IPPROTO_IP, IP_UNICAST_IF, INT, 0, ANY, BEFORE, 0,
	"an interface index in network byte order; without effect on TCP")
LEFT_OUT(IPPROTO_IP, IP_HDRINCL, "of raw sockets")
LEFT_OUT(IPPROTO_IP, IP_ROUTER_ALERT, "of raw sockets")
LEFT_OUT(IPPROTO_IP, IP_NODEFRAG, "of raw sockets")
LEFT_OUT(IPPROTO_IP, IP_RECVFRAGSIZE, "not for TCP sockets")
LEFT_OUT(IPPROTO_IP, IP_MULTICAST_TTL, "not for TCP sockets")
LEFT_OUT(IPPROTO_IP, IP_MULTICAST_IF, "not for TCP sockets")
LEFT_OUT(IPPROTO_IP, IP_ADD_MEMBERSHIP, "not for TCP sockets")
LEFT_OUT(IPPROTO_IP, IP_MSFILTER, "not for TCP sockets")
LEFT_OUT(IPPROTO_IP, IP_IPSEC_POLICY, "cannot be read")
LEFT_OUT(IPPROTO_IP, IP_XFRM_POLICY, "cannot be read")
LEFT_OUT(IPPROTO_IP, IP_MTU, "read only")
LEFT_OUT(IPPROTO_IP, IP_PKTOPTIONS, "read only")
LEFT_OUT(IPPROTO_IP, IP_PROTOCOL, "read only")

/* ---- IPv6 ---- */
/* __inet6_bind() sets it, and a restored connection was bound. It has no effect on one. */
IN_STATE(IPPROTO_IPV6, IPV6_V6ONLY, "CRIU sets it again; bind(2), and so a restore, sets it too")
BY_CRIU(IPPROTO_IPV6, IPV6_RECVPKTINFO, "")
BY_CRIU(IPPROTO_IPV6, IPV6_FREEBIND, "")
CARRIED(IPPROTO_IPV6, IPV6_TCLASS, INT, 0, ANY, BEFORE, ECN,
	"without its two ECN bits, which are the connection's own")
CARRIED(IPPROTO_IPV6, IPV6_UNICAST_HOPS, INT, 64, ANY, BEFORE, 0,
	"the value in effect, also where it is the route's or the sysctl's")
CARRIED(IPPROTO_IPV6, IPV6_HOPOPTS, EXTHDR, 0, ANY, BEFORE, PEER,
	"goes out with every packet: a restore that cannot set it is refused")
/* Goes out only before a routing header, RFC 3542 section 6. */
CARRIED(IPPROTO_IPV6, IPV6_RTHDR, EXTHDR, 0, ANY, BEFORE, PEER,
	"goes out with every packet: a restore that cannot set it is refused")
CARRIED(IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, EXTHDR, 0, ANY, BEFORE, PEER | FOLLOWS,
	"goes out with IPV6_RTHDR only, and is carried with it")
CARRIED(IPPROTO_IPV6, IPV6_DSTOPTS, EXTHDR, 0, ANY, BEFORE, PEER,
	"goes out with every packet: a restore that cannot set it is refused")
CARRIED(IPPROTO_IPV6, IPV6_MTU_DISCOVER, INT, 1, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_MINHOPCOUNT, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_DONTFRAG, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, INT, 1, ANY, BEFORE, 0,
	"reads as the sysctl while it is not set, and is then pinned unless that is 1")
CARRIED(IPPROTO_IPV6, IPV6_FLOWINFO_SEND, INT, 0, ANY, BEFORE, 0, "")
/* IPV6_PREFER_SRC_PUBTMP_DEFAULT and IPV6_PREFER_SRC_HOME. */
CARRIED(IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, INT, 0x500, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVERR, INT, 0, ANY, BEFORE, 0, "what is in the error queue is lost")
CARRIED(IPPROTO_IPV6, IPV6_RECVERR_RFC4884, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_2292PKTINFO, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_2292HOPLIMIT, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVRTHDR, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_2292RTHDR, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVHOPOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_2292HOPOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVDSTOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_2292DSTOPTS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVTCLASS, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_FLOWINFO, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVPATHMTU, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, INT, 0, ANY, BEFORE, 0, "")
CARRIED(IPPROTO_IPV6, IPV6_RECVFRAGSIZE, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, INT, 1, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IPV6, IPV6_MULTICAST_ALL, INT, 1, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IPV6, IPV6_ROUTER_ALERT_ISOLATE, INT, 0, ANY, BEFORE, 0, "without effect on TCP")
CARRIED(IPPROTO_IPV6, IPV6_UNICAST_IF, INT, 0, ANY, BEFORE, 0,
	"an interface index in network byte order; without effect on TCP")
LEFT_OUT(IPPROTO_IPV6, IPV6_TRANSPARENT, "is IP_TRANSPARENT")
LEFT_OUT(IPPROTO_IPV6, IPV6_ADDRFORM, "an operation: the socket is an IPv4 socket afterwards")
LEFT_OUT(IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, "an operation, not a setting")
LEFT_OUT(IPPROTO_IPV6, IPV6_PKTINFO, "cannot be read")
LEFT_OUT(IPPROTO_IPV6, IPV6_MTU, "cannot be read: reads as the path MTU")
LEFT_OUT(IPPROTO_IPV6, IPV6_IPSEC_POLICY, "cannot be read")
LEFT_OUT(IPPROTO_IPV6, IPV6_XFRM_POLICY, "cannot be read")
LEFT_OUT(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, "not for TCP sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_MULTICAST_IF, "not for TCP sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, "not for TCP sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_JOIN_ANYCAST, "without effect on TCP, and cannot be read")
LEFT_OUT(IPPROTO_IPV6, IPV6_CHECKSUM, "of raw sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_HDRINCL, "of raw sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_ROUTER_ALERT, "of raw sockets")
LEFT_OUT(IPPROTO_IPV6, IPV6_PATHMTU, "read only")
LEFT_OUT(IPPROTO_IPV6, IPV6_2292PKTOPTIONS, "read only")
