package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

const (
	// atOnce is how many flows are read between two looks at the journal.
	atOnce = 16
	// rounds is how often what moves, or looks wrong, is looked at.
	rounds = 12
	// proofs is how many looks in a row a finding needs: some moves (an archive's
	// parts, an entry that is acted on) are in no record.
	proofs = 4
)

// item is what is compared in one piece: a flow's own numbers (uuid Nil), or a cycle.
type item struct {
	flow ids.FlowID
	uuid uuid.UUID
}

// suspect is what looks wrong, whatever the numbers in its message.
type suspect struct {
	item
	rule, key, format string
	node              ids.NodeID
}

// looking is how far the comparison has come.
type looking struct {
	done     map[item]bool // looked at while they stood still, and sound
	open     map[item]bool // met, and not yet judged
	suspects map[suspect]*evidence
	first    bool
}

// evidence is how many looks in a row have shown a suspect, and what the last one saw.
type evidence struct {
	Violation
	looks int
}

// compare compares what the ledger holds with what the journal told. A cluster in
// motion is read piece by piece: what moved while it was read, as the journal shows,
// is looked at again, and so is what looks wrong.
func (c *checker) compare(books Books) error {
	if !c.bounds.To.IsZero() {
		return nil // what was true then is not what is there now
	}
	if err := c.head(books); err != nil {
		return err
	}
	left, err := c.known(books)
	if err != nil {
		return err
	}
	k := &looking{done: map[item]bool{}, open: map[item]bool{}, suspects: map[suspect]*evidence{}, first: true}
	batch := atOnce
	for round := 0; len(left) > 0 && round < rounds; round++ {
		if err := c.wait(round); err != nil {
			return err
		}
		var again []ids.FlowID
		for part := range slices.Chunk(left, batch) {
			more, err := c.look(books, part, k)
			if err != nil {
				return err
			}
			again = append(again, more...)
		}
		left, batch, k.first = again, 1, false // what is read in less time moves less
	}
	for i := range k.open {
		if !k.done[i] {
			c.proof.Moving++
		}
	}
	for _, e := range k.suspects {
		if e.looks >= proofs {
			c.report(e.Violation)
		}
	}
	slices.SortStableFunc(c.found, func(a, b finding) int {
		return cmp.Or(ledger.CompareIDs(a.Record, b.Record), cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Cycle, b.Cycle), cmp.Compare(a.Key+a.Message, b.Key+b.Message))
	})
	return nil
}

// wait lets some time pass between two rounds.
func (c *checker) wait(round int) error {
	if round == 0 {
		return nil
	}
	t := time.NewTimer(min(20*time.Millisecond<<round, 250*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return fmt.Errorf("audit: %w", c.ctx.Err())
	}
}

// report adds a violation that no record shows.
func (c *checker) report(v Violation) {
	c.proof.Broken++
	if len(c.found) < MaxViolations {
		c.found = append(c.found, finding{Violation: v})
	}
}

// look reads some flows and compares what stood still meanwhile. It returns those
// that have to be looked at again.
func (c *checker) look(books Books, flows []ids.FlowID, k *looking) (again []ids.FlowID, err error) {
	if err := c.follow(); err != nil {
		return nil, err
	}
	l, err := c.lists(books)
	if err != nil {
		return nil, err
	}
	states, err := books.Flows(c.ctx, flows)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	sheets := make([]*sheet, len(flows))
	for i, f := range flows {
		s := &sheet{id: f, lists: l}
		if state, ok := states[f]; ok {
			s.state = &state
		}
		if err := c.read(books, s); err != nil {
			return nil, err
		}
		sheets[i] = s
	}
	c.moved = map[item]bool{}
	err = c.follow()
	moved := c.moved
	c.moved = nil
	if err != nil {
		return nil, err
	}
	for _, s := range sheets {
		wanted := c.judge(&examiner{audit: c, sheet: s, quiet: !k.first}, item{flow: s.id}, moved, k, (*examiner).flow)
		for i := range s.cycles {
			p := &s.cycles[i]
			if p.Status == deleting || s.state == nil || s.state.Status == deleting {
				continue
			}
			e := &examiner{audit: c, sheet: s, quiet: !k.first}
			if c.judge(e, item{s.id, p.UUID}, moved, k, func(e *examiner) { e.cycle(p) }) {
				wanted = true
			}
		}
		if wanted {
			again = append(again, s.id)
		}
	}
	return again, nil
}

// judge examines one item, if it stood still, and reports whether it has to be
// looked at again.
func (c *checker) judge(e *examiner, i item, moved map[item]bool, k *looking, examine func(*examiner)) bool {
	if k.done[i] {
		return false
	}
	if k.first {
		k.open[i] = true
	}
	if moved[i] {
		return k.open[i]
	}
	examine(e)
	now := map[suspect]bool{}
	wanted := false
	for _, f := range e.found {
		f.suspect.item = i
		if now[f.suspect] {
			continue
		}
		now[f.suspect] = true
		x := k.suspects[f.suspect]
		if x == nil {
			x = &evidence{}
			k.suspects[f.suspect] = x
		}
		x.Violation = f.Violation
		x.looks++
		wanted = wanted || x.looks < proofs
	}
	for s, x := range k.suspects {
		if s.item == i && !now[s] && x.looks < proofs {
			delete(k.suspects, s)
		}
	}
	k.done[i] = !wanted
	return wanted
}
