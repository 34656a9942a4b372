// Package audit checks the journal against the guarantees: it reads what the
// scripts wrote about every transition and reports each record that breaks a
// promise, or counts what it checked when none does. It trusts nothing but the
// journal and the plans; it shares no code with the scripts that write it.
//
// # What is checked
//
//	slots     each slot of a flow is accounted once: started or skipped, in rising order;
//	          on a known grid also without a gap
//	inputs    a node becomes ready only after every node it has an edge from was counted
//	claims    one live claim at a time: a claim is granted only after the one before it ended
//	outcomes  each node of a cycle is counted once, and never runs again after that
//	once      an at-most-once node is claimed at most once
//	epochs    no leader's write carries a lower epoch than one before it
//	ends      each cycle ends once, after as many outcomes as it has nodes, and nothing happens in it after
//
// A journal is capped, so a range usually begins in the middle of something.
// What began before the range is left out of the checks that need its beginning,
// and counted as such.
package audit
