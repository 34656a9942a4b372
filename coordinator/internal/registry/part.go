package registry

import (
	"context"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Part is a registry's flows of one partition: it knows no other flow.
type Part struct {
	r    *Registry
	mine func(f ids.FlowID) bool
}

// Part returns the flows that are mine.
func (r *Registry) Part(mine func(f ids.FlowID) bool) *Part { return &Part{r, mine} }

// Get is Registry.Get.
func (p *Part) Get(id ids.FlowID) *Flow {
	if !p.mine(id) {
		return nil
	}
	return p.r.Get(id)
}

// Fresh is Registry.Fresh.
func (p *Part) Fresh(ctx context.Context, id ids.FlowID) (*Flow, error) {
	if !p.mine(id) {
		return nil, nil //nolint:nilnil // no flow of this partition and no error
	}
	return p.r.Fresh(ctx, id)
}

// Confirm is Registry.Confirm.
func (p *Part) Confirm(ctx context.Context, flows []ids.FlowID) (map[ids.FlowID]bool, error) {
	out, err := p.r.Confirm(ctx, flows)
	for f := range out {
		out[f] = out[f] && p.mine(f)
	}
	return out, err
}

// Refresh is Registry.Refresh.
func (p *Part) Refresh(id ids.FlowID) {
	if p.mine(id) {
		p.r.Refresh(id)
	}
}

// Names is Registry.Names.
func (p *Part) Names() []ids.FlowID {
	all := p.r.Names()
	out := all[:0]
	for _, id := range all {
		if p.mine(id) {
			out = append(out, id)
		}
	}
	return out
}

// Each is Registry.Each.
func (p *Part) Each(do func(f *Flow) bool) {
	p.r.Each(func(f *Flow) bool { return !p.mine(f.Record.Flow) || do(f) })
}

// Near is Registry.Near.
func (p *Part) Near(from, until time.Time) ([]*Flow, bool) { return p.r.nearOf(from, until, p.mine) }

// Len is how many flows there are in all partitions.
func (p *Part) Len() int { return p.r.Len() }

// List is Registry.List.
func (p *Part) List() []*Flow {
	all := p.r.List()
	out := all[:0]
	for _, f := range all {
		if p.mine(f.Record.Flow) {
			out = append(out, f)
		}
	}
	return out
}

// Subscribe is Registry.Subscribe.
func (p *Part) Subscribe() *Subscription {
	s := p.r.Subscribe()
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	s.mine = p.mine
	return s
}
