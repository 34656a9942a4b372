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
// A value that cannot be read (a foreign key, a damaged record) is logged,
// counted and passed over; the last good record of that flow stays in memory.
// A Put over it starts a new incarnation.
package catalog
