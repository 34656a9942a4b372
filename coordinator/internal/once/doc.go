// Package once keeps the once-keys: one key in etcd for each at-most-once node
// that was, or was about to be, started. It is what keeps such a node from
// starting twice when Redis forgets that it was claimed.
//
//	<prefix>/once/<flow>/<occasion>/<node>   {"token": …, "at": unix ms}
//	<prefix>/once-era                        name of this etcd's data
//
// # Why a claim is not enough
//
// A claim stands in Redis, which may lose its last writes: at a failover to a
// replica that lags, after a crash between two fsyncs, or because somebody
// restored a backup. The node is then ready again, its doorbell rings again, and
// the next worker is granted the claim while the handler of the first has run, or
// still runs. Nothing that is kept in that Redis can help, since it goes back
// together with the claim. etcd acknowledges a write when a majority has it on
// disk, so it is asked once per start of such a node, and for nothing else on the
// path of a node.
//
// # The order of things
//
// The worker claims in Redis, then takes the once-key with the claim's token,
// then calls the handler. The key is made by a transaction that creates it if it
// is absent. The token that made it may ask again and is told the same, so a
// worker whose answer was lost, or that asks two coordinators, goes on; any other
// token hears that the key is taken, and its worker ends the node as unknown
// without having started it. So of all claims that were ever granted for one node
// of one occasion, whoever granted them and whatever Redis remembers, one token
// starts the handler, and its worker calls it once.
//
// The occasion (package ids) is made of the flow's incarnation and the slot or the
// trigger. A slot that Redis forgot and that is started again, even under a later
// revision or another cycle number, meets the key of the first time.
//
// # Where a process may die
//
//   - Before the key is made: nothing was started. The leader revokes the claim,
//     finds no key and offers the node again.
//   - Between the key and the handler, or in it: the node may have been started.
//     The leader finds the key, and the node ends unknown. That it was certainly
//     not started is known to nobody who lives.
//   - A worker that was taken for dead makes its key later than the leader looked:
//     then the worker that has the node by now meets the key and ends it as
//     unknown; or the other way round, and the late one meets the key and does not
//     start it. Either way one of the two starts it, or none.
//   - A call that timed out: whether the key was made is not known. Whoever can't
//     ask again does not start the node, and hands the claim back; the next to
//     claim it meets the key, if there is one.
//
// So a stale "absent" does no harm: it only lets another claim be made, and that
// one must create the key as well. "Present" is for ever. That is why the leader
// may ask at leisure (Witness), and why it waits when etcd does not answer: it
// never guesses.
//
// # When etcd loses its data
//
// An absent key proves that nothing was started only while etcd has kept what it
// was given. So each etcd gets a name when it is first used, the era; the leader
// tells it the ledger, which notes since when it has known it. Of a claim that is
// older than that, a missing key proves nothing, and the node ends unknown. An
// etcd that was restored from an old snapshot keeps its era, and may miss keys
// without anyone knowing: such a restore raises an alarm by its epochs anyway, and
// what ran at that time has to be looked at by a person. If etcd and Redis lose
// their data together, a node may start twice.
// So it may when two rare things meet: a worker that lives is taken for dead before
// it has made its key, makes it late, and etcd loses that key before the node's next
// claim makes its own. The model of package ledger finds both.
//
// # How long a key is kept
//
// A key has to outlive every way in which its slot can be started again: a slot
// that is caught up after Redis lost it, and a backup of Redis that is restored.
// Both may reach further back than retention, which keeps a number of cycles and
// no span of time: of a flow with a cycle per second the ledger has forgotten all
// about a cycle after two minutes. So retention and the removal of a flow leave the
// keys alone, and the leader sweeps: a key goes when the ledger has no cycle of
// its occasion and it is older than a day (Config.Keep). That one rule also takes
// the keys of removed flows, and orphans, whose cycle Redis lost for good. The age
// is judged by two machines' clocks, which is why it is not short.
//
// One key takes about half a kilobyte of etcd until the sweep. A cluster that makes
// more than Crowd of them is kept from filling etcd by a shorter time for those
// that the ledger has forgotten, an hour, and the log says so.
// etcd keeps old revisions until it is compacted: run it with
// --auto-compaction-retention=1h.
package once
