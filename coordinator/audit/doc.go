// Package audit checks the journal against the guarantees: it reads what the
// scripts wrote about every transition and reports each record that breaks a
// promise, or counts what it checked when none does. It trusts nothing but the
// journal and the plans; it shares no code with the scripts that write it.
//
// # What is checked
//
//	slots     each slot of a flow is accounted once, started or skipped, in rising order and not
//	          ahead of time; on a known grid also without a gap; cycles are numbered one by one
//	inputs    a node becomes ready, or is skipped, only after every node it has an edge from was
//	          counted, and becomes ready only if its join rule can be met by what they came to
//	offers    each dispatch answers one offer of that attempt; only what is offered is held or declined
//	claims    one live claim at a time: a claim is granted to an offered attempt, and only its token
//	          fails, is revoked, is suspected or is counted; a live claim is never refused
//	attempts  attempts rise by one, and only after a failure that is retried, a loss or a hand-back;
//	          a retry comes when it is due and is one that the plan allows
//	outcomes  each node of a cycle is counted once, and nothing happens to it after that; success
//	          needs a claim, a node that nobody ran needs a reason
//	once      an at-most-once node is counted with at most one claim under which it may have been
//	          started: the others were handed back, revoked without a once-key, or met another's key
//	holds     no claim is granted and no cycle starts while the flow is paused or being deleted, and
//	          none is granted in a cancelled cycle or an ended component
//	epochs    no leader's write carries a lower epoch than one before it, or none
//	ends      each cycle starts and ends once, with its last outcome and the status that follows from
//	          its records; nothing happens in it after that
//
// # What can't be seen
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
// at-most-once nodes alone, as a claim that may have started them.
//
// Three records may come when the node, or the cycle, has ended: the broker's
// confirmation of an offer, a heartbeat's refusal, and the removal of the cycle.
// Whether a handler was started under a claim that was handed back is not in the
// journal, and neither are the once-keys, but for what was done about them, nor
// what an edge carried.
//
// # Memory
//
// An audit remembers running cycles, one small record per flow, and the last
// 100,000 ended cycles. What comes late in one that is forgotten is not judged.
// When the journal loses records at its beginning before they were read, the
// audit begins anew.
package audit
