package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// history writes the journal of a made-up cluster. It keeps to the rules by
// which the ledger's scripts refuse, and picks freely among what they allow.
type history struct {
	pick    func(n int) int // 0 to n-1
	ms      int64
	seq     int
	tokens  int
	epoch   ids.Epoch
	records []ledger.Record
	flows   []*hFlow
}

type hFlow struct {
	id       ids.FlowID
	life     int // how often it was registered anew
	status   string
	revision int64
	plans    map[int64]*plan.Plan
	anchor   int64
	step     int64 // 0 = manual
	lastSlot int64
	last     int64 // cycle
	cycles   []*hCycle
}

type hCycle struct {
	flow   *hFlow
	n      int64
	uuid   uuid.UUID
	plan   *plan.Plan
	status string // running | cancelling | deleting | an end
	cause  string
	over   map[int]string
	nodes  map[ids.NodeID]*hNode
	posted []offerEntry
	decide []ids.NodeID
	sweeps []int // components, -1 = all
	count  int
	bad    bool
}

type offerEntry struct {
	node    ids.NodeID
	attempt int
}

type hNode struct {
	state            state
	attempt, retries int
	lost             int
	token            string
	due              int64
	live, dead, fail int
	started          bool // an at-most-once node whose claim is not handed back
}

// met is why a node whose once-key is another's is counted.
const met = "once-key of another"

// begins is the first instant of every history, ms.
const begins = 1_700_000_000_000

func newHistory(pick func(int) int) *history {
	h := &history{pick: pick, ms: begins}
	h.takeover()
	for i := range 1 + pick(3) {
		f := &hFlow{id: ids.FlowID(fmt.Sprintf("flow%d", i))}
		h.flows = append(h.flows, f)
		h.register(f)
	}
	return h
}

func (h *history) one(in int) bool { return h.pick(in) == 0 }

func (h *history) jot(op string, c *hCycle, f *hFlow, node ids.NodeID, attempt int, epoch ids.Epoch, token, detail string) {
	if h.one(3) {
		h.ms += int64(h.pick(40))
	}
	h.seq++
	r := ledger.Record{ID: fmt.Sprintf("%d-%d", h.ms, h.seq), At: time.UnixMilli(h.ms).UTC(), Op: op, Epoch: epoch, Token: token, Detail: detail}
	if f != nil {
		r.Flow = f.id
	}
	if c != nil {
		r.Flow, r.Cycle, r.UUID = c.flow.id, c.n, c.uuid
	}
	r.Node, r.N = node, attempt
	h.records = append(h.records, r)
}

func (h *history) takeover() {
	h.epoch += ids.Epoch(1 + h.pick(3))
	h.jot("takeover", nil, nil, "", 0, h.epoch, "", "")
}

// register makes a flow, or gives it a new revision.
func (h *history) register(f *hFlow) {
	if f.status == "" {
		f.life++
		f.revision, f.plans, f.last, f.lastSlot, f.step = 0, map[int64]*plan.Plan{}, 0, 0, 0
		f.status = "active"
	}
	f.revision++
	f.plans[f.revision] = h.plan(f)
	if f.revision == 1 || h.one(3) { // another schedule
		f.anchor, f.step = h.ms, int64(h.pick(3))*700
		if h.one(2) && f.lastSlot != 0 { // the old one's slot meets the change
			h.ms += 5
			f.lastSlot = h.ms
			h.jot("slot_skipped", nil, f, "", 0, h.epoch, "", fmt.Sprintf("%d %d 1 overlap", h.ms, h.ms))
		}
	}
	h.jot("flow_activated", nil, f, "", 0, 0, "", fmt.Sprint(f.revision))
}

func (h *history) plan(f *hFlow) *plan.Plan {
	p := &plan.Plan{Flow: f.id, Revision: f.revision, OnFailure: []string{plan.FailCycle, plan.Continue}[h.pick(2)]}
	count := 1 + h.pick(6)
	group := make([]int, count)
	for i := range count {
		group[i] = i
		n := plan.Node{ID: ids.NodeID(fmt.Sprintf("n%d_%d", i, f.life)), Delivery: plan.AtLeastOnce,
			Join: []string{plan.AllSuccess, plan.AllSuccess, plan.AllDone, plan.OneSuccess, plan.NoneFailed}[h.pick(5)]}
		if h.one(4) {
			n.Delivery = plan.AtMostOnce
		}
		n.Retry = plan.Retry{Enabled: h.pick(3) > 0, MaxRetries: h.pick(3)}
		p.Nodes = append(p.Nodes, n)
		for j := range i {
			for range []int{0, 0, 1, 1, 2}[h.pick(5)] {
				p.Nodes[i].Inputs = append(p.Nodes[i].Inputs, plan.Input{Source: p.Nodes[j].ID})
				a, b := group[i], group[j]
				for k := range group {
					if group[k] == a {
						group[k] = min(a, b)
					} else if group[k] == b {
						group[k] = min(a, b)
					}
				}
			}
		}
	}
	for i := range p.Nodes {
		p.Nodes[i].Component = group[i]
	}
	return p.Seal()
}

// steps lets n things happen.
func (h *history) steps(n int) *history {
	does := []func(*hFlow){h.slot, h.slot, h.trigger, h.dispatch, h.dispatch, h.claim, h.claim, h.claim, h.claim, h.settle, h.settle, h.settle, h.settle,
		h.settle, h.leads, h.leads, h.leads, h.retry, h.again, h.noise, h.control, h.remove}
	for range n {
		does[h.pick(len(does))](h.flows[h.pick(len(h.flows))])
	}
	return h
}

// slot accounts what is due.
func (h *history) slot(f *hFlow) {
	if f.step == 0 || f.status == "deleting" || f.status == "" {
		return
	}
	h.ms += int64(h.pick(1500))
	next := f.anchor
	if f.lastSlot >= f.anchor {
		next = f.anchor + ((f.lastSlot-f.anchor)/f.step+1)*f.step
	}
	if next > h.ms {
		return
	}
	if due := (h.ms-next)/f.step + 1; due > 1 && h.one(2) { // a catch-up: the older ones are skipped
		last := next + (due-2)*f.step
		h.jot("slot_skipped", nil, f, "", 0, h.epoch, "", fmt.Sprintf("%d %d %d missed", next, last, due-1))
		next = last + f.step
	}
	f.lastSlot = next
	if f.status == "paused" || h.one(4) {
		h.jot("slot_skipped", nil, f, "", 0, h.epoch, "", fmt.Sprintf("%d %d 1 overlap", next, next))
		return
	}
	h.start(f, fmt.Sprint(next), h.epoch)
}

func (h *history) trigger(f *hFlow) {
	if f.status == "active" {
		h.start(f, "manual", 0)
	}
}

func (h *history) start(f *hFlow, what string, epoch ids.Epoch) {
	f.last++
	c := &hCycle{flow: f, n: f.last, plan: f.plans[f.revision], status: "running", over: map[int]string{}, nodes: map[ids.NodeID]*hNode{}}
	c.uuid = uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s %d %d", f.id, f.life, c.n))
	f.cycles = append(f.cycles, c)
	h.jot("cycle_start", c, f, "", 0, epoch, "", fmt.Sprintf("%s %d", what, f.revision))
	for i := range c.plan.Nodes {
		c.nodes[c.plan.Nodes[i].ID] = &hNode{state: unseen}
	}
	for _, n := range c.plan.Entries() {
		h.ready(c, n.ID, 1, epoch, "entry")
	}
}

func (h *history) ready(c *hCycle, id ids.NodeID, attempt int, epoch ids.Epoch, why string) {
	n := c.nodes[id]
	n.state, n.attempt, n.token = ready, attempt, ""
	c.posted = append(c.posted, offerEntry{id, attempt})
	h.jot("ready", c, nil, id, attempt, epoch, "", why)
}

// among picks a cycle's node in a state, if there is one.
func (h *history) among(f *hFlow, want state, open ...string) (*hCycle, *plan.Node, *hNode) {
	type spot struct {
		c *hCycle
		p *plan.Node
	}
	var all []spot
	for _, c := range f.cycles {
		if !slices.Contains(open, c.status) {
			continue
		}
		for i := range c.plan.Nodes {
			if c.nodes[c.plan.Nodes[i].ID].state == want {
				all = append(all, spot{c, &c.plan.Nodes[i]})
			}
		}
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	s := all[h.pick(len(all))]
	return s.c, s.p, s.c.nodes[s.p.ID]
}

// dispatch confirms an offer, however late.
func (h *history) dispatch(f *hFlow) {
	for _, c := range f.cycles {
		if len(c.posted) > 0 {
			i := h.pick(len(c.posted))
			e := c.posted[i]
			c.posted = slices.Delete(c.posted, i, i+1)
			h.jot("dispatch", c, nil, e.node, e.attempt, h.epoch, "", "")
			return
		}
	}
}

func (h *history) claim(f *hFlow) {
	c, p, n := h.among(f, ready, "running")
	if c == nil || c.over[p.Component] != "" {
		return
	}
	switch f.status {
	case "paused":
		h.jot("held", c, nil, p.ID, n.attempt, 0, "", "paused")
	case "active":
		h.grant(c, p, n, "")
	}
}

func (h *history) grant(c *hCycle, p *plan.Node, n *hNode, detail string) {
	h.tokens++
	n.state, n.token, n.started = running, fmt.Sprintf("token-%d", h.tokens), true
	h.jot("claim", c, nil, p.ID, n.attempt, 0, n.token, detail)
}

// again is a heartbeat after Redis has lost the grant.
func (h *history) again(f *hFlow) {
	if c, p, n := h.among(f, ready, "running"); c != nil && !n.started && h.one(3) {
		h.grant(c, p, n, "again, by heartbeat")
	}
}

// settle ends a claim.
func (h *history) settle(f *hFlow) {
	c, p, n := h.among(f, running, "running", "cancelling", "deleting")
	if c == nil {
		return
	}
	open := c.status == "running" && c.over[p.Component] == ""
	ending := "cancelled"
	if c.status == "running" {
		ending = "stopped"
	}
	once := p.Delivery == plan.AtMostOnce
	switch h.pick(8) {
	case 0: // fail
		switch {
		case open && !once && p.Retry.Enabled && n.retries < p.Retry.MaxRetries:
			n.retries++
			n.due = h.ms + int64(h.pick(300)) + 40
			h.jot("retry_later", c, nil, p.ID, n.attempt, 0, n.token, fmt.Sprint(n.due))
			n.state, n.token = retrying, ""
		case open:
			h.fails(c, p, n, 0, "failed", "retryable")
		default:
			h.finish(c, p.ID, 0, n.token, ending+": permanent")
		}
	case 1: // expire
		n.lost++
		keyless := once && h.one(2)
		why := "lease over"
		if keyless {
			why += ", no once-key"
		}
		h.jot("expire", c, nil, p.ID, n.attempt, h.epoch, n.token, why)
		switch {
		case !open:
			h.finish(c, p.ID, h.epoch, n.token, ending+": lost")
		case once && !keyless:
			h.fails(c, p, n, h.epoch, "unknown", "lost")
		case n.lost > 2:
			h.fails(c, p, n, h.epoch, "failed", "lost")
		default:
			n.started = false
			h.ready(c, p.ID, n.attempt+1, h.epoch, "lost")
		}
	case 2: // release
		if open && (!once || h.one(2)) {
			n.started = false
			h.ready(c, p.ID, n.attempt+1, 0, "released")
		}
	case 4: // it meets the once-key of a claim that Redis forgot
		if !once {
			break
		}
		if h.one(2) {
			h.tokens++
			h.jot("lost", c, nil, p.ID, n.attempt, 0, fmt.Sprintf("token-%d", h.tokens), "")
		}
		if open {
			h.fails(c, p, n, 0, "unknown", met)
		} else {
			h.finish(c, p.ID, 0, n.token, ending+": "+met)
		}
	case 3: // stop
		h.finish(c, p.ID, 0, n.token, "stopped: enough")
		if open {
			c.over[p.Component] = "stopped"
			c.sweeps = append(c.sweeps, p.Component)
		}
	default:
		h.finish(c, p.ID, 0, n.token, "succeeded")
		if open {
			h.spread(c, p.ID, 0, "success")
		}
	}
	h.close(c)
}

// fails counts a final failure.
func (h *history) fails(c *hCycle, p *plan.Node, n *hNode, epoch ids.Epoch, status, why string) {
	h.finish(c, p.ID, epoch, n.token, status+": "+why)
	if c.plan.OnFailure == plan.Continue {
		h.spread(c, p.ID, epoch, "failed")
		return
	}
	c.over[p.Component] = "failed"
	c.sweeps = append(c.sweeps, p.Component)
}

func (h *history) finish(c *hCycle, id ids.NodeID, epoch ids.Epoch, token, detail string) {
	n := c.nodes[id]
	n.state = final
	c.count++
	status, _, _ := cutDetail(detail)
	c.bad = c.bad || status == "failed" || status == "unknown"
	h.jot("outcome", c, nil, id, n.attempt, epoch, token, detail)
}

// spread gives every out-edge its result: "success" leaves it to chance.
func (h *history) spread(c *hCycle, id ids.NodeID, epoch ids.Epoch, result string) {
	for i := range c.plan.Nodes {
		p := &c.plan.Nodes[i]
		n, touched := c.nodes[p.ID], false
		for _, in := range p.Inputs {
			if in.Source != id {
				continue
			}
			touched = true
			switch {
			case result == "failed":
				n.fail++
			case result == "dead" || h.one(5):
				n.dead++
			default:
				n.live++
			}
		}
		if !touched || n.state != unseen || n.live+n.dead+n.fail < len(p.Inputs) {
			continue
		}
		if p.Join == plan.AllSuccess && n.live == len(p.Inputs) {
			h.ready(c, p.ID, 1, epoch, "inputs")
		} else {
			c.decide = append(c.decide, p.ID)
		}
	}
}

// leads is a leader's act on the outbox: decide a join, or sweep.
func (h *history) leads(f *hFlow) {
	for _, c := range f.cycles {
		if c.status != "running" && c.status != "cancelling" {
			continue
		}
		if len(c.sweeps) > 0 && h.one(2) {
			k := c.sweeps[0]
			c.sweeps = c.sweeps[1:]
			status := "cancelled: " + c.cause
			if k >= 0 {
				status = map[string]string{"stopped": "stopped: component_stopped", "failed": "skipped: upstream_failed"}[c.over[k]]
			}
			for i := range c.plan.Nodes {
				p := &c.plan.Nodes[i]
				if n := c.nodes[p.ID]; (k < 0 || p.Component == k) && n.state != final && n.state != running {
					h.finish(c, p.ID, h.epoch, "", status)
				}
			}
			h.close(c)
			return
		}
		if len(c.decide) > 0 && c.status == "running" {
			id := c.decide[0]
			c.decide = c.decide[1:]
			h.decides(c, c.plan.Node(id), c.nodes[id])
			return
		}
	}
}

func (h *history) decides(c *hCycle, p *plan.Node, n *hNode) {
	if c.over[p.Component] != "" || n.state != unseen {
		return
	}
	runs := map[string]bool{plan.AllDone: true, plan.OneSuccess: n.live > 0, plan.NoneFailed: n.fail == 0 && n.live > 0}[p.Join]
	switch {
	case runs:
		h.ready(c, p.ID, 1, h.epoch, "")
		return
	case n.fail > 0:
		h.finish(c, p.ID, h.epoch, "", "skipped: upstream_failed")
		h.spread(c, p.ID, h.epoch, "failed")
	default:
		h.finish(c, p.ID, h.epoch, "", "skipped: not_taken")
		h.spread(c, p.ID, h.epoch, "dead")
	}
	h.close(c)
}

func (h *history) close(c *hCycle) {
	if c.count < len(c.plan.Nodes) || (c.status != "running" && c.status != "cancelling") {
		return
	}
	c.status = c.cause
	if c.cause == "" {
		c.status = "completed"
		if c.bad && c.plan.OnFailure != plan.Continue {
			c.status = "failed"
		}
	}
	var epoch ids.Epoch
	if last := h.records[len(h.records)-1]; last.Op == "outcome" {
		epoch = last.Epoch
	}
	if h.one(12) { // a torn script: the counters lack the last outcome until they are mended
		for range h.pick(3) {
			h.takeover()
		}
		epoch = h.epoch
		h.jot("repair", c, nil, "", 0, epoch, "", "counts")
	}
	h.jot("cycle_end", c, nil, "", 0, epoch, "", c.status)
}

func (h *history) retry(f *hFlow) {
	c, p, n := h.among(f, retrying, "running")
	if c == nil {
		return
	}
	if h.one(5) { // its timer was lost and is put back: it fires at once
		h.jot("repair", c, nil, p.ID, n.attempt, h.epoch, "", "timer")
	} else {
		h.ms = max(h.ms, n.due)
	}
	h.ready(c, p.ID, n.attempt+1, h.epoch, "retry")
}

// noise is what changes no state.
func (h *history) noise(f *hFlow) {
	open := []string{"running", "cancelling"}
	switch h.pick(7) {
	case 0:
		if c, p, n := h.among(f, running, open...); c != nil {
			h.jot("suspect", c, nil, p.ID, n.attempt, 0, n.token, "")
		}
	case 1:
		if c, p, n := h.among(f, ready, open...); c != nil {
			h.jot("declined", c, nil, p.ID, n.attempt, 0, "", "")
		}
	case 2:
		if c, p, n := h.among(f, ready, "running"); c != nil {
			h.ready(c, p.ID, n.attempt, h.epoch, "offer timer")
		}
	case 3:
		if c, p, n := h.among(f, ready, open...); c != nil {
			blocker := "no_worker"
			if i := slices.Index(c.posted, offerEntry{p.ID, n.attempt}); i >= 0 {
				c.posted = slices.Delete(c.posted, i, i+1)
			} else {
				blocker += ", again"
			}
			h.jot("held", c, nil, p.ID, n.attempt, h.epoch, "", blocker)
			if h.one(2) {
				h.ready(c, p.ID, n.attempt, h.epoch, "released")
			}
		}
	case 4: // an old claim's heartbeat
		if c, p, n := h.among(f, []state{ready, final, running}[h.pick(3)], "running", "cancelling", "completed", "failed"); c != nil && p.Delivery != plan.AtMostOnce {
			h.jot("lost", c, nil, p.ID, max(1, n.attempt), 0, "token-of-old", "")
		}
	case 5:
		if c, p, n := h.among(f, ready, "running"); c != nil {
			h.jot("repair", c, nil, p.ID, n.attempt, h.epoch, "", "offer")
			c.posted = append(c.posted, offerEntry{p.ID, n.attempt})
		}
	case 6:
		if c, _, _ := h.among(f, final, "running"); c != nil {
			h.jot("repair", c, nil, "", 0, h.epoch, "", "counts")
		}
		if f.status == "active" {
			h.jot("repair", nil, f, "", 0, h.epoch, "", "active")
		}
	}
}

// control is what users and the election do.
func (h *history) control(f *hFlow) {
	switch h.pick(6) {
	case 0:
		h.takeover()
	case 1:
		if f.status == "active" || f.status == "paused" {
			h.register(f)
		}
	case 2, 3:
		switch f.status {
		case "active":
			f.status = "paused"
			h.jot("flow_paused", nil, f, "", 0, 0, "", "")
		case "paused":
			f.status = "active"
			h.jot("flow_resumed", nil, f, "", 0, 0, "", "")
		}
	case 4:
		for _, c := range f.cycles {
			if c.status == "running" && h.one(2) {
				c.status, c.cause = "cancelling", "cancelled"
				epoch := ids.Epoch(0)
				if h.one(2) {
					c.cause, epoch = "timeout", h.epoch
				}
				c.sweeps = []int{-1}
				h.jot("cycle_cancel", c, nil, "", 0, epoch, "", c.cause)
				return
			}
		}
	case 5:
		if (f.status == "active" || f.status == "paused") && h.one(4) {
			f.status = "deleting"
			h.jot("flow_deleted", nil, f, "", 0, 0, "", "")
		}
	}
}

// remove removes an ended cycle, or goes on with the removal of a flow.
func (h *history) remove(f *hFlow) {
	for i, c := range f.cycles {
		was := c.status
		if open := was == "running" || was == "cancelling"; open && f.status != "deleting" {
			continue
		} else if open && h.one(2) { // a part of it first
			c.status = "deleting"
			return
		}
		h.jot("cycle_removed", c, nil, "", 0, h.epoch, "", was)
		f.cycles = slices.Delete(f.cycles, i, i+1)
		return
	}
	if f.status == "deleting" && len(f.cycles) == 0 {
		f.status = ""
		h.jot("flow_purged", nil, f, "", 0, h.epoch, "", "")
		if h.one(2) { // the leader died meanwhile; the next one does it again
			h.jot("flow_purged", nil, f, "", 0, h.epoch, "", "")
		}
		h.register(f)
	}
}

// source serves a journal, the plans of the flows as they are at its end, and
// their grids.
type source struct {
	records []ledger.Record
	plans   map[revision]*plan.Plan
	grids   map[ids.FlowID][2]int64
	trim    func(s *source) // before each reading; may be nil
}

func (h *history) source() *source {
	s := &source{records: slices.Clone(h.records), plans: map[revision]*plan.Plan{}, grids: map[ids.FlowID][2]int64{}}
	for _, f := range h.flows {
		for n, p := range f.plans {
			s.plans[revision{f.id, n}] = p
		}
		if f.step > 0 {
			s.grids[f.id] = [2]int64{f.anchor, f.step}
		}
	}
	return s
}

func (s *source) Journal(_ context.Context, after string, count int64) ([]ledger.Record, error) {
	if s.trim != nil {
		s.trim(s)
	}
	i := 0
	if after != "" {
		i, _ = slices.BinarySearchFunc(s.records, after, func(r ledger.Record, id string) int {
			if ledger.CompareIDs(r.ID, id) <= 0 {
				return -1
			}
			return 1
		})
	}
	return s.records[i:min(len(s.records), i+int(count))], nil
}

func (s *source) Plan(_ context.Context, f ids.FlowID, n int64) (*plan.Plan, error) {
	return s.plans[revision{f, n}], nil
}

func (s *source) Grid(f ids.FlowID) (Grid, bool) {
	g, ok := s.grids[f]
	return Grid{Anchor: time.UnixMilli(g[0]), Interval: time.Duration(g[1]) * time.Millisecond}, ok
}
