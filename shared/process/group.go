package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
)

// ErrEnded says that a service returned without an error while nothing asked it
// to stop.
var ErrEnded = errors.New("ended although nothing asked it to")

// ServiceError names the service whose exit stopped a group.
type ServiceError struct {
	Service string
	Err     error
}

func (e *ServiceError) Error() string { return fmt.Sprintf("%s: %v", e.Service, e.Err) }

// Unwrap returns the service's error.
func (e *ServiceError) Unwrap() error { return e.Err }

// Service is a blocking function that works until its context ends.
type Service struct {
	Name string
	Run  func(ctx context.Context) error
	// Ready, if not nil, is closed by the service when the next stage may start.
	Ready <-chan struct{}
}

// Group runs services in stages. All services of a stage start together, each
// stage after the one before it is ready. They stop in reverse: a stage's context
// ends only when every service of the later stages has returned.
type Group struct {
	log    hclog.Logger
	stages [][]Service
}

// NewGroup makes a group of the given stages, in the order of their start. A nil
// log is silent.
func NewGroup(log hclog.Logger, stages ...[]Service) *Group {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Group{log: log, stages: stages}
}

// exit is the end of one service.
type exit struct {
	stage   int
	service string
	err     error
}

// Run starts the services and returns when all of them have returned. The first
// exit stops all. Run returns nil if ctx ended first and every service stopped
// in order; else the first failure as *ServiceError. Later failures are logged.
func (g *Group) Run(ctx context.Context) error {
	r := &groupRun{g: g, running: make([]int, len(g.stages)), exits: make(chan exit)}
	r.start(ctx)
	r.stop()
	return r.first
}

// groupRun is one call of Run. All fields belong to its goroutine.
type groupRun struct {
	g       *Group
	cancels []context.CancelFunc // of the stages started
	running []int                // services alive by stage
	exits   chan exit
	first   error
}

// start starts the stages and returns at the first exit or when ctx ends.
func (r *groupRun) start(ctx context.Context) {
	for i, stage := range r.g.stages {
		sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r.cancels = append(r.cancels, cancel)
		r.running[i] = len(stage)
		for _, s := range stage {
			go func() { r.exits <- exit{i, s.Name, s.Run(sctx)} }()
		}
		for _, s := range stage {
			if s.Ready == nil {
				continue
			}
			select {
			case <-s.Ready:
			case <-ctx.Done():
				return
			case e := <-r.exits:
				r.fell(e)
				return
			}
		}
	}
	if len(r.g.stages) == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case e := <-r.exits:
		r.fell(e)
	}
}

// fell notes an exit that nothing asked for.
func (r *groupRun) fell(e exit) {
	if e.err == nil {
		e.err = ErrEnded
	}
	r.ended(e)
	if r.first == nil {
		r.first = &ServiceError{e.service, e.err}
		r.g.log.Error("service ended, stopping all", "service", e.service, "error", e.err)
	}
}

func (r *groupRun) ended(e exit) { r.running[e.stage]-- }

// stop ends the stages, last first, and waits for each.
func (r *groupRun) stop() {
	for i := len(r.cancels) - 1; i >= 0; i-- {
		r.cancels[i]()
		for r.running[i] > 0 {
			e := <-r.exits
			r.ended(e)
			if e.err == nil || errors.Is(e.err, context.Canceled) {
				continue
			}
			if r.first == nil {
				r.first = &ServiceError{e.service, e.err}
			}
			r.g.log.Error("service failed while stopping", "service", e.service, "error", e.err)
		}
	}
}
