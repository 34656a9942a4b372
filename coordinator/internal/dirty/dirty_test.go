package dirty_test

import (
	"slices"
	"testing"

	"github.com/tradingflow/weather-station/coordinator/internal/dirty"
	"github.com/tradingflow/weather-station/shared/ids"
)

func TestEachFlowIsNamedOnceAndInOrder(t *testing.T) {
	s := dirty.New()
	select {
	case <-s.Ready():
		t.Error("an empty set is ready")
	default:
	}
	for _, f := range []ids.FlowID{"b", "a", "b", "c", "a"} {
		s.Mark(f)
	}
	<-s.Ready()
	if got := s.Take(); !slices.Equal(got, []ids.FlowID{"a", "b", "c"}) {
		t.Errorf("took %v", got)
	}
	if got := s.Take(); got != nil {
		t.Errorf("took %v again", got)
	}
	s.Mark("b")
	<-s.Ready()
	if got := s.Take(); !slices.Equal(got, []ids.FlowID{"b"}) {
		t.Errorf("took %v after a new mark", got)
	}
}
