// Package failpoint marks the steps at which a crash is worth trying: before and
// after everything that a process writes for others to rely on. In every normal
// build its functions are empty and are compiled away, arguments and all, so
// nothing is added to any path; the build tag failpoint makes them real.
//
// Built with the tag, a process reads the variable STATION_FAILPOINT once:
//
//	POINT[:N[:ACTION]][,POINT…]
//
// At the N-th pass (1 when left out) of POINT it carries out ACTION:
//
//	exit      end at once with code 137, as kill -9 does (the default)
//	panic     panic
//	sleep=D   sleep for D, for instance 3s: the step is then done by one whose
//	          time may be over
//
// A point is named before-STEP or after-STEP. STEP is a script of the ledger
// (claim, complete, takeover, …), or one of:
//
//	publish         a task message is handed to the broker; after: its confirm is out
//	confirm         the broker's confirm is handled
//	ack             a message is acked
//	handler         a node's handler is called; after: its result is known to nobody else
//	catalog_put     a flow is written to etcd
//	once_key        a worker asks for the once-key of an at-most-once node
//	once_put        a coordinator makes it in etcd
//	election_join   an election key is put into the line
//	election_claim  the first in line writes its epoch
//	election_hand_over
//	                the leader makes the next in line leader
//	election_leave  an election key is given up
//	once_key        a once-key is created in etcd
//	once_ask        a worker asks a coordinator for a once-key
//	rewrite_aof     the rewrite of Redis's append-only file is asked for
package failpoint
