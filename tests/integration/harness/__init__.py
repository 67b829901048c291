# SPDX-License-Identifier: GPL-2.0-or-later
"""What the integration tests and the demo are made of.

closing   what "with" needs
cases     sets of connections, types of the fixtures
programs  where the built programs are
proc      running commands and ending processes
net       two network namespaces and a cable
slow_cable  another cable, which takes its time
peer      hf-peer: connections, each byte checked
criu      a server, or another program, checkpointed by the criu command
agent     a program that does what a test says, in a container or at the peer: agent_main,
          and agent_tcp with the rarer sides of TCP
syscalls  numbers of the system calls in which a task blocks
blocks    packets lost on purpose
states    pairs of sockets in every TCP state, and what follows
scenes    many small tests in one checkpoint
matrix    the table of results
kill      checkpoints in which somebody is killed
oci       a server in a container of crun or runc
hooks     the OCI hook, and another that attaches a network
oci_image container images made of a few files, and registry, from which they are pulled
containerd  a containerd of the test's own
ctr       a server in a container of containerd's ctr
cri       pods, as the kubelet has containerd make them: cri.proto is what is spoken
real_image     an image with nginx, Redis and PostgreSQL
real_clients   programs of packages as clients, and what goes through them
real_programs  a server of that image with all its clients: real_nginx, real_redis, real_postgresql
chaos     connections used at random, checkpoints at random moments
host      a host of its own, in namespaces
hosts     two of them, a router or a switch between them, and a peer; announce moves an address
ssh       sshd on hosts
podman    a server in a container of podman, which goes from host to host
places    containers of crun, runc and podman that go away and come back
replay    a peer that retransmits all the time
sweep     outages of every length: sweep_results, sweep_page, chart
checks    what must not be left behind
"""
