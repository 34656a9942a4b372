package election

import (
	"errors"
	"testing"
)

// The leader names the last in line: who stood between stands again behind it, and
// nobody else is elected.
func TestHandToNamesTheOneAskedFor(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.elected()
	b := start(t, c, p, "b")
	b.members(2)
	d := start(t, c, p, "d")
	d.members(3)
	a.members(3)
	if err := a.HandTo(background(t), "nobody"); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("to nobody: %v", err)
	}
	if err := a.HandTo(background(t), a.Instance()); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("to itself: %v", err)
	}
	if err := b.HandTo(background(t), d.Instance()); !errors.Is(err, ErrNotLeading) {
		t.Errorf("by a follower: %v", err)
	}
	if first.ctx.Err() != nil {
		t.Fatal("a refused hand-over ended the term")
	}
	if err := a.HandTo(background(t), d.Instance()); err != nil {
		t.Fatalf("HandTo: %v", err)
	}
	second := d.elected()
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	until(t, "all stand behind the new leader", func() bool {
		line, err := d.Members(background(t))
		return err == nil && len(line) == 3 && line[0].ID == "d"
	})
	a.notElected()
	b.notElected()
	if second.ctx.Err() != nil {
		t.Error("the successor lost its term")
	}
}

// The electors of a process share one instance, and one presence address that another
// of them serves.
func TestElectorsOfOneProcess(t *testing.T) {
	c := connect(t)
	for name, want := range map[string]struct {
		cfg      Config
		presence string
	}{
		"shared":           {Config{Instance: "i", PresenceAddress: "h:1"}, "h:1"},
		"shared, nowhere":  {Config{Instance: "i"}, ""},
		"alone, no socket": {Config{PresenceAddress: "h:1"}, ""},
	} {
		cfg := want.cfg
		cfg.Client, cfg.Prefix, cfg.ID = c, "x", "a"
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if e.presence != want.presence || cfg.Instance != "" && e.Instance() != cfg.Instance || e.Instance() == "" {
			t.Errorf("%s: presence %q, instance %q", name, e.presence, e.Instance())
		}
	}
}
