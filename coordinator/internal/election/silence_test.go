package election

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/relay"
)

// between returns a relay on the way to etcd, and its URL.
func between(t *testing.T) (*relay.Relay, string) {
	t.Helper()
	r, err := relay.Listen(relay.Options{Target: strings.TrimPrefix(endpoints(t)[0], "http://")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, "http://" + r.Addr()
}

// silence makes a relay pass nothing while its connections stay open, as a network
// does that drops packets.
func silence(t *testing.T, r *relay.Relay, on bool) {
	t.Helper()
	var f relay.Faults
	if on {
		f.Hole = relay.Both
	}
	if err := r.Set(f); err != nil {
		t.Fatal(err)
	}
}

// When etcd falls silent the term turns untrusted before the lease can run out,
// goes on all the same, and is lost only when etcd is back and says so.
func TestSilentEtcd(t *testing.T) {
	direct := connect(t)
	p := prefix(t, direct)
	px, url := between(t)
	a := start(t, connect(t, url), p, "a")
	first := a.elected()
	lease := leaseOf(t, direct, a.members(1)[0].Key)
	b := start(t, direct, p, "b")
	b.members(2)

	silence(t, px, true)
	cut, deadline := time.Now(), first.Deadline()
	if deadline.After(cut.Add(testTTL)) {
		t.Errorf("trusted until %v after the cut; the TTL is %v", deadline.Sub(cut), testTTL)
	}
	until(t, "the term turns untrusted", func() bool { return !first.Trusted() })
	ttl, err := direct.TimeToLive(background(t), lease)
	if err != nil {
		t.Fatal(err)
	}
	if ttl.TTL < 0 {
		t.Error("the lease ran out before trust did")
	}
	if first.ctx.Err() != nil {
		t.Fatal("mere silence ended the term")
	}
	second := b.elected()
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	if first.Trusted() {
		t.Error("the old term is trusted while another leads")
	}
	if first.ctx.Err() != nil {
		t.Error("the old leader cannot know yet, but its term ended")
	}
	silence(t, px, false)
	receive(t, first.ctx.Done(), "the old leader hears of the loss")
	if line := b.members(2); line[0].ID != "b" || line[1].ID != "a" {
		t.Errorf("line is %s, %s", line[0].ID, line[1].ID)
	}
}

// A silence shorter than the lease changes nothing but the trust.
func TestShortSilence(t *testing.T) {
	direct := connect(t)
	p := prefix(t, direct)
	px, url := between(t)
	a, err := New(Config{Client: connect(t, url), Prefix: p, ID: "a", TTL: 4 * time.Second, Margin: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, a)
	h := s.elected()
	silence(t, px, true)
	until(t, "the term turns untrusted", func() bool { return !h.Trusted() })
	silence(t, px, false)
	until(t, "the term is trusted again", func() bool {
		if h.ctx.Err() != nil {
			t.Fatalf("the term ended: %v", context.Cause(h.ctx))
		}
		return h.Trusted()
	})
	if h.ctx.Err() != nil {
		t.Error("the term ended")
	}
}

// A process that cannot reach etcd at all must still stop when told to.
func TestStopWhileSilent(t *testing.T) {
	direct := connect(t)
	px, url := between(t)
	a := start(t, connect(t, url), prefix(t, direct), "a")
	h := a.elected()
	key := a.members(1)[0].Key
	silence(t, px, true)
	began := time.Now()
	a.stop()
	receive(t, h.ctx.Done(), "the term ends")
	receive(t, a.ended, "Run returns")
	a.ended <- nil
	if took := time.Since(began); took > 30*testTTL {
		t.Errorf("stop took %v", took)
	}
	until(t, "the lease runs out by itself", func() bool {
		resp, err := direct.Get(background(t), key, clientv3.WithCountOnly())
		return err == nil && resp.Count == 0
	})
}
