package election

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// proxy passes TCP bytes on until it is silenced: then it holds them back and
// keeps the connections open, as a network does that drops packets.
type proxy struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex
	open   sync.Cond // signals that silent or closed changed
	silent bool
	closed bool
	conns  []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: strings.TrimPrefix(target, "http://")}
	p.open.L = &p.mu
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { p.copy(in, out) })
		p.wg.Go(func() { p.copy(out, in) })
	}
}

func (p *proxy) copy(dst, src net.Conn) {
	defer func() { _ = dst.Close(); _ = src.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		for p.silent && !p.closed {
			p.open.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
	p.open.Broadcast()
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	p.closed = true
	p.open.Broadcast()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// When etcd falls silent the term turns untrusted before the lease can run out,
// goes on all the same, and is lost only when etcd is back and says so.
func TestSilentEtcd(t *testing.T) {
	direct := connect(t)
	p := prefix(t, direct)
	px := newProxy(t, endpoints(t)[0])
	a := start(t, connect(t, "http://"+px.ln.Addr().String()), p, "a")
	first := a.elected()
	lease := leaseOf(t, direct, a.members(1)[0].Key)
	b := start(t, direct, p, "b")
	b.members(2)

	px.silence(true)
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
	px.silence(false)
	receive(t, first.ctx.Done(), "the old leader hears of the loss")
	if line := b.members(2); line[0].ID != "b" || line[1].ID != "a" {
		t.Errorf("line is %s, %s", line[0].ID, line[1].ID)
	}
}

// A silence shorter than the lease changes nothing but the trust.
func TestShortSilence(t *testing.T) {
	direct := connect(t)
	p := prefix(t, direct)
	px := newProxy(t, endpoints(t)[0])
	a, err := New(Config{Client: connect(t, "http://"+px.ln.Addr().String()), Prefix: p, ID: "a", TTL: 4 * time.Second, Margin: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, a)
	h := s.elected()
	px.silence(true)
	until(t, "the term turns untrusted", func() bool { return !h.Trusted() })
	px.silence(false)
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
	px := newProxy(t, endpoints(t)[0])
	a := start(t, connect(t, "http://"+px.ln.Addr().String()), prefix(t, direct), "a")
	h := a.elected()
	key := a.members(1)[0].Key
	px.silence(true)
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
