//go:build !failpoint

package failpoint

import "testing"

// A normal build has no failpoints, whatever the environment says.
func TestNothingHappens(t *testing.T) {
	t.Setenv("STATION_FAILPOINT", "before-step")
	if Enabled {
		t.Error("failpoints are enabled without their tag")
	}
	Before("step")
	After("step")
}
