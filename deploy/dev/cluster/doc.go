// Package cluster tests the whole product: real etcd, Redis and RabbitMQ, the
// real binaries as processes, and faults injected into all of them. Package
// histcheck judges each run; packages procs and servers start and kill processes
// and servers.
//
// The tests need the three servers' packages and some minutes. They run when
// STATION_TEST_CLUSTER=1 or STATION_TEST_REQUIRE=1 or one of the addresses that
// `servers exec` gives is set. They never use those addresses: servers that are
// killed and restarted are shared with nobody, so the package starts a set of
// its own. Each test has a key prefix of its own in it.
package cluster
