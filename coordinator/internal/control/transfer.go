package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradingflow/weather-station/coordinator/api"
	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/coordinator/internal/balance"
	"github.com/tradingflow/weather-station/coordinator/internal/election"
	"github.com/tradingflow/weather-station/coordinator/internal/httpapi"
)

// TransferLeader hands the leadership of a partition over, where there are several to the
// coordinator that leads the fewest. A coordinator that does not lead
// passes the call on, once, to the one that does.
func (c *Control) TransferLeader(ctx context.Context, p int, here bool) (api.Transfer, error) {
	if p < 0 || p >= len(c.cfg.Parts) {
		return api.Transfer{}, &httpapi.NotFound{What: fmt.Sprintf("partition %d", p)}
	}
	part := &c.cfg.Parts[p]
	leader, err := part.Election.Leader(ctx)
	if errors.Is(err, election.ErrNoLeader) {
		return api.Transfer{}, &httpapi.Conflict{Code: "no_leader", Detail: "no coordinator leads at the moment; try again"}
	}
	if err != nil {
		return api.Transfer{}, err
	}
	err = part.Transfer(ctx, c.heir(ctx, p))
	if c.several() && errors.Is(err, election.ErrNoSuccessor) && c.accompanied(ctx) {
		// Who was passed over when this one was named stands again in a moment.
		err = again(ctx, func() error { return part.Transfer(ctx, c.heir(ctx, p)) }, election.ErrNoSuccessor)
	}
	switch {
	case err == nil:
		c.cfg.Log.Info("leadership was handed over", "partition", p, "epoch", leader.Epoch)
		return api.Transfer{From: c.cfg.ID, Epoch: int64(leader.Epoch), Partition: c.numbered(p)}, nil
	case errors.Is(err, election.ErrNoSuccessor):
		return api.Transfer{}, &httpapi.Conflict{Code: "no_successor", Detail: "no other coordinator stands by; start one first"}
	case !errors.Is(err, election.ErrNotLeading):
		return api.Transfer{}, err
	}
	address := info(leader.Candidate).HTTP
	elsewhere := &httpapi.Conflict{Code: "not_leader", Detail: fmt.Sprintf("this coordinator does not lead; %s at %s does", leader.ID, address)}
	switch {
	case leader.ID == c.cfg.ID:
		return api.Transfer{}, &httpapi.Conflict{Code: "not_leader", Detail: "the leadership is changing; try again"}
	case here || address == "":
		return api.Transfer{}, elsewhere
	}
	return c.passOn(ctx, p, address, elsewhere)
}

// passOn asks the leader. Whether a call that got no answer took effect is not
// known, so it is not made again.
func (c *Control) passOn(ctx context.Context, p int, address string, elsewhere *httpapi.Conflict) (api.Transfer, error) {
	there, err := client.New(address, client.Options{UserAgent: "weather-station-coordinator"})
	if err != nil {
		return api.Transfer{}, elsewhere
	}
	defer there.Close()
	out, err := there.TransferPartition(ctx, p, true)
	var problem *client.Problem
	var unreachable *client.Unreachable
	switch {
	case errors.As(err, &problem) && problem.Code != "":
		return out, &httpapi.Conflict{Code: problem.Code, Detail: problem.Detail}
	case errors.As(err, &problem), errors.As(err, &unreachable):
		c.cfg.Log.Warn("the leader can't be asked to hand over", "address", address, "error", err)
		return out, elsewhere
	}
	return out, err
}

// heir is the instance that a partition goes to: "" is the next in line.
func (c *Control) heir(ctx context.Context, p int) string {
	if !c.several() {
		return ""
	}
	seats := make([]balance.Seats, len(c.cfg.Parts))
	for i := range c.cfg.Parts {
		var v election.View
		if leader, err := c.cfg.Parts[i].Election.Leader(ctx); err == nil {
			v.Leader = &leader
		}
		v.Members, _ = c.cfg.Parts[i].Election.Members(ctx) // none are known: then the next in line
		seats[i] = balance.Of(v)
	}
	return balance.Least(seats, p)
}

// accompanied reports whether another coordinator stands in any partition.
func (c *Control) accompanied(ctx context.Context) bool {
	instances := map[string]bool{}
	for i := range c.cfg.Parts {
		members, err := c.cfg.Parts[i].Election.Members(ctx)
		for _, m := range members {
			instances[m.Instance] = err == nil
		}
	}
	return len(instances) > 1
}
