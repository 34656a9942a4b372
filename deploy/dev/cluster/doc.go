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
//
// Two tests measure when they are told how much: STATION_TEST_KILLS=n repeats the
// failovers of TestFailoverIsQuick and TestHandOverIsQuick n times, STATION_TEST_FLOWS=n
// has TestManyFlows compare a hundred flows with n: memory of the leader, Redis and
// etcd; and, as often as STATION_TEST_KILLS says, a failover and a start of the only coordinator.
//
//	STATION_TEST_CLUSTER=1 STATION_TEST_FLOWS=100000 STATION_TEST_KILLS=5 go test -count=1 -timeout 30m -run TestManyFlows -v ./deploy/dev/cluster
package cluster
