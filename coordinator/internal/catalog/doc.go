// Package catalog keeps the flow definitions and the pauses in etcd, and a copy
// of all of them in memory.
//
// Definitions are small, rarely written, and must survive what Redis may lose;
// hence etcd. Every coordinator runs one Catalog: it loads all records, follows
// changes by watches, and answers Get and List from memory.
//
// # Keys
//
//	<prefix>/flows/<flow>                 the record, JSON; gzip above 1 KiB
//	<prefix>/pauses/<flow>                since when the flow is paused, unix ms
//	<prefix>/chunks/<flow>/<set>/<n>      parts of a record above 1 MiB
//	<prefix>/catalog                      the marker: a random id of this catalog
//	<prefix>/partitions                   how many partitions there are (package partition)
//
// etcd refuses requests above 1.5 MiB, and that limit counts for a whole
// transaction, so a large record cannot be written in one. Its parts are written
// first, under a set name of their own, and the record's key then names the set.
// The transaction that writes the record compares the record's modification
// revision and deletes every other set of the flow. A set left behind by a
// crash is therefore unreachable, and goes with the next change of the flow.
// Generated documents of 10,000 nodes and 50,000 edges pack to between 0.3 MiB
// (short ids) and 2 MiB (random ids of 36 characters), so sets are rare but real.
//
// # The first load
//
// A coordinator that starts has more to do than to load flows, and on few processors very many
// of them would take it from everything else: connections, the election, the first offers.
// etcd 3.4 has to count all of them for each page. So when the first page says that there are
// more than two thousand, the load waits once, after that page, for whoever
// says when that is over (Config.Calm). Nothing else depends on it: it bounds its own
// wait, its context is that of the load, and a load that begins again does not wait
// a second time. Flows that are loaded after it are as late as it took, so it is short.
//
// # How it fails
//
// When etcd is away every call that needs it returns *Unavailable: each request
// has three seconds. A write that returns it may have happened or may happen yet; writing
// the same document again is safe, since an unchanged document changes nothing.
// Reads from memory go on with the last state known.
//
// A watch that breaks, or whose revision was compacted, is followed by a new
// load. Deletions that fell into the gap are found by comparing with what was
// in memory. What this process wrote itself shows in memory at once and is not
// undone by older events that arrive later.
//
// # When etcd's history is another one
//
// An etcd that was rebuilt empty, or restored from a snapshot, answers as politely
// as ever and knows nothing, or old things. Believing it would remove flows from
// the ledger that nobody deleted; a watch that goes on behind a revision which a
// young etcd has yet to reach shows nothing at all; and every epoch is too low
// (see package election).
//
// So a catalog has an identity, the marker key. The ledger keeps it too, with the
// highest revision and raft term that were seen of that etcd. No request is believed
// whose transaction does not find the marker, or whose revision or term is lower
// than one seen before: it returns *Unavailable, and whoever mirrors or deletes
// by it waits. Once a second, and before each load, the marker is looked at. When it
// is missing or another one, or the history has gone back, then before anything
// else the catalog is restored from the ledger's copies (Copies), never the other
// way round: of each flow the newer of what etcd has, the ledger has and this
// process remembers; pauses as the ledger has them. Only then the marker is
// written, or the ledger takes over the one that is there, and the catalog is
// loaded. A crash in between begins it anew; each write compares the key's
// revision and the marker, so coordinators may do it at the same time: one of them
// writes each flow and one the marker. What users ask meanwhile is refused as
// unavailable, since the marker is not there.
//
// That a history has gone back is remembered until the catalog is restored: elections
// and members alone may carry a young etcd past the revision that was seen before the
// next look, which would find nothing wrong.
//
//   - Both stores are empty: a new marker is written, and nothing is restored.
//   - The ledger has no marker: it was emptied. It takes over etcd's, and the flows
//     come back from etcd (package mirror).
//   - Flows that were deleted, and are in the snapshot: the ledger remembers the
//     newest thousand deleted incarnations, and they are deleted again.
//   - A flow that was deleted in etcd while the ledger was away, and etcd rebuilt
//     before it heard of that: it comes back.
//   - A snapshot so young that its revision and term are those that were seen: what
//     was written since is not missed until a flow's copy turns out to be newer. No
//     flow is deleted for it unless a flow was created in that moment.
//   - Both stores lost at once: what a running coordinator remembers is restored.
//   - The once-keys of at-most-once nodes (package once) are lost with etcd: until
//     the cycles that were open then have ended, the ledger alone keeps such a node
//     from being started twice.
//
// A value that cannot be read (a foreign key, a damaged record) is logged,
// counted and passed over; the last good record of that flow stays in memory.
// A Put over it starts a new incarnation.
package catalog
