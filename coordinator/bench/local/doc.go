// Package local knows a cluster of this machine that scripts/cluster runs: where
// its parts answer, and how much CPU time each has used. It also starts one of its
// own for a benchmark, and ends it. It needs /proc.
package local
