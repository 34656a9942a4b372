// Package cluster tests the whole product: real etcd, Redis and RabbitMQ, the
// real binaries as processes, and faults injected into all of them.
//
// The package itself holds the checker, which judges a run by what the journal
// tells and by what nodes did outside the ledger. It is written from the
// guarantees that the product gives and knows nothing of how they are kept: no
// key, no script, no state of a node. What starts and kills servers and
// processes is part of the tests.
//
// The tests need the three servers' packages and some minutes. They run when
// STATION_TEST_CLUSTER=1 or STATION_TEST_REQUIRE=1 or one of the addresses that
// `servers exec` gives is set. They never use those addresses: servers that are
// killed and restarted are shared with nobody, so the package starts a set of
// its own. Each test has a key prefix of its own in it.
//
// # What a violation means
//
// Journal entries are written in the same step as the transition they tell of,
// so their order is the order in which things happened, on one clock. One entry
// is late by nature: "dispatch" is written when the leader hears the broker's
// confirm, and a quick worker has finished the node by then. It has to follow
// the offer it belongs to, and that is all its place tells.
package cluster
