package topology

import "testing"

// TestALifeThatEndsWhileItIsKilled counts as killed, whatever its goroutines met: they lose
// their connections before they are told.
func TestALifeThatEndsWhileItIsKilled(t *testing.T) {
	l := &life{dying: make(chan struct{}), killed: make(chan struct{})}
	l.finishKill() // nobody kills it
	close(l.dying)
	killed := make(chan bool)
	go func() {
		l.finishKill()
		killed <- l.wasKilled()
	}()
	close(l.killed)
	if !<-killed {
		t.Error("it is taken for a life that failed")
	}
}
