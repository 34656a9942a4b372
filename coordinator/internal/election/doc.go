// Package election decides which coordinator leads, and gives each leadership
// its epoch.
//
// Every coordinator stands: it holds one key under the prefix, bound to a lease
// of its own, and the key with the lowest create revision leads. The keys
// together are the list of members and, in the order of their create
// revisions, the line of succession. The epoch of a leadership is base plus the
// create revision of its key, so it grows with each change of leader. The base
// (key <prefix>/epoch_base) is 0 until etcd is rebuilt empty or restored from a
// backup: its revisions then start lower than epochs that the ledger has already
// seen, and every leader would be fenced for ever. Whoever leads and is fenced
// reports the higher epoch (Surpass). One that is higher than the base and etcd's
// revision together cannot have come from this etcd, whose leaders all have a lower
// one; then the base is raised to it, by a transaction that compares the base that
// was read, and the next leadership's epoch is higher again. Any other higher epoch
// is a successor's. This package knows nothing of the ledger. An operator may
// raise the base as well.
//
// In such an etcd the leases are gone too: a leader learns that from its next
// renewal, and stands again. Besides its watch, each
// view reads the line once a second: behind a revision that a young etcd has yet to
// reach a watch shows nothing, and a restored one never ends keys it never had.
//
// # What leadership is worth
//
// Leadership is a hint that keeps two coordinators from doing the same work; it
// is no lock. A process may be stopped for minutes between looking at its Term
// and the write that follows. What makes a deposed leader harmless is that each
// write carries the epoch and the ledger refuses one that is too low. Nothing
// here may be used in place of that check.
//
// # A candidacy
//
// A candidacy has a lease of its own and ends with it. It puts its key, then
// looks at the line each time a key goes. The step from candidate to leader is
// one transaction that compares the own key's create revision and lease and
// writes the epoch into the key, after a read showed no older key in the line;
// none can appear later, because create revisions only grow. A
// candidate whose key vanished while it waited (its lease was revoked, an
// operator deleted it) fails that transaction and stands again with a new
// lease. A candidate can also be made leader by the one before it, dead or alive, as is
// told below. The client library's Election is not used: its Campaign returns success
// to such a candidate, which then leads beside the real leader, and its Resign
// forgets that it leads when the request fails.
//
// # How leadership is lost
//
// The lease is renewed every quarter of its time to live, each try with a short
// deadline of its own. A renewal counts from the moment it was sent: the server
// counts from a later moment, so the candidate's clock runs out first. The time
// to live is the one the server granted, which can exceed the one asked for.
// Until the last renewal's sending + TTL − margin, on the monotonic clock, the
// term is trusted: nobody else can have been elected unless the key was deleted
// by hand or on proof of death.
//
// When renewals fail, two cases look alike from here: this process is cut off
// and another one leads already, or etcd has lost its quorum and nobody can be
// elected. Stopping is right in the first case and stops the whole cluster
// without need in the second. The first case is covered without our help, since
// the new leader's epoch fences each write of the old one. So the term goes on
// untrusted: Trusted reports false, the context of the leading function stays
// alive, and both turns are logged. A caller uses Trusted to hold back what is
// not fenced by the ledger. The publishing of task messages needs no such care,
// for a claim checks what a message says.
//
// The term is over, and its context cancelled at once, when one of these is
// known and not merely feared:
//
//   - the own key is deleted or belongs to another lease (it is watched, and read
//     again after every break of the watch);
//   - the server says that the lease does not exist;
//   - the leading function returns, for instance because a write was fenced;
//   - the caller's context ends, or Resign or Transfer is called, and a successor has been
//     named or none can be.
//
// The order of a loss is always the same: Trusted turns false, the context is
// cancelled, the leading function is waited for, and only then the key is deleted, by a
// transaction that compares the create revision, and the lease revoked. If etcd does
// not answer the deletion within the time to live, the lease runs out by itself. The
// lease is renewed until the leading function has returned.
//
// When etcd comes back and the lease is gone, the candidate learns that from its
// next renewal, loses the term and stands again.
//
// # A planned end names the successor
//
// When the leader is asked to end (Resign, Transfer, the caller's context) and another
// one stands, nobody need go without a leader while the old one winds up, its key goes,
// and the next one looks at the line and claims. The leader makes the next in line
// leader itself, in one transaction: its own key goes, and the epoch, base plus the
// create revision of the successor's key, is written into the successor's key, which
// keeps its lease. The transaction compares the create revisions of both keys and the
// epoch base as the leader last read it. The successor watches its key, and leads as
// soon as it sees an epoch there that it would have given itself; any other makes it
// look at the line.
//
// Up to the transaction's answer the old leader goes on working, but no longer trusted:
// the answer may be on its way while the successor leads already, so what the ledger does
// not fence is held back unless it is confirmed. With the answer its context is
// cancelled. For a moment both may write. That is what epochs are for: the successor's
// takeover comes before its first read, and from then on each write of the old one is
// refused, as if it had been deposed.
//
// If the transaction is not done (the successor is gone, the base was raised) or not
// answered within a try, the leader winds up in the order of a loss, and who is next
// looks and claims as ever. A transaction that was applied unheard is no matter: the
// key is gone, and its deletion changes nothing. A successor that is dead or silent is
// one that leads: it is removed as such.
//
// The leader may name another than the next in line (HandTo). Then the keys of those
// between are deleted in the same transaction, since a key that is older than the
// leader's would lead. They stand again, at the end of the line, as any candidate does
// whose key is gone. A view that shows the successor's key shows all that are ahead of
// it, and none can appear there, so no older key is left.
//
// # Several elections
//
// Each partition of a deployment (package partition) has an election of its own, below a
// prefix of its own, with its own line and epoch base. The electors of one process share
// their instance and one presence address: when the process dies, its candidacies are
// proven dead one by one, and each partition that it led is taken over as if it were
// the only one.
//
// # Removing a dead coordinator
//
// The time to live bounds how long nobody leads after a crash. Most crashes need
// not wait for it: the kernel of a host that lives on closes the sockets of a
// process that died, and refuses new ones. So every coordinator listens at a
// presence address, which stands in its key, and answers each connection with
// the name of its instance; every candidate holds a connection to those ahead of
// it in the line. When a connection that stood breaks, and a new dial is refused
// or somebody else answers, the dead one's key is deleted by a transaction that
// compares its create revision, and the next in line is elected at once. A process
// that is being killed may accept for a few milliseconds more, so it is dialled again
// after one millisecond, two, four and so on.
//
// The next in line deletes the key and makes itself leader in one transaction, which
// is one write of etcd instead of two writes and a read between them. It may, when its
// own view shows its own key second and the dead one's first: none can appear before
// it. The transaction compares the create revisions of both keys, the own lease, and
// the epoch base that was last read; if any of them is not as it was, nothing is done and
// the long way is taken. An answer that was lost is no matter: the next try finds the
// dead one's key gone, and the candidate looks and claims as ever. The others in the line
// leave the dead one to it for 30 ms and then delete the key, should it be there still.
//
// A time-out, an unreachable host and an address that never answered as that
// instance prove nothing and are left to the lease. Revoking the lease instead
// would be unconditional. A wrong proof costs a change of leader and nothing
// else: the deposed one watches its key, and the ledger fences it.
//
// # Clocks
//
// Only rates matter, and the margin (a tenth of the time to live by default)
// absorbs their difference. A host that is suspended stops its monotonic clock
// too, so a term can look trusted for an instant after waking; the epoch covers
// that as well.
package election
