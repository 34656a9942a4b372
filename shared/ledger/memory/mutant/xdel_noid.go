//go:build mutant_xdel_noid

package mutant

// Active is the mutant of this build.
const Active = XdelNoID
