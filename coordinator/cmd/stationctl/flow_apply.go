package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
)

// documentFlags are the flags of the commands that take flow documents.
type documentFlags struct {
	File              []string `short:"f" required:"" sep:"none" placeholder:"FILE|DIR|-" help:"A document as JSON or YAML, a directory of them, or - for standard input. May be repeated."`
	FlowID            string   `name:"flow-id" placeholder:"ID" help:"Id of the flow, for a document that carries none."`
	Interval          string   `placeholder:"30s" help:"Interval, for a document that carries none."`
	AllowUnknownTypes bool     `help:"Accept node types that no worker carries."`
}

type flowApplyCmd struct{ documentFlags }

func (flowApplyCmd) Help() string {
	return "A document equal to the stored one changes nothing. All documents are tried, and all faults are listed. More than a hundred documents are sent several at a time.\n\nExamples:\n\n" +
		"    stationctl flow apply -f btc.yaml\n    stationctl flow apply -f flows/\n" +
		"    cat editor.json | stationctl flow apply -f - --flow-id btc --interval 1m"
}

func (c *flowApplyCmd) Run(ctx context.Context, a *app) error { return c.send(ctx, a, false) }

type flowValidateCmd struct{ documentFlags }

func (flowValidateCmd) Help() string {
	return "Exits with code 2 if any document has a fault.\n\nExample:\n\n    stationctl flow validate -f flows/"
}

func (c *flowValidateCmd) Run(ctx context.Context, a *app) error { return c.send(ctx, a, true) }

// sent is what became of one document.
type sent struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	*api.Registered
	Code   string      `json:"code,omitempty"`
	Detail string      `json:"detail,omitempty"`
	Errors []api.Fault `json:"errors,omitempty"`
}

// send gives every document to the server and prints what became of each.
func (d *documentFlags) send(ctx context.Context, a *app, validate bool) error {
	docs, several, err := a.documents(d.File)
	if err != nil {
		return err
	}
	if d.FlowID != "" && len(docs) > 1 {
		return &usageError{fmt.Sprintf("--flow-id names one flow, but %d documents are given", len(docs))}
	}
	results, worst := d.sendAll(ctx, a, docs, validate)
	if several {
		err = a.print(results, func() { a.showSent(results, validate) })
	} else {
		err = a.print(results[0], func() { a.showSent(results, validate) })
	}
	if err != nil || worst == exitDone {
		return err
	}
	return &reportedError{worst}
}

// Documents are sent one after the other, so that they take effect in their order;
// many are sent several at a time, for each waits for etcd's disk.
const (
	few    = 100
	atOnce = 32
)

// sendAll sends every document, until one gets no answer. What is said of one is said
// in the order of the documents.
func (d *documentFlags) sendAll(ctx context.Context, a *app, docs []document, validate bool) ([]sent, int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(1)
	if len(docs) > few {
		g.SetLimit(atOnce)
	}
	results, said := make([]sent, len(docs)), make([]bytes.Buffer, len(docs))
	tried := make([]bool, len(docs))
	worst, done := exitDone, 0
	var mu sync.Mutex
	bar := a.bar()
	for i, doc := range docs {
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil // it would only wait for what another waited for
			}
			one, code := d.sendOne(ctx, a, doc, validate, &said[i])
			mu.Lock()
			defer mu.Unlock()
			if !one.OK && one.Code == "" && ctx.Err() != nil {
				return nil // it was given up before an answer came
			}
			results[i], tried[i], worst = one, true, worseCode(worst, code)
			if code == exitNoAnswer {
				cancel()
			}
			if step := len(docs) / 20; len(docs) > few && (a.tells || done%step == 0) {
				bar.show(done, len(docs), doc.name)
			}
			done++
			return nil
		})
	}
	_ = g.Wait() // nothing is returned but results
	bar.clear()
	out := make([]sent, 0, len(docs))
	for i := range docs {
		if tried[i] {
			out = append(out, results[i])
			fmt.Fprint(a.err, said[i].String())
		}
	}
	if len(out) < len(docs) {
		worst = exitNoAnswer
	}
	return out, worst
}

// sendOne gives one document to the server and returns what became of it.
func (d *documentFlags) sendOne(ctx context.Context, a *app, doc document, validate bool, said io.Writer) (sent, int) {
	r, err := a.client.Register(ctx, doc.body, client.RegisterOptions{FlowID: d.FlowID, Interval: d.Interval,
		AllowUnknownTypes: d.AllowUnknownTypes, ValidateOnly: validate, ContentType: doc.contentType})
	one := sent{File: doc.name, OK: err == nil}
	if err != nil {
		listFaults(said, doc.name, err, &one)
		return one, exitCode(err)
	}
	one.Registered = &r
	for _, w := range r.Warnings {
		fmt.Fprintf(said, "%s: warning: %s\n", clean(doc.name), fault(w))
	}
	return one, exitDone
}

// listFaults prints every fault of a document and keeps them in its result.
func listFaults(to io.Writer, name string, err error, into *sent) {
	into.Detail = err.Error()
	var p *client.Problem
	if errors.As(err, &p) {
		into.Code, into.Detail, into.Errors = p.Code, p.Detail, p.Errors
		for _, f := range p.Errors {
			fmt.Fprintf(to, "%s: %s\n", clean(name), fault(f))
		}
		if len(p.Errors) > 0 {
			return
		}
	}
	fmt.Fprintf(to, "%s: %s\n", clean(name), clean(err.Error()))
}

func (a *app) showSent(results []sent, validate bool) {
	rows := make([][]string, 0, len(results))
	for _, r := range results {
		if r.Registered == nil {
			rows = append(rows, []string{clean(r.File), "-", a.paint("failed"), "-", "-", "-"})
			continue
		}
		what := "unchanged"
		switch {
		case validate:
			what = "valid"
		case r.Created:
			what = "created"
		case r.Changed:
			what = "changed"
		}
		rows = append(rows, []string{clean(r.File), clean(r.FlowID), what, strconv.FormatInt(r.Revision, 10),
			groups(r.Components), dash(r.NextSlot.String())})
	}
	a.table([]string{"file", "flow", "result", "revision", "components", "next slot"}, rows)
}

// worseCode returns the exit code that tells more of two: no answer, then a
// refusal, then a fault.
func worseCode(a, b int) int {
	order := []int{exitDone, exitUsage, exitNotFound, exitFailed, exitNoAnswer}
	for i := len(order) - 1; i >= 0; i-- {
		if a == order[i] || b == order[i] {
			return order[i]
		}
	}
	return exitFailed
}
