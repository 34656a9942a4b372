package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/internal/catalog"
	"github.com/tradingflow/weather-station/coordinator/internal/flow"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
	"github.com/tradingflow/weather-station/coordinator/internal/mirror"
	"github.com/tradingflow/weather-station/coordinator/internal/registry"
	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/nodetype"
)

// Register checks a document and makes it a flow's new revision. The same
// document again changes nothing.
func (c *Control) Register(ctx context.Context, body []byte, o httpapi.RegisterOptions) (api.Registered, error) {
	known, err := c.knownTypes(ctx)
	if err != nil {
		return api.Registered{}, err
	}
	var warnings []api.Fault
	opts := flow.Options{FlowID: o.FlowID, Interval: o.Interval, CheckExpr: c.cfg.CheckExpr}
	if !o.AllowUnknownTypes {
		opts.KnownType = known
	}
	doc, err := flow.Parse(body, opts)
	if err != nil {
		return api.Registered{}, invalid(err)
	}
	if o.AllowUnknownTypes {
		for i, n := range doc.Nodes {
			if !known(n.Type, n.Pool) {
				warnings = append(warnings, api.Fault{Code: flow.CodeUnknownNodeType, Place: fmt.Sprintf("nodes[%d].type", i),
					Message: fmt.Sprintf("no live worker of pool %q carries type %q: node %q waits until one does", n.Pool, n.Type, string(n.ID))})
			}
		}
	}
	if o.ValidateOnly {
		return c.validated(doc, warnings), nil
	}
	rec, changed, err := c.store(ctx, doc, o.AllowUnknownTypes)
	if err != nil {
		return api.Registered{}, translate(err, flowName(doc.ID))
	}
	c.cfg.Registry.Refresh(doc.ID)
	f := c.cfg.Registry.Get(doc.ID)
	if f == nil || f.Record.UID != rec.UID || f.Record.Revision < rec.Revision { // a watch that is behind: what was stored counts
		if f, err = registry.Build(rec); err != nil {
			return api.Registered{}, err
		}
		f.Paused = c.cfg.Catalog.Paused(doc.ID)
	}
	err = again(ctx, func() error { return c.of(doc.ID).Mirror.Install(ctx, f) }, ledger.ErrDeleting, ledger.ErrNoPlan)
	if err != nil && !errors.Is(err, ledger.ErrStale) { // a newer revision has won meanwhile
		return api.Registered{}, translate(err, flowName(doc.ID))
	}
	if c.cfg.Registry.Get(doc.ID) == nil { // deleted meanwhile, perhaps before it was installed
		if err := c.of(doc.ID).Mirror.One(ctx, doc.ID); err != nil && !errors.Is(err, mirror.ErrUnconfirmed) {
			return api.Registered{}, translate(err, flowName(doc.ID))
		}
	}
	if changed {
		c.cfg.Log.Info("flow registered", "flow", doc.ID, "revision", rec.Revision, "nodes", len(doc.Nodes), "edges", len(doc.Edges))
	}
	out := c.registered(doc, warnings)
	out.Revision, out.Created, out.Changed = rec.Revision, changed && rec.Revision == 1, changed
	if f.Paused {
		out.Status = api.FlowPaused
	} else if next, ok := f.Schedule.Next(rec.UpdatedAt, rec.Anchor); ok {
		out.NextSlot = api.At(next)
	}
	return out, nil
}

// store writes the document into the catalog. A changed schedule begins a new
// grid now; an unchanged one keeps its own.
func (c *Control) store(ctx context.Context, doc *flow.Flow, allowUnknown bool) (catalog.Record, bool, error) {
	now, err := c.of(doc.ID).Ledger.Now(ctx)
	if err != nil {
		return catalog.Record{}, false, err
	}
	return c.cfg.Catalog.Put(ctx, doc.ID, func(old *catalog.Record) (catalog.Record, error) {
		rec := catalog.Record{Document: doc.Canonical(), Anchor: now, AllowUnknown: allowUnknown}
		if old == nil {
			return rec, nil
		}
		rec.Past = old.Past
		before, err := flow.Parse(old.Document, flow.Options{})
		switch {
		case err != nil: // of another version; where its slots lay can't be told
		case before.Schedule() == doc.Schedule():
			rec.Anchor = old.Anchor
		default:
			rec.Past = append(slices.Clone(old.Past), catalog.Era{Spec: before.Schedule(), Anchor: old.Anchor})
			rec.Past = rec.Past[max(0, len(rec.Past)-catalog.MaxPast):]
		}
		return rec, nil
	})
}

// knownTypes returns the test for types that some worker can run.
func (c *Control) knownTypes(ctx context.Context) (func(nodeType, pool string) bool, error) {
	workers, err := c.workers(ctx)
	if err != nil {
		return nil, translate(err, "workers")
	}
	builtin := nodetype.Always()
	return func(nodeType, pool string) bool {
		if slices.Contains(builtin, nodeType) {
			return true
		}
		for _, w := range workers {
			if w.Pool == pool && slices.Contains(w.Types, nodeType) {
				return true
			}
		}
		return false
	}, nil
}

func invalid(err error) error {
	var bad *flow.Invalid
	if !errors.As(err, &bad) {
		return err
	}
	out := &httpapi.Invalid{Faults: make([]api.Fault, len(bad.Faults))}
	for i, f := range bad.Faults {
		out.Faults[i] = api.Fault{Code: f.Code, Place: f.Place, Message: f.Message}
	}
	return out
}

func (c *Control) registered(doc *flow.Flow, warnings []api.Fault) api.Registered {
	s := doc.Structure()
	return api.Registered{
		FlowID: string(doc.ID), Status: api.FlowActive, ScheduleType: string(doc.ScheduleType),
		Components: nested(s.Components), EntryNodes: texts(s.Entries), Warnings: warnings,
	}
}

// validated is the answer to a check without storing.
func (c *Control) validated(doc *flow.Flow, warnings []api.Fault) api.Registered {
	out := c.registered(doc, warnings)
	out.Validated, out.Created, out.Changed = true, true, true
	if old := c.cfg.Registry.Get(doc.ID); old != nil {
		out.Created, out.Revision = false, old.Record.Revision
		out.Changed = string(old.Record.Document()) != string(doc.Canonical())
		if old.Paused {
			out.Status = api.FlowPaused
		}
	}
	return out
}

func texts(in []ids.NodeID) []string {
	out := make([]string, len(in))
	for i, n := range in {
		out[i] = string(n)
	}
	return out
}

func nested(in [][]ids.NodeID) [][]string {
	out := make([][]string, len(in))
	for i := range in {
		out[i] = texts(in[i])
	}
	return out
}
