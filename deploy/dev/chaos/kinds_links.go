package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/tradingflow/weather-station/shared/relay"
)

// pattern says which links a fault hits.
type pattern func(s *scene) (string, error)

// oneLink is one link of a part to a server.
func oneLink(s *scene) (string, error) {
	all, err := s.Links.List("")
	if err != nil {
		return "", err
	}
	return all[s.rand.IntN(len(all))].Name, nil
}

// someLinks are all links of one part, or all to one server.
func someLinks(s *scene) (string, error) {
	if s.rand.IntN(2) == 0 {
		return allOfAPart(s)
	}
	return allToAServer(s)
}

func allOfAPart(s *scene) (string, error) {
	all := s.Parts()
	return all[s.rand.IntN(len(all))].Name + ">*", nil
}

func allToAServer(s *scene) (string, error) {
	if s.trial.HA { // one of three
		nodes := s.Servers.Nodes([]string{"redis-", "rabbitmq-", "etcd-"}[s.rand.IntN(3)])
		return "*>" + nodes[s.rand.IntN(len(nodes))], nil
	}
	return []string{"*>redis*,*>sentinel*", "*>rabbitmq*", "*>etcd*"}[s.rand.IntN(3)], nil
}

// links puts a fault on links. Two faults don't meet on links: the second would
// replace the first.
func links(which pattern, faults func(*rand.Rand) relay.Faults) func(context.Context, *scene) error {
	return func(_ context.Context, s *scene) error {
		if !s.take("links") {
			return errTaken
		}
		p, err := which(s)
		if err != nil {
			return err
		}
		f := faults(s.rand)
		s.what = fmt.Sprintf("%s %+v", p, f)
		s.heal = func(context.Context) error { return s.Links.Fault(p, relay.Faults{}) }
		return s.Links.Fault(p, f)
	}
}

// resetLinks resets what is open, once.
func resetLinks(_ context.Context, s *scene) error {
	if !s.take("links") {
		return errTaken
	}
	p, err := someLinks(s)
	if err != nil {
		return err
	}
	s.what = p
	return s.Links.Reset(p)
}
