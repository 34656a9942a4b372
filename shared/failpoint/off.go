//go:build !failpoint

package failpoint

// Enabled says whether this build has failpoints.
const Enabled = false

// Before marks the moment before a step. It does nothing in this build.
func Before(string) {}

// After marks the moment after a step. It does nothing in this build.
func After(string) {}
