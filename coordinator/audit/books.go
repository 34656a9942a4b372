package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// Books is the state that the ledger holds beside its journal.
type Books interface {
	FlowBooks
	CycleBooks
	ListBooks
}

// FlowBooks is what the ledger holds of flows, and of itself.
type FlowBooks interface {
	Head(ctx context.Context) (ledger.Head, error)
	FlowIDs(ctx context.Context) ([]ids.FlowID, error)
	Flows(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]ledger.FlowState, error)
	CycleNumbers(ctx context.Context, f ids.FlowID) ([]int64, error)
}

// CycleBooks is what it holds of cycles.
type CycleBooks interface {
	Cycles(ctx context.Context, f ids.FlowID, limit int, before int64) ([]ledger.CycleState, error)
	Nodes(ctx context.Context, f ids.FlowID, n int64, nodes []ids.NodeID) ([]ledger.NodeState, error)
	Joins(ctx context.Context, f ids.FlowID, n int64) (map[string]string, error)
	ReadArchive(ctx context.Context, f ids.FlowID, n int64) (ledger.Archive, error)
}

// ListBooks is what it lists of all flows.
type ListBooks interface {
	Active(ctx context.Context) ([]ledger.ActiveCycle, error)
	Leases(ctx context.Context) ([]ledger.Lease, error)
	Timers(ctx context.Context, count int64) ([]ledger.Timer, error)
	Outbox(ctx context.Context, after string, count int64) ([]ledger.Entry, error)
}

// sheet is what was read of one flow, at about one time.
type sheet struct {
	id      ids.FlowID
	state   *ledger.FlowState // nil = the ledger does not know it
	numbers []int64
	cycles  []entry
	lists   *lists
}

// entry is what was read of one cycle.
type entry struct {
	ledger.CycleState
	plan  *plan.Plan
	nodes []ledger.NodeState // nil = could not be listed
	joins map[string]string
}

// lists are the entries that name cycles and nodes, by cycle.
type lists struct {
	active map[uuid.UUID]int
	leases map[uuid.UUID]map[ids.NodeID]bool
	timers map[uuid.UUID][]ledger.Timer
	outbox map[uuid.UUID][]ledger.Entry
	of     map[ids.FlowID]map[uuid.UUID]int64 // every cycle that anything names, and its number
}

// known lists the flows in question: those the ledger or the journal knows, or
// that an entry names.
func (c *checker) known(books Books) ([]ids.FlowID, error) {
	if c.bounds.Flow != "" {
		return []ids.FlowID{c.bounds.Flow}, nil
	}
	all := map[ids.FlowID]bool{}
	found, err := books.FlowIDs(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, f := range found {
		all[f] = true
	}
	for f := range c.flows {
		all[f] = true
	}
	l, err := c.lists(books)
	if err != nil {
		return nil, err
	}
	for f := range l.of {
		all[f] = true
	}
	delete(all, "")
	return slices.Sorted(maps.Keys(all)), nil
}

// follow reads what the journal has gained.
func (c *checker) follow() error {
	whole, err := c.readOn()
	if err == nil && !whole {
		return ErrTrimmed
	}
	return err
}

func (c *checker) lists(books Books) (*lists, error) {
	l := &lists{active: map[uuid.UUID]int{}, leases: map[uuid.UUID]map[ids.NodeID]bool{}, timers: map[uuid.UUID][]ledger.Timer{},
		outbox: map[uuid.UUID][]ledger.Entry{}, of: map[ids.FlowID]map[uuid.UUID]int64{}}
	name := func(f ids.FlowID, u uuid.UUID, n int64) {
		if l.of[f] == nil {
			l.of[f] = map[uuid.UUID]int64{}
		}
		if u != uuid.Nil {
			l.of[f][u] = n
		}
	}
	open, err := books.Active(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, a := range open {
		l.active[a.UUID]++
		name(a.Flow, a.UUID, a.Cycle)
	}
	leases, err := books.Leases(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, x := range leases {
		if l.leases[x.UUID] == nil {
			l.leases[x.UUID] = map[ids.NodeID]bool{}
		}
		l.leases[x.UUID][x.Node] = true
		name(x.Flow, x.UUID, x.Cycle)
	}
	timers, err := books.Timers(c.ctx, 1_000_000)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, t := range timers {
		l.timers[t.UUID] = append(l.timers[t.UUID], t)
		name(t.Flow, t.UUID, t.Cycle)
	}
	for after := ""; ; {
		part, err := books.Outbox(c.ctx, after, page)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		for _, e := range part {
			after = e.ID
			l.outbox[e.UUID] = append(l.outbox[e.UUID], e)
			name(e.Flow, e.UUID, e.Cycle)
		}
		if len(part) < page {
			return l, nil
		}
	}
}

// read fills a sheet with the flow's cycles.
func (c *checker) read(books Books, s *sheet) (err error) {
	if s.numbers, err = books.CycleNumbers(c.ctx, s.id); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if len(s.numbers) == 0 {
		return nil
	}
	states, err := books.Cycles(c.ctx, s.id, len(s.numbers), 0)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, state := range states {
		p := entry{CycleState: state}
		if state.Status == "deleting" {
			s.cycles = append(s.cycles, p)
			continue
		}
		if p.plan, err = c.plan(s.id, state.Revision); err != nil {
			return err
		}
		switch {
		case state.Archived || state.Archiving:
			a, err := books.ReadArchive(c.ctx, s.id, state.Cycle)
			if err != nil && !errors.Is(err, ledger.ErrGone) {
				return fmt.Errorf("audit: %w", err)
			}
			p.nodes = a.Nodes
		case p.plan != nil:
			names := make([]ids.NodeID, len(p.plan.Nodes))
			for i := range p.plan.Nodes {
				names[i] = p.plan.Nodes[i].ID
			}
			if p.nodes, err = books.Nodes(c.ctx, s.id, state.Cycle, names); err != nil {
				return fmt.Errorf("audit: %w", err)
			}
			if p.joins, err = books.Joins(c.ctx, s.id, state.Cycle); err != nil {
				return fmt.Errorf("audit: %w", err)
			}
		}
		s.cycles = append(s.cycles, p)
	}
	return nil
}

// head compares the ledger's own numbers.
func (c *checker) head(books Books) error {
	h, err := books.Head(c.ctx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if h.Written > 0 && h.Written == h.Kept && h.Deleted == "" {
		c.clock.learn(c, 0) // the journal is whole, and so is the story of the clock
	}
	c.clock.learn(c, h.Clock.Add.Milliseconds())
	c.now = h.Clock.Now().UnixMilli()
	c.proof.Checked[Journal]++
	if h.Written > h.Kept {
		c.proof.Removed = h.Written - h.Kept
	}
	if h.Deleted != "" && (c.bounds.From.IsZero() || ledger.CompareIDs(h.Deleted, fmt.Sprintf("%d-0", c.bounds.From.UnixMilli())) >= 0) {
		v := Violation{Rule: Journal, Record: h.Deleted, Message: "records were taken out of the journal; this is the newest of them"}
		v.At = recordTime(h.Deleted)
		c.report(v)
	}
	if err := c.follow(); err != nil {
		return err
	}
	// What takes over writes the number first.
	if h, err = books.Head(c.ctx); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	c.proof.Checked[State]++
	if h.Epoch < c.epoch {
		c.report(Violation{Rule: State, Key: "epoch", Message: fmt.Sprintf("the ledger's epoch is %d; the journal has epoch %d", h.Epoch, c.epoch)})
	}
	if add := h.Clock.Add.Milliseconds(); add != c.clock.add {
		if err := c.follow(); err != nil {
			return err
		}
		if add != c.clock.add {
			c.report(Violation{Rule: State, Key: "clock", Message: fmt.Sprintf("the clock's correction is %d ms; the journal has %d ms", add, c.clock.add)})
		}
	}
	return nil
}

func recordTime(id string) time.Time {
	left, _, _ := strings.Cut(id, "-")
	ms, _ := strconv.ParseInt(left, 10, 64)
	return time.UnixMilli(ms).UTC()
}
