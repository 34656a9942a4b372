// Package ledgertest is the conformance suite of the ledger: what every server
// and every implementation behind package ledger has to do, verb by verb and
// refusal by refusal. A run that a refusal is said to leave untouched is checked
// by comparing every key before and after.
package ledgertest

import (
	"testing"
)

// Run checks a ledger. open gives each test an empty ledger (a prefix of its
// own) and cleans up after it.
func Run(t *testing.T, open func(t *testing.T) Ledger) {
	for _, group := range [][]testCase{chains, flows, starts, claims, directs, settles, fences, endings, recoveries, repairs, onces, removals, reads, clocks} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) { c.run(newKit(t, open(t))) })
		}
	}
}

type testCase struct {
	name string
	run  func(k *kit)
}
