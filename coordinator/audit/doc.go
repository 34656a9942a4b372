// Package audit checks the journal and the state of the ledger against the
// guarantees: it reads what the scripts wrote about every transition, compares it
// with what the ledger holds now, and reports each record and key that breaks a
// promise, or counts what it checked when none does. It trusts neither of the two
// alone; it shares no code with the scripts that write them.
//
// # What is checked
//
//	slots     each slot of a flow is accounted once, started or skipped, in rising order and not
//	          ahead of time; on the present grid and those of earlier schedules, fixed or cron, also without
//	          a gap, so that slots due = started + skipped + pending; cycles are numbered one by one
//	inputs    a node becomes ready, or is skipped, only after every node it has an edge from was
//	          counted, and becomes ready only if its join rule can be met by what they came to
//	offers    each offer of an attempt has one answer (dispatched, held or dropped), or still stands in
//	          the outbox; only what is offered is answered or declined
//	claims    one live claim at a time: a claim is granted to an offered attempt, or directly to the
//	          worker that reported a node's last input, and only its token
//	          fails, is revoked, is suspected or is counted; a live claim is never refused, and what
//	          a refusal says of the node is true
//	attempts  attempts rise by one, and only after a failure that is retried, a loss or a hand-back;
//	          a retry comes when it is due and is one that the plan allows
//	outcomes  each node of a cycle is counted once, and nothing happens to it after that; success
//	          needs a claim, a node that nobody ran needs a reason
//	once      an at-most-once node is counted with at most one claim under which it may have been
//	          started: the others were handed back, revoked without a once-key, or met another's key
//	holds     no claim is granted and no cycle starts while the flow is paused or being deleted, and
//	          none is granted in a cancelled cycle or an ended component
//	epochs    no leader's write carries a lower epoch than one before it, or none, or one that never
//	          took over; who is refused has the lower one
//	ends      each cycle starts and ends once, with its last outcome and the status that follows from
//	          its records; nothing happens in it after that; the state agrees
//	journal   no record was taken out, and the corrections of the clock follow each other
//	counters  the counters of flows and cycles are equal to the node records, to the cycles there are,
//	          and to what the journal counted; those of joins to what the nodes' ends make of their edges
//	state     every flow, cycle and node stands where the journal left it; what the journal has is there;
//	          every lease, timer, offer and listed cycle names something that needs it, and every node
//	          under way has what carries it on
//
// # Looking at what moves
//
// The state is looked at only when the end of the range is open, and while the
// cluster works. Every transition writes a record in the same step, so what was read
// between two readings of the journal is one picture of each flow and each cycle that
// the second reading does not name; the others are read again, and counted as moving
// when they never stand still. A few moves leave no record (a part of an archive, an
// entry that is acted on, a counter of a spread in parts), so a finding counts only
// when four looks in a row, some tenths of a second in all, show the same.
//
// # What can't be seen
//
// A record that is taken out, doubled, altered or moved is found wherever a later
// record or the state depends on it. Nothing depends on what only tells (suspect, lost,
// declined, refused, fenced, repair, recovery), on a second takeover of the same epoch,
// or on the first records of all; that one of these was taken out a real server tells by
// itself (XINFO STREAM: the newest id ever deleted), the embedded one does not. A
// journal that was deleted and written anew as a whole, in agreement with the state, is
// a sound journal. Before the oldest grid of a flow that its definition remembers, gaps
// between slots are not seen, but its counters are, as far as the journal has everything of the flow: from its first
// revision on.
//
// A flow whose state was lost counts anew; it is known by its revision being activated
// again, and its counters are not held against what the journal had before.
//
// Ids are Redis TIME, the ledger's clock is that and a correction. Order is taken from
// ids alone; that something came ahead of its time is judged by the time of its id and
// the correction that stood then, which is never before the ledger's time.
//
// A journal is capped, so a range usually begins in the middle of something. What
// began before the range is left out of the checks that need its beginning, and
// counted as partial. A cycle whose plan is not kept any more is checked without
// it, and counted as unplanned; so is one of a flow that was removed since, even
// when another flow of that id has a plan of that number.
//
// Redis that loses its last writes loses the journal of them as well, so what is
// left is a sound history. Two traces remain: a claim that a heartbeat brings back
// (it is granted "again" and exempt from what was stopped meanwhile, since it was
// granted before), and a refused heartbeat of a claim that the journal does not
// have. The first are counted as restored; the second is held against
// at-most-once nodes alone, as a claim that may have started them. A third is an epoch
// whose takeover was lost, and that another followed before it could take over again:
// it is excused when the journal says that Redis was restarted. A fourth is half a script,
// which Redis may keep when its file was cut in the middle: a state without its record.
// The leader repairs what follows from it; a cycle with such a repair, in a journal
// that tells of a restart of Redis, is not held to records that can be missing, and
// counted as torn.
//
// Three records may come when the node, or the cycle, has ended: the broker's
// confirmation of an offer, a heartbeat's refusal, and the removal of the cycle.
// Whether a handler was started under a claim that was handed back is not in the
// journal, and neither are the once-keys, but for what was done about them, nor
// what an edge carried.
//
// # Memory
//
// An audit remembers running cycles, one small record per flow, the last 100,000
// ended cycles and half a million of their nodes. What comes late in one that is
// forgotten is not judged, and its nodes are compared with its counters alone.
// When the journal loses records at its beginning before they were read, the
// audit begins anew.
package audit
