package topology_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/topology"
)

const ticking = "flow_id: ticks\nschedule_type: periodic\ninterval_seconds: 0.1\nnodes: [{id: a, type: log, parameters: {message: hello}}]\nedges: []\n"

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (c *cluster) tell(t *testing.T, id string) topology.Member {
	t.Helper()
	all := c.Members()
	i := slices.IndexFunc(all, func(m topology.Member) bool { return m.ID == id })
	if i < 0 {
		t.Fatalf("no %s among %v", id, all)
	}
	return all[i]
}

// until waits until seen, looking every few milliseconds.
func (c *cluster) until(t *testing.T, what string, seen func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			t.Fatalf("not seen: %s", what)
		}
	}
}

// A killed leader resigns nothing: its key stays until the successor proves it dead. It
// comes back under its id and at its address, and leads no more.
func TestAKilledLeaderIsSucceededAndComesBack(t *testing.T) {
	log := &lines{}
	c := start(t, topology.Config{LeaseTTL: 5 * time.Second, Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})})
	if _, err := topology.Register(c.ctx, c.client, []topology.Document{{Name: "ticks", Text: []byte(ticking)}}); err != nil {
		t.Fatal(err)
	}
	c.await(t, "ticks", 2)
	old, epoch := c.leader(t)
	address := c.tell(t, old).Address
	if err := c.Kill(old); err != nil {
		t.Fatal(err)
	}
	before := len(log.String())
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		t.Errorf("%s still listens: %v", old, conn.Close())
	}
	if err := c.Kill(old); err == nil || !strings.Contains(err.Error(), "is killed") {
		t.Errorf("killed twice: %v", err)
	}
	c.until(t, "another leader", func() bool {
		out, err := c.client.Cluster(c.ctx)
		return err == nil && out.Leader != nil && out.Leader.ID != old && out.Leader.Epoch > epoch
	})
	c.until(t, "the successor deletes the key that the dead one left", func() bool {
		return strings.Contains(log.String(), "the key of a dead coordinator")
	})
	flow, err := c.client.Flow(c.ctx, "ticks")
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= flow.LatestCycle+3; n++ {
		if s := c.await(t, "ticks", n); s.Status != "completed" {
			t.Errorf("cycle %d: %s, %s", n, s.Status, s.Error)
		}
	}
	if text := log.String()[before:]; strings.Contains(text, " coordinator="+old) {
		t.Errorf("the dead one speaks:\n%s", text)
	}
	if err := c.Start(c.ctx, old); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(c.ctx, c.client); err != nil {
		t.Fatal(err)
	}
	if m := c.tell(t, old); m.State != topology.Running || m.Starts != 2 || m.Address != address {
		t.Errorf("came back as %+v, at first at %s", m, address)
	}
	if now, _ := c.leader(t); now == old {
		t.Errorf("%s leads again", old)
	}
	if proof, err := c.client.Verify(c.ctx, client.VerifyOptions{}); err != nil || !proof.Clean {
		t.Errorf("%+v, %v", proof, err)
	}
}

// A killed worker hands nothing back: what it ran is lost with it and run again
// elsewhere.
func TestAKilledWorkerLosesWhatItRuns(t *testing.T) {
	c := start(t, topology.Config{Coordinators: 1})
	doc := "flow_id: slow\nschedule_type: manual\nnodes: [{id: a, type: delay, parameters: {duration: 1s}}]\nedges: []\n"
	if _, err := topology.Register(c.ctx, c.client, []topology.Document{{Name: "slow", Text: []byte(doc)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.StartCycle(c.ctx, "slow", ""); err != nil {
		t.Fatal(err)
	}
	var first string
	c.until(t, "the node runs", func() bool {
		node, err := c.client.Node(c.ctx, "slow", 1, "a")
		if err == nil && node.Status == "running" {
			first = node.Worker
		}
		return first != ""
	})
	if err := c.Kill(first); err != nil {
		t.Fatal(err)
	}
	if s := c.await(t, "slow", 1); s.Status != "completed" {
		t.Errorf("%s, %s", s.Status, s.Error)
	}
	node, err := c.client.Node(c.ctx, "slow", 1, "a")
	if err != nil || node.Worker == first || node.Attempt != 2 || node.Lost != 1 {
		t.Errorf("killed %s; %+v, %v", first, node, err)
	}
	if err := c.Start(c.ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(c.ctx, c.client); err != nil {
		t.Fatal(err)
	}
}

func TestThePortForFaults(t *testing.T) {
	ln, err := topology.ListenFaults(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, topology.Config{Faults: ln, Coordinators: 1})
	url := "http://" + ln.Addr().String() + "/faults"
	call := func(method, body string, change func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(c.ctx, method, url, bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Close = true
		if change != nil {
			change(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	var list struct {
		APIs    []string          `json:"apis"`
		Members []topology.Member `json:"members"`
	}
	if status, text := call(http.MethodGet, "", nil); status != http.StatusOK || json.Unmarshal([]byte(text), &list) != nil || len(list.APIs) != 1 || len(list.Members) != 3 {
		t.Fatalf("%d, %s", status, text)
	}
	for _, x := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"action":"kill","member":"worker-1"}`, http.StatusOK, `"state":"killed"`},
		{`{"action":"stop","member":"worker-1"}`, http.StatusConflict, "worker-1 is killed, not running"},
		{`{"action":"start","member":"worker-1"}`, http.StatusOK, `"starts":2`},
		{`{"action":"start","member":"worker-1"}`, http.StatusConflict, "worker-1 is running, not stopped or killed"},
		{`{"action":"stop","member":"worker-2"}`, http.StatusOK, `"state":"stopped"`},
		{`{"action":"start","member":"worker-2"}`, http.StatusOK, `"state":"running"`},
		{`{"action":"kill","member":"worker-9"}`, http.StatusNotFound, "worker-9"},
		{`{"action":"kill","member":"redis"}`, http.StatusUnprocessableEntity, "scripts/cluster up"},
		{`{"action":"pause","member":"worker-1"}`, http.StatusUnprocessableEntity, "scripts/cluster up"},
		{`{"action":"kill","who":"worker-1"}`, http.StatusBadRequest, "who"},
		{`kill`, http.StatusBadRequest, "body"},
	} {
		if status, text := call(http.MethodPost, x.body, nil); status != x.status || !strings.Contains(text, x.want) {
			t.Errorf("%s: %d, %s; want %d, %s", x.body, status, text, x.status, x.want)
		}
	}
	kill := `{"action":"kill","member":"worker-1"}`
	if status, _ := call(http.MethodPost, kill, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); status != http.StatusUnsupportedMediaType {
		t.Errorf("plain text: %d", status)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if status, _ := call(method, kill, func(r *http.Request) { r.Host = "example.org:80" }); status != http.StatusForbidden {
			t.Errorf("%s by another name: %d", method, status)
		}
	}
	if m := c.tell(t, "worker-1"); m.State != topology.Running {
		t.Errorf("a refused kill left %+v", m)
	}
	if err := c.Await(c.ctx, c.client); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsAreServedOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:7009", "example.org:7009", "7009"} {
		if ln, err := topology.ListenFaults(t.Context(), address); err == nil {
			t.Errorf("%s is taken: %v", address, ln.Close())
		} else if !strings.Contains(err.Error(), "127.0.0.1:7009") {
			t.Errorf("%s: no remedy in: %v", address, err)
		}
	}
}
