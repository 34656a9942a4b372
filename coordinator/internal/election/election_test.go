package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

func TestOneLeaderOfThree(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	h := a.elected()
	b := start(t, c, p, "b")
	b.members(2)
	d := start(t, c, p, "d")
	line := d.members(3)

	var order []string
	for _, m := range line {
		order = append(order, m.ID)
	}
	if diff := cmp.Diff([]string{"a", "b", "d"}, order); diff != "" {
		t.Errorf("line of succession (-want +got):\n%s", diff)
	}
	if line[1].Presence != b.presence || b.presence == "" {
		t.Errorf("presence of b is %q", line[1].Presence)
	}
	for _, s := range []*station{a, b, d} {
		until(t, "everybody knows the leader", func() bool {
			l, err := s.Leader(background(t))
			return err == nil && l.ID == "a" && l.Epoch == h.Epoch && !l.Since.IsZero()
		})
	}
	if !h.Trusted() || time.Until(h.Deadline()) > testTTL {
		t.Errorf("trusted %v, deadline in %v", h.Trusted(), time.Until(h.Deadline()))
	}
	if term, ok := a.Leading(); !ok || term.Epoch != h.Epoch {
		t.Errorf("Leading: %v %v", term, ok)
	}
	b.notElected()
	d.notElected()
}

func TestHandOverAtEndOfContextIsFast(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	const ttl = 10 * patience // a hand-over that waited for the lease would not be seen
	a := startWith(t, c, p, "a", ttl)
	first := a.elected()
	b := startWith(t, c, p, "b", ttl)
	b.members(2)

	began := time.Now()
	a.stop()
	second := b.elected()
	t.Logf("hand-over took %v", time.Since(began))
	receive(t, first.ctx.Done(), "the old leader's context ends")
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	if first.Trusted() {
		t.Error("a term that is over is trusted")
	}
	if !errors.Is(context.Cause(first.ctx), ErrStopped) {
		t.Errorf("cause is %v", context.Cause(first.ctx))
	}
	receive(t, a.ended, "Run of a returns")
	a.ended <- nil
	b.members(1)
}

// A leader that is asked to end names its successor, who need not wait until the old
// one's leading function has returned.
func TestSuccessorIsNamed(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	const ttl = 10 * patience
	a := startWith(t, c, p, "a", ttl)
	first := a.electedSlow()
	b := startWith(t, c, p, "b", ttl)
	b.members(2)
	d := startWith(t, c, p, "d", ttl)
	d.members(3)
	line := a.members(3)
	lease := leaseOf(t, c, line[1].Key)

	transferred := make(chan error, 1)
	go func() { transferred <- a.Transfer(background(t)) }()
	second := b.elected()
	if second.Epoch != ids.Epoch(line[1].Revision) {
		t.Errorf("epoch is %d, the key's create revision %d", second.Epoch, line[1].Revision)
	}
	receive(t, first.ctx.Done(), "the old leader's context ends")
	if !errors.Is(context.Cause(first.ctx), ErrResigned) {
		t.Errorf("cause is %v", context.Cause(first.ctx))
	}
	if first.Trusted() {
		t.Error("a term that is over is trusted")
	}
	if now := leaseOf(t, c, line[1].Key); now != lease {
		t.Errorf("the successor's key hangs on lease %x, not %x", now, lease)
	}
	until(t, "everybody sees the successor lead", func() bool {
		l, err := d.Leader(background(t))
		return err == nil && l.ID == "b" && l.Epoch == second.Epoch && l.Presence == b.presence
	})
	if left := d.members(2); left[0].ID != "b" || left[1].ID != "d" {
		t.Errorf("line is %s, %s", left[0].ID, left[1].ID)
	}
	select {
	case err := <-transferred:
		t.Errorf("Transfer returns %v before the leading function has", err)
	default:
	}
	close(first.finish)
	if err := receive(t, transferred, "Transfer returns"); err != nil {
		t.Errorf("Transfer: %v", err)
	}
	if again := d.members(3); again[2].ID != "a" {
		t.Errorf("%s is last in line, not a", again[2].ID)
	}
	d.notElected()
	if second.ctx.Err() != nil {
		t.Error("the successor lost its term")
	}

	// And on, at the end of a process.
	b.stop()
	if third := d.elected(); third.Epoch <= second.Epoch {
		t.Errorf("epoch %d follows %d", third.Epoch, second.Epoch)
	}
}

// What the leader does not know fails its transaction: then it ends first, and the next
// one looks.
func TestSuccessorIsNotNamedInVain(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	const base = 1 << 40
	a := start(t, c, p, "a")
	a.elected()
	b := start(t, c, p, "b")
	line := b.members(2)
	a.members(2)
	if _, err := c.Put(background(t), p+"/epoch_base", strconv.Itoa(base)); err != nil {
		t.Fatal(err)
	}
	if err := a.Transfer(background(t)); err != nil {
		t.Errorf("Transfer: %v", err)
	}
	if second := b.elected(); second.Epoch != ids.Epoch(base+line[1].Revision) {
		t.Errorf("epoch is %d, want %d + %d", second.Epoch, base, line[1].Revision)
	}
}

// An epoch in a candidate's key that it would not have given itself makes it no leader.
func TestWrongEpochInOwnKey(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.elected()
	b := start(t, c, p, "b")
	line := b.members(2)
	a.members(2)
	if _, err := c.Put(background(t), line[1].Key, `{"id":"b","epoch":1}`, clientv3.WithIgnoreLease()); err != nil {
		t.Fatal(err)
	}
	if err := a.Transfer(background(t)); err != nil {
		t.Errorf("Transfer: %v", err)
	}
	if second := b.elected(); second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
}

func TestKeyDeletedUnderLeader(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.electedSlow()
	b := start(t, c, p, "b")
	b.members(2)

	var l Leader
	until(t, "b sees the leader", func() (ok bool) {
		var err error
		l, err = b.Leader(background(t))
		return err == nil
	})
	if deleted, err := b.deleteKey(background(t), l.Key, l.Revision); err != nil || !deleted {
		t.Fatalf("delete the leader's key: %v %v", deleted, err)
	}
	receive(t, first.ctx.Done(), "the leader hears of the loss")
	if first.Trusted() {
		t.Error("a deposed term is trusted")
	}
	if !errors.Is(context.Cause(first.ctx), ErrDeposed) {
		t.Errorf("cause is %v", context.Cause(first.ctx))
	}
	second := b.elected()
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	// a must not stand again before its leading function has returned.
	if line := b.members(1); line[0].ID != "b" {
		t.Errorf("%s stands, not b", line[0].ID)
	}
	close(first.finish)
	if line := b.members(2); line[1].ID != "a" {
		t.Errorf("%s is second in line, not a", line[1].ID)
	}
	// The same deletion again hits nobody.
	if deleted, err := b.deleteKey(background(t), l.Key, l.Revision); err != nil || deleted {
		t.Errorf("second deletion: %v %v", deleted, err)
	}
	if second.ctx.Err() != nil {
		t.Error("the second leader lost its term")
	}
	b.stop()
	if third := a.elected(); third.Epoch <= second.Epoch {
		t.Errorf("epoch %d follows %d", third.Epoch, second.Epoch)
	}
}

func TestKeyReplacedUnderLeader(t *testing.T) {
	c := connect(t)
	a := start(t, c, prefix(t, c), "a")
	first := a.elected()
	key := a.members(1)[0].Key
	// The value stays, the lease goes: nobody would notice a dead leader.
	resp, err := c.Get(background(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(background(t), key, string(resp.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	receive(t, first.ctx.Done(), "the leader hears of the loss")
	if second := a.elected(); second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
}

func leaseOf(t *testing.T, c *clientv3.Client, key string) clientv3.LeaseID {
	t.Helper()
	resp, err := c.Get(background(t), key)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("get %s: %v, %v", key, resp, err)
	}
	return clientv3.LeaseID(resp.Kvs[0].Lease)
}

func TestLeaseRevokedUnderLeader(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.elected()
	b := start(t, c, p, "b")
	line := b.members(2)
	if _, err := c.Revoke(background(t), leaseOf(t, c, line[0].Key)); err != nil {
		t.Fatal(err)
	}
	receive(t, first.ctx.Done(), "the leader hears of the loss")
	if second := b.elected(); second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	if line := b.members(2); line[0].ID != "b" || line[1].ID != "a" {
		t.Errorf("line is %s, %s", line[0].ID, line[1].ID)
	}
}

// A candidate whose lease goes while it waits must not lead when the leader's
// key goes next, since another candidate is older by then.
func TestLeaseRevokedUnderCandidate(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.elected()
	b := start(t, c, p, "b")
	b.members(2)
	d := start(t, c, p, "d")
	line := d.members(3)

	// Both at one revision: the moment in which a phantom would be born.
	_, err := c.Txn(background(t)).Then(clientv3.OpDelete(line[0].Key), clientv3.OpDelete(line[1].Key)).Commit()
	if err != nil {
		t.Fatal(err)
	}
	second := d.elected()
	if second.Epoch != ids.Epoch(line[2].Revision) {
		t.Errorf("epoch is %d, the key's create revision %d", second.Epoch, line[2].Revision)
	}
	receive(t, first.ctx.Done(), "a hears of the loss")
	d.members(3)

	line = d.members(3)
	if _, err := c.Revoke(background(t), leaseOf(t, c, line[1].Key)); err != nil {
		t.Fatal(err)
	}
	until(t, "the revoked candidate stands again", func() bool {
		again := d.members(3)
		return again[2].ID == line[1].ID
	})
	if second.ctx.Err() != nil {
		t.Error("the leader lost its term")
	}
	a.notElected()
	b.notElected()
}

func TestLeadReturns(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	var last ids.Epoch
	for i := range 3 {
		h := a.elected()
		if h.Epoch <= last {
			t.Errorf("epoch %d follows %d", h.Epoch, last)
		}
		last = h.Epoch
		if i == 0 {
			h.fail <- nil
		} else {
			h.fail <- errors.New("fenced")
		}
		receive(t, h.ctx.Done(), "the context ends with the term")
		if h.Trusted() {
			t.Error("a term that is over is trusted")
		}
	}
	h := a.elected()
	b := start(t, c, p, "b")
	b.members(2)
	h.fail <- errors.New("fenced")
	if other := b.elected(); other.Epoch <= h.Epoch {
		t.Errorf("epoch %d follows %d", other.Epoch, h.Epoch)
	}
}

func TestResignAndTransfer(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	first := a.elected()
	a.members(1)
	if err := a.Transfer(background(t)); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("Transfer alone: %v", err)
	}
	if first.ctx.Err() != nil {
		t.Fatal("a refused transfer ended the term")
	}
	if err := a.Resign(background(t)); err != nil {
		t.Errorf("Resign: %v", err)
	}
	if !errors.Is(context.Cause(first.ctx), ErrResigned) {
		t.Errorf("cause is %v", context.Cause(first.ctx))
	}
	second := a.elected()
	b := start(t, c, p, "b")
	a.members(2)
	b.members(2)
	if err := b.Transfer(background(t)); !errors.Is(err, ErrNotLeading) {
		t.Errorf("Transfer by a follower: %v", err)
	}
	if err := b.Resign(background(t)); !errors.Is(err, ErrNotLeading) {
		t.Errorf("Resign by a follower: %v", err)
	}
	began := time.Now()
	if err := a.Transfer(background(t)); err != nil {
		t.Errorf("Transfer: %v", err)
	}
	third := b.elected()
	t.Logf("transfer took %v", time.Since(began))
	if first.Epoch >= second.Epoch || second.Epoch >= third.Epoch {
		t.Errorf("epochs %d, %d, %d do not rise", first.Epoch, second.Epoch, third.Epoch)
	}
	a.notElected()
}

func TestEpochBase(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	const base = 1 << 40
	if _, err := c.Put(background(t), p+"/epoch_base", "not a number"); err != nil {
		t.Fatal(err)
	}
	a := start(t, c, p, "a")
	until(t, "the candidate has given up once", func() bool {
		resp, err := c.Get(background(t), p+"/election/", clientv3.WithPrefix())
		return err == nil && len(resp.Kvs) == 1 && resp.Kvs[0].Version == 1
	})
	a.notElected()
	if _, err := c.Put(background(t), p+"/epoch_base", strconv.Itoa(base)); err != nil {
		t.Fatal(err)
	}
	h := a.elected()
	until(t, "the leader's key is seen", func() bool { _, err := a.Leader(background(t)); return err == nil })
	l, err := a.Leader(background(t))
	if err != nil {
		t.Fatal(err)
	}
	if h.Epoch != ids.Epoch(base+l.Revision) {
		t.Errorf("epoch is %d, want %d + %d", h.Epoch, base, l.Revision)
	}
}

func TestForeignKeysInTheLine(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	for i, v := range []string{"", "garbage", `{"id":"ghost","epoch":7}`} { // none has a lease
		if _, err := c.Put(background(t), fmt.Sprintf("%s/election/%d", p, i), v); err != nil {
			t.Fatal(err)
		}
	}
	a := start(t, c, p, "a")
	a.elected()
	if line := a.members(1); line[0].ID != "a" {
		t.Errorf("member is %q", line[0].ID)
	}
}

func TestWatchHoldsTheLatest(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a := start(t, c, p, "a")
	views, cancel := a.Watch()
	defer cancel()
	a.elected()
	b := start(t, c, p, "b")
	b.members(2)
	a.members(2)
	a.stop()
	b.elected()
	// Nothing was read so far: one look shows the present, not the history.
	receive(t, a.ended, "Run of a returns")
	a.ended <- nil
	v := receive(t, views, "a view")
	select {
	case <-views:
		t.Error("more than one view was kept")
	default:
	}
	if len(v.Members) == 0 {
		t.Error("the latest view shows no members")
	}
	bviews, bcancel := b.Watch()
	defer bcancel()
	until(t, "b's view shows b alone", func() bool {
		select {
		case v = <-bviews:
		default:
		}
		return v.Leader != nil && v.Leader.ID == "b" && len(v.Members) == 1
	})
}

func TestRunOnce(t *testing.T) {
	c := connect(t)
	a := start(t, c, prefix(t, c), "a")
	a.elected()
	if err := a.Run(background(t), a.lead); !errors.Is(err, ErrRunning) {
		t.Errorf("second Run: %v", err)
	}
}

func TestConfigListsAllFaults(t *testing.T) {
	_, err := New(Config{ID: "no good", Info: json.RawMessage("{"), TTL: time.Millisecond, Margin: time.Second})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Client", "Prefix", "ID", "Info", "TTL", "Margin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
}

func TestZeroTermIsNotTrusted(t *testing.T) {
	if (Term{Epoch: 1}).Trusted() || !(Term{}).Deadline().IsZero() {
		t.Error("a term without a lease is trusted")
	}
}
